"""The trained models of rows against those of the reference on the same pictures: what other pictures would show."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from petl_bench.report.aggregate import Column, Row
from petl_bench.report.gains import Baseline
from petl_bench.report.load import Run
from petl_bench.report.stats import PictureTest, trained_models_on_pictures


@dataclass(frozen=True)
class PictureRow:
    """One row against the reference on one task.

    Attributes:
        seeds: Seeds that both were run with; the pictures' differences are averaged over them.
        test: Signed so that a positive difference is better than the reference.
    """

    label: str
    column: Column
    seeds: tuple[int, ...]
    test: PictureTest


def over_pictures(rows: Sequence[Row], columns: Sequence[Column], base: Baseline) -> tuple[PictureRow, ...]:
    """Compare every row with the reference where both have scores of the same pictures under one convention."""
    if base.reference is None:
        return ()
    references = {run.seed: run for run in base.reference.runs}
    found: list[PictureRow] = []
    for row in rows:
        pairs = [(run, references[run.seed]) for run in row.runs if run.seed in references]
        if row.runs == base.reference.runs:
            continue
        for column in columns:
            comparable = [pair for pair in pairs if _comparable(*pair, column)]
            if comparable:
                found.append(_picture_row(row.label, column, comparable))
    return tuple(found)


def _comparable(run: Run, reference: Run, column: Column) -> bool:
    if column.holds(run) is None or column.holds(reference) is None:
        return False
    if run.record.metrics[column.task].primary != column.metric:
        return False  # the stored scores are those of the data set's own choice
    own, other = run.scores.get(column.task), reference.scores.get(column.task)
    return own is not None and other is not None and own.ndim == 1 and own.shape == other.shape and own.size > 1


def _picture_row(label: str, column: Column, pairs: Sequence[tuple[Run, Run]]) -> PictureRow:
    length = min(run.scores[column.task].size for run, _ in pairs)
    pairs = [pair for pair in pairs if pair[0].scores[column.task].size == length]
    sign = 1.0 if column.higher_is_better else -1.0
    own = np.mean([sign * run.scores[column.task] for run, _ in pairs], axis=0, dtype=np.float64)
    other = np.mean([sign * reference.scores[column.task] for _, reference in pairs], axis=0, dtype=np.float64)
    seeds = tuple(run.seed for run, _ in pairs)
    return PictureRow(label=label, column=column, seeds=seeds, test=trained_models_on_pictures(own, other))
