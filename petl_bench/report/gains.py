"""delta_m and the floor-corrected gain of a table: which reference, which tasks, and why not the others."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from petl_bench.delta import delta_m
from petl_bench.experiment import Roles
from petl_bench.report import stats
from petl_bench.report.aggregate import Column, Row, scores_of
from petl_bench.report.groups import Comparison, Configuration
from petl_bench.report.load import Run

FLOOR_DEVIATIONS = 5.0


@dataclass(frozen=True)
class _Verdict:
    """Whether a task enters delta_m: why not, and whether the seeds sufficed to check it."""

    reason: str | None = None
    checked: bool = True

    @property
    def enters(self) -> bool:
        return self.reason is None


@dataclass(frozen=True)
class Baseline:
    """What delta_m is relative to.

    Attributes:
        reference: The reference's configuration, None if it was not run.
        tasks: Columns that enter delta_m.
        runs: The reference's runs with a result in every entering column.
        trivial: Score of the trivial predictor, by column name.
        notes: Which tasks stay out, and why.
    """

    reference: Configuration | None
    tasks: tuple[Column, ...]
    runs: tuple[Run, ...]
    trivial: Mapping[str, float]
    notes: tuple[str, ...]

    @property
    def scores(self) -> dict[str, list[float]]:
        """The reference's scores over its seeds, by column name."""
        return {column.name: scores_of(self.runs, column) for column in self.tasks}

    @property
    def means(self) -> dict[str, float]:
        """The reference's mean scores, by column name."""
        return {name: stats.mean_and_sd(values).mean for name, values in self.scores.items()}

    @property
    def higher_is_better(self) -> dict[str, bool]:
        """Directions of the entering columns, by column name."""
        return {column.name: column.higher_is_better for column in self.tasks}


def baseline(comparison: Comparison, columns: Sequence[Column], trivial: Mapping[str, float], roles: Roles) -> Baseline:
    """Choose the reference's configuration and the tasks that enter delta_m."""
    reference, notes = _choose(comparison.references)
    if reference is None:
        return Baseline(None, (), (), trivial, tuple(notes))
    floors = [
        row for row in comparison.configurations if row.method in roles.floor and row.weights == comparison.weights
    ]
    absent = [name for name in roles.floor if name not in {row.method for row in floors}]
    if absent:
        notes.append(f"Floor rows not run ({', '.join(absent)}): the floor rule was checked without them.")
    verdicts = {column: _verdict(column, reference, comparison.runs, trivial, floors) for column in columns}
    tasks = tuple(column for column, verdict in verdicts.items() if verdict.enters)
    notes += [
        f"`{column.name}` is shown but stays out of delta_m: {verdict.reason}."
        for column, verdict in verdicts.items()
        if not verdict.enters
    ]
    unchecked = [f"`{column.name}`" for column in tasks if not verdicts[column].checked]
    if unchecked:
        notes.append(f"One seed: the floor rule was not checked ({', '.join(unchecked)}).")
    if not tasks:
        notes.append("No task enters delta_m, so it is not given.")
    runs = tuple(run for run in reference.runs if all(column.holds(run) for column in tasks))
    return Baseline(reference, tasks if runs else (), runs, trivial, tuple(notes))


def with_gains(row: Row, base: Baseline) -> Row:
    """Fill in delta_m, its error and the floor-corrected gain; they stay None for a row that lacks an entering task."""
    scores = _scores_by_seed(row, base)
    if not base.tasks or not scores:
        return row
    deltas = [delta_m(seed, base.means, base.higher_is_better) for seed in scores]
    gains = [stats.floor_corrected_gain(seed, base.means, base.trivial) for seed in scores]
    mean_scores = {name: stats.mean_and_sd([seed[name] for seed in scores]).mean for name in base.means}
    is_reference = base.reference is not None and row.runs == base.reference.runs
    error = math.nan if is_reference else stats.reference_error(mean_scores, base.scores, base.higher_is_better)
    return replace(row, delta_m=stats.mean_and_sd(deltas), gain=stats.mean_and_sd(gains), reference_error=error)


def delta_of_run(run: Run, base: Baseline) -> float:
    """Return delta_m of one run in %, NaN if it cannot be told."""
    score = _scores_of_run(run, base)
    return delta_m(score, base.means, base.higher_is_better) if base.tasks and score else math.nan


def _scores_by_seed(row: Row, base: Baseline) -> list[dict[str, float]]:
    if row.kind == "trivial":
        return [dict(base.trivial)] if base.tasks else []
    return [score for run in row.runs if (score := _scores_of_run(run, base))]


def _scores_of_run(run: Run, base: Baseline) -> dict[str, float]:
    results = {column.name: column.holds(run) for column in base.tasks}
    found = {name: result.score for name, result in results.items() if result is not None}
    return found if len(found) == len(results) else {}


def _choose(references: Sequence[Configuration]) -> tuple[Configuration | None, list[str]]:
    if not references:
        return None, []
    chosen = max(references, key=lambda row: len(row.runs))
    if len(references) == 1:
        return chosen, []
    return chosen, [
        f"{len(references)} configurations of the reference method were run; delta_m is relative to `{chosen.label}` "
        "(the one with the most seeds)."
    ]


def _verdict(
    column: Column,
    reference: Configuration,
    runs: Sequence[Run],
    trivial: Mapping[str, float],
    floors: Sequence[Configuration],
) -> _Verdict:
    scores = scores_of(reference.runs, column)
    if any((result := column.holds(run)) is not None and result.seen_in_pretraining for run in runs):
        return _Verdict(reason="its labels were seen in pre-training")
    if not scores:
        return _Verdict(reason="the reference was not measured under this convention")
    if not all(math.isfinite(score) for score in scores) or not stats.mean_and_sd(scores).mean:
        return _Verdict(reason="the reference's score is zero or not a number")
    rivals = [("the trivial predictor", [trivial[column.name]])]
    rivals += [(f"`{row.label}`", found) for row in floors if (found := scores_of(row.runs, column))]
    separations = {
        name: stats.separation(scores, rival, higher_is_better=column.higher_is_better) for name, rival in rivals
    }
    for name, separation in separations.items():
        if separation <= 0:
            return _Verdict(reason=f"the reference does not beat {name}")
        if separation < FLOOR_DEVIATIONS:
            return _Verdict(
                reason=f"near the floor, the reference beats {name} by {separation:.1f} standard deviations of the "
                f"seeds only ({FLOOR_DEVIATIONS:g} are needed)"
            )
    return _Verdict(checked=not any(math.isnan(separation) for separation in separations.values()))
