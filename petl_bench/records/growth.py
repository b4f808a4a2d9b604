"""How a cost grows with the number of tasks: a robust line, its interval, and a label."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap

from petl_bench.intervals import LEVEL, t_interval
from petl_bench.records.scaling import Growth

NEAR_CONSTANT = 0.03  # of the reference, the most that one more task may cost or save
LINEAR = 0.50  # of the reference, the least that makes tasks additive
FEW, MANY = 4, 8  # up to so many tasks, and from so many, the two slopes of a straight line are compared
STRAIGHT_SHARE, STRAIGHT_GAP = 1 / 3, 0.01  # by how much they may differ: relative to the larger, or to the reference
RESAMPLES = 1000
ENOUGH_PROCESSES = 5
"""With fewer, Student's interval holds but is wide: 12.7 standard errors with two, 2.8 with five."""


@dataclass(frozen=True)
class Line:
    """cost = intercept + slope * T, in units of one pass of the reference.

    Attributes:
        intercept: Cost at T = 0.
        slope: Relative marginal cost: of one more task, in units of the reference.
        interval: 95 % interval of the slope over processes.
        early: Slope on up to ``FEW`` tasks, or None with fewer than two of them.
        late: Slope on ``MANY`` tasks and more, or None with fewer than two of them.
    """

    intercept: float
    slope: float
    interval: tuple[float, float]
    early: float | None
    late: float | None

    @property
    def doubling_tasks(self) -> float | None:
        """The T at which the cost is twice that of T = 1, or None if it never is."""
        return 1 + (self.intercept + self.slope) / self.slope if self.slope > 0 else None

    @property
    def is_straight(self) -> bool:
        """Whether the slopes on few and on many tasks agree within a third, or within 1 % of the reference."""
        if self.early is None or self.late is None:
            return True
        gap = abs(self.early - self.late)
        return gap <= max(STRAIGHT_GAP, STRAIGHT_SHARE * max(abs(self.early), abs(self.late)))


def fit(tasks: Sequence[int], ratios: NDArray[np.float64], *, processes: Sequence[int] = (), seed: int = 0) -> Line:
    """Fit a Theil-Sen line through the medians of every process, and take the mean of the lines.

    Processes differ by more than their rounds tell (where memory lies, what the machine does), so the interval is
    Student's over the slopes of the processes. Of a single process it is the bootstrap over its rounds, which says
    nothing of another process.

    Args:
        tasks: The numbers of tasks, at least two.
        ratios: [rounds, len(tasks)], each the cost relative to the reference in the same round.
        processes: How many of the rounds each process made, one after another; by default one made all.
        seed: Of the bootstrap.
    """
    counts = np.asarray(tasks, dtype=float)
    own = np.split(ratios, np.cumsum(processes)[:-1]) if len(processes) else [ratios]
    medians = np.stack([np.median(rounds, axis=0) for rounds in own])
    slopes, intercepts = _theil_sen(counts, medians)
    low, high = t_interval(slopes) if len(own) > 1 else _over_rounds(counts, ratios, seed)
    return Line(
        intercept=float(intercepts.mean()),
        slope=float(slopes.mean()),
        interval=(float(low), float(high)),
        early=_slope_where(counts, medians, counts <= FEW),
        late=_slope_where(counts, medians, counts >= MANY),
    )


def interval_of_median(values: NDArray[np.float64], seed: int = 0) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of a median."""
    drawn = bootstrap(
        (values,),
        np.median,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(drawn.low), float(drawn.high)


def verdict(line: Line, *, exact_slope: float | None) -> Growth:
    """Label a line; what an interval is too wide to tell gets no label.

    Args:
        line: The fit.
        exact_slope: Arithmetic that one more task adds by count, 0 if none; None if it was not counted.
    """
    low, high = line.interval
    if max(abs(low), abs(high)) <= NEAR_CONSTANT:
        return "constant" if exact_slope == 0 and low <= 0 <= high else "near-constant"
    if low >= LINEAR:
        return "linear"
    return "sub-linear" if low > NEAR_CONSTANT and high < LINEAR else "none"


def _over_rounds(tasks: NDArray[np.float64], ratios: NDArray[np.float64], seed: int) -> tuple[float, float]:
    draw, number = np.random.default_rng(seed), len(ratios)
    rows = draw.choice(number, size=(RESAMPLES if number > 1 else 1, number))
    slopes, _ = _theil_sen(tasks, np.median(ratios[rows], axis=1))
    low, high = np.quantile(slopes, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _slope_where(counts: NDArray[np.float64], medians: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float | None:
    return float(_theil_sen(counts[chosen], medians[:, chosen])[0].mean()) if chosen.sum() > 1 else None


def _theil_sen(
    tasks: NDArray[np.float64], costs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slopes and intercepts [...] of lines through ``costs`` [..., tasks]: scipy's ``joint``, many at once."""
    first, second = np.triu_indices(len(tasks), 1)
    slopes = np.median((costs[..., second] - costs[..., first]) / (tasks[second] - tasks[first]), axis=-1)
    return slopes, np.median(costs - slopes[..., None] * tasks, axis=-1)
