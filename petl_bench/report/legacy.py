"""A second delta_m, relative to a row that papers print and keep as a constant: for comparison with them, no more.

Which rows these are, where they apply and why they are no reference is data: ``experiments/published``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petl_bench.delta import delta_m
from petl_bench.published import Legacy, Reference, Source
from petl_bench.records.run import MetricValue
from petl_bench.report.aggregate import Row
from petl_bench.report.groups import Comparison
from petl_bench.report.load import Run
from petl_bench.report.stats import Estimate, mean_and_sd


@dataclass(frozen=True)
class LegacyColumn:
    """delta_m relative to a printed row.

    Attributes:
        source: Who printed the row.
        values: By label of the row, over its seeds; a row that lacks one of the tasks is left out.
        note: Whose row it is, its scores, and why it is no reference.
    """

    source: str
    values: Mapping[str, Estimate]
    note: str

    @property
    def name(self) -> str:
        """Heading without unit and arrow."""
        return f"delta_m to {self.source}"


def legacy_columns(
    comparison: Comparison, rows: Sequence[Row], published: Mapping[str, Source]
) -> tuple[LegacyColumn, ...]:
    """Return a column for every printed row that is of the data set and protocol of the table."""
    place = [comparison.runs[0].settings.get(f"dataset.{key}") for key in ("name", "protocol")]
    found = (
        (source, source.reference, source.reference.legacy)
        for source in published.values()
        if source.reference is not None and source.reference.legacy is not None
    )
    columns = (
        _column(source.source, reference, legacy, comparison.runs, rows)
        for source, reference, legacy in found
        if [legacy.dataset, legacy.protocol] == place
    )
    return tuple(column for column in columns if column.values)


def _column(
    source: str, reference: Reference, legacy: Legacy, runs: Sequence[Run], rows: Sequence[Row]
) -> LegacyColumn:
    values: dict[str, Estimate] = {}
    for row in rows:
        trivial = row.kind == "trivial"
        found = [_delta(run, reference, legacy, trivial=trivial) for run in (runs[:1] if trivial else row.runs)]
        told = [delta for delta in found if not math.isnan(delta)]
        if told:
            values[row.label] = mean_and_sd(told)
    scores = ", ".join(f"{task} {score:g}" for task, score in reference.scores.items())
    note = f"`delta_m to {source}` is relative to {reference.name} ({scores}), which is no reference: {legacy.why}."
    return LegacyColumn(source, values, note)


def _delta(run: Run, reference: Reference, legacy: Legacy, *, trivial: bool) -> float:
    held: dict[str, MetricValue] = {}
    for task, name in legacy.metrics.items():
        result = run.record.metrics.get(task)
        if result is None or name not in result.metrics:
            return math.nan
        held[task] = result.metrics[name]
    scores = {task: metric.trivial if trivial else metric.value for task, metric in held.items()}
    return delta_m(scores, reference.scores, reference.higher_is_better)
