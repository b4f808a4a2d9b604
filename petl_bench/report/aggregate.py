"""The numbers of a table: one row per configuration, one column per task and metric convention."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from petl_bench.records.run import Ledger, TaskResult
from petl_bench.report.groups import Comparison, Configuration
from petl_bench.report.load import Run
from petl_bench.report.stats import Estimate, mean_and_sd


@dataclass(frozen=True)
class Column:
    """A task under one convention of its metric.

    Attributes:
        metric: Key of the primary value.
        name: The task; with the convention if the task has several in the group.
    """

    task: str
    convention: str
    metric: str
    unit: str
    higher_is_better: bool
    name: str

    @property
    def arrow(self) -> str:
        """Where better values lie."""
        return "↑" if self.higher_is_better else "↓"

    def holds(self, run: Run) -> TaskResult | None:
        """Return the run's result if it was measured under this column's convention."""
        result = run.result(self.task)
        return result if result is not None and _convention_of(result) == _convention(self) else None


@dataclass(frozen=True)
class Row:
    """A line of the table.

    Attributes:
        seeds: Seeds of the runs; empty for the trivial predictor and for a missing control.
        scores: Primary value over the seeds, by column name.
        delta_m: In %, over the row's own seeds; None if it cannot be told.
        reference_error: Standard error that the reference's mean adds to delta_m, in percentage points.
        gain: Floor-corrected gain in %, over the same tasks as delta_m.
    """

    label: str
    kind: Literal["trivial", "control", "reference", "method"]
    method: str
    weights: str
    seeds: tuple[int, ...]
    runs: tuple[Run, ...]
    parameters: Ledger | None
    scores: Mapping[str, Estimate]
    train_seconds: Estimate | None = None
    delta_m: Estimate | None = None
    reference_error: float | None = None
    gain: Estimate | None = None

    @property
    def missing(self) -> bool:
        """A control that has not been run."""
        return self.kind == "control" and not self.runs

    @property
    def percent_of_backbone(self) -> float:
        """The method's parameters in % of one backbone, NaN if there is no ledger."""
        if self.parameters is None or not self.parameters.backbone:
            return math.nan
        return 100.0 * self.parameters.method / self.parameters.backbone


def columns(comparison: Comparison) -> tuple[Column, ...]:
    """Return the columns of a comparison, tasks in the dataset's order; never two conventions in one."""
    seen: dict[tuple[str, ...], TaskResult] = {}
    tasks = comparison.runs[0].tasks
    for run in comparison.runs:
        for task in run.record.metrics:
            result = run.result(task)
            assert result is not None, "the task is the record's own"
            seen.setdefault((task, *map(str, _convention_of(result))), result)
    ordered = sorted(seen.items(), key=lambda item: tasks.index(item[0][0]) if item[0][0] in tasks else len(tasks))
    several = {task for task, *_ in seen if sum(task == other for other, *_ in seen) > 1}
    return tuple(
        Column(
            task=key[0],
            convention=result.chosen.convention,
            metric=result.primary,
            unit=result.chosen.unit,
            higher_is_better=result.chosen.higher_is_better,
            name=f"{key[0]} [{result.chosen.convention}]" if key[0] in several else key[0],
        )
        for key, result in ordered
    )


def trivial_scores(comparison: Comparison, cells: Sequence[Column]) -> dict[str, float]:
    """Return the trivial predictor's score, by column name: the same for every run of a column, so the first."""
    found: dict[str, float] = {}
    for column in cells:
        results = [result for run in comparison.runs if (result := column.holds(run)) is not None]
        if results:
            found[column.name] = results[0].trivial_score
    return found


def row_of(configuration: Configuration, cells: Sequence[Column]) -> Row:
    """Return the row of a configuration, delta_m not filled in."""
    scores: dict[str, Estimate] = {}
    for column in cells:
        values = scores_of(configuration.runs, column)
        if values:
            scores[column.name] = mean_and_sd(values)
    seconds = [run.record.seconds.train for run in configuration.runs]
    return Row(
        label=configuration.label,
        kind=configuration.kind,
        method=configuration.method,
        weights=configuration.weights,
        seeds=configuration.seeds,
        runs=configuration.runs,
        parameters=configuration.parameters,
        scores=scores,
        train_seconds=mean_and_sd(seconds) if seconds else None,
    )


def trivial_row(scores: Mapping[str, float]) -> Row:
    """Return the row of the trivial predictor, which has no seeds and no parameters."""
    return Row(
        label="trivial predictor",
        kind="trivial",
        method="",
        weights="",
        seeds=(),
        runs=(),
        parameters=None,
        scores={name: mean_and_sd([score]) for name, score in scores.items()},
    )


def scores_of(runs: Sequence[Run], column: Column) -> list[float]:
    """Return the scores of the runs that were measured under the column's convention."""
    return [result.score for run in runs if (result := column.holds(run)) is not None]


def _convention_of(result: TaskResult) -> tuple[str, str, str, bool]:
    return result.chosen.convention, result.primary, result.chosen.unit, result.chosen.higher_is_better


def _convention(column: Column) -> tuple[str, str, str, bool]:
    return column.convention, column.metric, column.unit, column.higher_is_better
