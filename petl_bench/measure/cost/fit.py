"""How a cost grows with the number of tasks: a robust line, its interval, and a label."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import bootstrap, theilslopes

from petl_bench.records.scaling import Growth

NEAR_CONSTANT = 0.03  # of the reference, the most that one more task may cost
LINEAR = 0.50  # of the reference, the least that makes tasks additive
FEW, MANY = 4, 8  # up to so many tasks, and from so many, the two slopes of a straight line are compared
STRAIGHT_SHARE, STRAIGHT_GAP = 1 / 3, 0.01  # by how much they may differ: relative to the larger, or to the reference
RESAMPLES = 1000
LEVEL = 0.95


@dataclass(frozen=True)
class Line:
    """cost = intercept + slope * T, in units of one pass of the reference.

    Attributes:
        intercept: Cost at T = 0.
        slope: Relative marginal cost: of one more task, in units of the reference.
        interval: 95 % bootstrap interval of the slope over rounds.
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
    """Fit a Theil-Sen line through the medians.

    Args:
        tasks: The numbers of tasks, at least two.
        ratios: [rounds, len(tasks)], each the cost relative to the reference in the same round.
        processes: How many of the rounds each process made, one after another; by default one made all.
        seed: Of the bootstrap, which resamples rounds within each process.
    """
    counts = np.asarray(tasks, dtype=float)
    slope, intercept = _theil_sen(counts, np.median(ratios, axis=0))
    draw = np.random.default_rng(seed)
    own = np.split(np.arange(len(ratios)), np.cumsum(processes)[:-1])
    rows = np.concatenate(
        [draw.choice(rounds, size=(RESAMPLES if len(ratios) > 1 else 1, len(rounds))) for rounds in own], axis=1
    )
    slopes = [_theil_sen(counts, np.median(ratios[chosen], axis=0))[0] for chosen in rows]
    low, high = np.quantile(slopes, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Line(
        intercept=intercept,
        slope=slope,
        interval=(float(low), float(high)),
        early=_slope_where(counts, ratios, counts <= FEW),
        late=_slope_where(counts, ratios, counts >= MANY),
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
    """Label a line.

    Args:
        line: The fit.
        exact_slope: Arithmetic that one more task adds by count, 0 if none; None if it was not counted.
    """
    low, high = line.interval
    if exact_slope == 0 and low <= 0 <= high:
        return "constant"
    if high <= NEAR_CONSTANT:
        return "near-constant"
    if low >= LINEAR:
        return "linear"
    return "sub-linear" if low > NEAR_CONSTANT and high < LINEAR else "none"


def _slope_where(counts: NDArray[np.float64], ratios: NDArray[np.float64], chosen: NDArray[np.bool_]) -> float | None:
    if chosen.sum() < 2:
        return None
    return _theil_sen(counts[chosen], np.median(ratios[:, chosen], axis=0))[0]


def _theil_sen(tasks: NDArray[np.float64], costs: NDArray[np.float64]) -> tuple[float, float]:
    line: Any = theilslopes(costs, tasks, method="joint")  # the intercept is the median of y - slope x
    return float(line.slope), float(line.intercept)
