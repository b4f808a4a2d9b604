"""How far rows are above the floor, and how much of what is seen is noise of seeds and of pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from petl_bench.experiment import Roles
from petl_bench.report import stats
from petl_bench.report.aggregate import Column, Row, scores_of


@dataclass(frozen=True)
class Noise:
    """What moves the mean score per picture of one task, in the unit of the scores.

    Attributes:
        seeds: Standard deviation of one seed, pooled over rows: other seeds, the same pictures.
        pictures: Standard error over the pictures, the mean of all runs: other pictures, the same model.
    """

    seeds: float
    pictures: float


@dataclass(frozen=True)
class Headroom:
    """What a table can tell apart.

    Attributes:
        floor: Label of the floor.
        above: By label and column name, by how many pooled standard deviations of the seeds a row is above the floor.
        noise: By column name; tasks without scores of pictures are left out.
    """

    floor: str
    above: Mapping[str, Mapping[str, float]]
    noise: Mapping[str, Noise]


def headroom(rows: Sequence[Row], columns: Sequence[Column], roles: Roles, weights: str) -> Headroom | None:
    """Compare all rows with the floor that has the best delta_m; None if there is no such row of two seeds."""
    floors = [row for row in rows if row.method in roles.floor and row.weights == weights and len(row.seeds) > 1]
    if not floors:
        return None
    floor = max(floors, key=lambda row: row.delta_m.mean if row.delta_m else -np.inf)
    others = [row for row in rows if row.runs and row is not floor]
    above = {row.label: _separations(row, floor, columns) for row in others}
    measured = {column.name: _noise([floor, *others], column) for column in columns}
    noise = {name: one for name, one in measured.items() if one is not None}
    return Headroom(floor.label, {label: values for label, values in above.items() if values}, noise)


def _separations(row: Row, floor: Row, columns: Sequence[Column]) -> dict[str, float]:
    found: dict[str, float] = {}
    for column in columns:
        own, low = scores_of(row.runs, column), scores_of(floor.runs, column)
        if own and low:
            found[column.name] = stats.separation(own, low, higher_is_better=column.higher_is_better)
    return found


def _noise(rows: Sequence[Row], column: Column) -> Noise | None:
    """Return the noise of a task, from rows of two or more seeds that were scored picture by picture."""
    squares, freedom, errors = 0.0, 0, list[float]()
    for row in rows:
        runs = [run for run in row.runs if column.holds(run) is not None and column.task in run.scores]
        scored = [scores[np.isfinite(scores)] for run in runs if (scores := run.scores[column.task]).ndim == 1]
        scored = [scores for scores in scored if scores.size > 1]
        if len(scored) < 2:
            continue
        means = np.asarray([float(scores.mean(dtype=np.float64)) for scores in scored])
        squares += float(((means - means.mean()) ** 2).sum())
        freedom += len(means) - 1
        errors += [float(scores.std(ddof=1, dtype=np.float64)) / scores.size**0.5 for scores in scored]
    if not freedom:
        return None
    return Noise(seeds=(squares / freedom) ** 0.5, pictures=float(np.mean(errors)))
