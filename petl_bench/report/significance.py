"""Whether a difference between methods would hold for other seeds: exact tests, and letters for what they tell apart.

Everything here is a pure function of numbers.
"""

import itertools
import math
from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

ALPHA = 0.05
EXACT_FLIPS = 2**16
"""Up to so many patterns of signs the test goes through all of them; of more it draws so many."""

Item = TypeVar("Item", bound=Hashable)


def sign_flip_p(differences: ArrayLike) -> NDArray[np.float64]:
    """Return the two-sided p [...] of the sign-flip test of paired differences [..., N]: exact up to 16 pairs.

    Under no difference every pattern of signs is as likely as the one that was seen; no distribution is assumed.
    """
    sample = np.asarray(differences, dtype=float)
    result: Any = stats.permutation_test(
        (sample,), np.mean, permutation_type="samples", vectorized=True, axis=-1, n_resamples=EXACT_FLIPS, rng=0
    )
    return np.asarray(result.pvalue)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Return the p of every test corrected for all of them (Holm, 1979), in the given order."""
    order = np.argsort(p_values, kind="stable")
    steps = np.asarray(p_values, dtype=float)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return tuple(map(float, corrected))


def smallest_p(seeds: int) -> float:
    """Return the smallest p that the sign-flip test of so many pairs can have."""
    return min(1.0, 2.0 ** (1 - seeds))


def seeds_needed(comparisons: int) -> int:
    """Return the fewest seeds with which the largest of so many differences can be significant after Holm."""
    return math.ceil(1 + math.log2(max(1, comparisons) / ALPHA))


def share_better(differences: ArrayLike) -> tuple[float, float, float]:
    """Return the share of positive differences [N], a tie counting half, and its 95 % Clopper-Pearson interval."""
    sample = np.asarray(differences, dtype=float)
    wins, ties, number = int((sample > 0).sum()), int((sample == 0).sum()), sample.size
    low = stats.binomtest(wins, number).proportion_ci().low
    high = stats.binomtest(wins + ties, number).proportion_ci().high
    return (wins + ties / 2) / number, float(low), float(high)


def letters(items: Sequence[Item], apart: Iterable[tuple[Item, Item]]) -> dict[Item, str]:
    """Give letters so that two items share one exactly if they are not ``apart`` (insert and absorb, Piepho, 2004).

    Args:
        items: In the order in which letters are given: the first has ``a``.
        apart: Pairs that can be told apart.
    """
    groups: list[frozenset[Item]] = [frozenset(items)]
    for pair in apart:
        split = [group for group in groups if group.issuperset(pair)]
        groups = [group for group in groups if group not in split]
        groups += [group - {one} for group in split for one in pair]
        groups = [group for group in dict.fromkeys(groups) if not any(group < other for other in groups)]
    groups.sort(key=lambda group: [item not in group for item in items])
    named = list(zip(_names(), groups, strict=False))
    return {item: "".join(name for name, group in named if item in group) for item in items}


def _names() -> Iterable[str]:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return itertools.chain(alphabet, (f"{one}{other}" for one in alphabet for other in alphabet))
