"""The numbers of a comparison: the floor-corrected gain, errors of it and of delta_m, differences over pictures.

Everything here is a pure function of numbers: no files, no records, no state.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from petl_bench.delta import sign
from petl_bench.intervals import t_interval


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds.

    Attributes:
        mean: In the unit of the values.
        sd: Standard deviation of one seed (n - 1 in the denominator), NaN for a single one.
        n: Number of values.
        interval: 95 % t interval of the mean over seeds, NaN for a single one.
    """

    mean: float
    sd: float
    n: int
    interval: tuple[float, float]


@dataclass(frozen=True)
class PictureTest:
    """Two trained models compared on the same pictures: it tells of other pictures, never of other seeds.

    Attributes:
        n: Pictures with a score from both.
        difference: Mean of first - second, in the unit of the scores.
        low: Lower end of the 95 % t interval of ``difference`` over pictures.
        high: Upper end.
        p_value: Of the two-sided Wilcoxon signed-rank test.
    """

    n: int
    difference: float
    low: float
    high: float
    p_value: float


def mean_and_sd(values: Sequence[float]) -> Estimate:
    """Return mean and standard deviation of one value per seed.

    Raises:
        ValueError: There is no value.
    """
    if not values:
        raise ValueError("mean_and_sd of no value")
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else math.nan
    low, high = t_interval(values)
    return Estimate(mean=float(np.mean(values)), sd=sd, n=len(values), interval=(float(low), float(high)))


def floor_corrected_gain(
    scores: Mapping[str, float], references: Mapping[str, float], trivials: Mapping[str, float]
) -> float:
    """Return the mean of ``(score - trivial) / (reference - trivial) - 1`` over the tasks of ``references``, in %.

    0 is as good as the reference, -100 as good as the trivial predictor, whether higher or lower is better.

    Raises:
        ValueError: There is no task, or a reference equals the trivial predictor.
        KeyError: A task of ``references`` has no score or no trivial score.
    """
    if not references:
        raise ValueError("floor_corrected_gain over no task")
    spans = {task: value - trivials[task] for task, value in references.items()}
    if not all(spans.values()):
        raise ValueError("floor_corrected_gain needs a reference that differs from the trivial predictor")
    return 100.0 * float(np.mean([(scores[task] - trivials[task]) / span - 1 for task, span in spans.items()]))


def reference_error(
    scores: Mapping[str, float], reference_seeds: Mapping[str, Sequence[float]], higher_is_better: Mapping[str, bool]
) -> float:
    """Return the standard error that the reference's mean over seeds brings into a delta_m, in percentage points.

    First order: ``d delta_m / d reference_t = -100 * sign_t * score_t / (T * reference_t^2)``. A seed's deviations are
    summed over the tasks before they are squared, so tasks that move together with the seed do so here.

    Args:
        scores: The row's mean score of each task.
        reference_seeds: The reference's scores of each task [seeds], the seeds in one order for all tasks.
        higher_is_better: Direction of each task.

    Returns:
        The error, NaN if the reference has a single seed.

    Raises:
        ValueError: There is no task, or the tasks have different numbers of seeds.
        KeyError: A task of ``reference_seeds`` has no score or no direction.
    """
    counts = {len(values) for values in reference_seeds.values()}
    if len(counts) != 1:
        raise ValueError(f"reference_error needs the same seeds for every task, got {sorted(counts)} seeds")
    deviation = np.zeros(counts.pop())
    for task, values in reference_seeds.items():
        reference = float(np.mean(values))
        slope = -100.0 * sign(higher_is_better[task]) * scores[task] / (len(reference_seeds) * reference**2)
        deviation += slope * (np.asarray(values, dtype=float) - reference)
    if len(deviation) < 2:
        return math.nan
    return float(np.std(deviation, ddof=1)) / math.sqrt(len(deviation))


def separation(better: Sequence[float], worse: Sequence[float], *, higher_is_better: bool) -> float:
    """Return by how many standard deviations of the seeds ``better`` is better than ``worse``.

    The deviation is pooled over both; a constant such as the trivial predictor is a ``worse`` of one value.

    Returns:
        Negative if ``better`` is worse, NaN if it is better and neither has two seeds to take a deviation from.
    """
    gap = sign(higher_is_better) * (float(np.mean(better)) - float(np.mean(worse)))
    freedom = len(better) + len(worse) - 2
    if freedom < 1:
        return math.nan if gap > 0 else -math.inf
    squares = sum(float(np.sum((np.asarray(values) - np.mean(values)) ** 2)) for values in (better, worse))
    pooled = math.sqrt(squares / freedom)
    if pooled > 0 or gap == 0:
        return gap / pooled if pooled > 0 else 0.0
    return math.copysign(math.inf, gap)


def trained_models_on_pictures(first: ArrayLike, second: ArrayLike) -> PictureTest:
    """Compare two trained models by their scores [N] of the same pictures; those without a score (NaN) are left out.

    Methods that are equal leave models that differ, by the noise of their seeds: of such models this calls many
    different, rightly. For methods see ``petl_bench.report.over_seeds``.

    Args:
        first: Scores of the one model, in the order of the pictures.
        second: Scores of the other, in the same order.

    Raises:
        ValueError: The two have different lengths.
    """
    one, other = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(
            f"trained_models_on_pictures needs two vectors of one length, got {one.shape} and {other.shape}"
        )
    differences = (one - other)[np.isfinite(one) & np.isfinite(other)]
    low, high = t_interval(differences)
    mean = float(np.mean(differences)) if differences.size else math.nan
    return PictureTest(differences.size, mean, float(low), float(high), _signed_rank(differences))


def _signed_rank(differences: NDArray[np.float64]) -> float:
    if not differences.size:
        return math.nan
    if not differences.any():
        return 1.0
    result: Any = stats.wilcoxon(differences)
    return float(result.pvalue)
