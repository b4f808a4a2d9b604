"""Rows against each other over seeds: what would hold if everything were trained again."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from petl_bench.intervals import t_interval
from petl_bench.report.aggregate import Row
from petl_bench.report.flat import falling
from petl_bench.report.gains import Baseline, delta_of_run
from petl_bench.report.load import lies_on
from petl_bench.report.significance import ALPHA, holm, letters, seeds_needed, share_better, sign_flip_p, smallest_p

_SHARED = ("dataset", "decoder", "tasks", "train.batch_size")
"""Settings that must agree for one seed to give two runs the same images in the same order and the same decoders."""


@dataclass(frozen=True)
class SeedPair:
    """Two rows compared by delta_m, seed by seed.

    Attributes:
        seeds: Those that both were run with.
        difference: Mean of first - second, in percentage points of delta_m.
        interval: Its 95 % t interval over the seeds.
        p_value: Of the exact sign-flip test.
        p_holm: The same, corrected for all pairs of the table.
        better: P(first > second): share of the seeds, and its 95 % interval.
    """

    first: str
    second: str
    seeds: tuple[int, ...]
    difference: float
    interval: tuple[float, float]
    p_value: float
    p_holm: float
    better: tuple[float, float, float]

    @property
    def is_significant(self) -> bool:
        """Whether the two can be told apart."""
        return self.p_holm <= ALPHA


@dataclass(frozen=True)
class OverSeeds:
    """All comparisons over seeds of a table.

    Attributes:
        pairs: Every two rows, in the order of the table.
        tiers: By label, letters: rows that share one cannot be told apart. ``a`` holds the row of the best mean. Rows
            that were still falling have none: they differ at this budget, which ranks no method.
        reference: The label that delta_m is relative to.
        notes: What the number of seeds allows, and what is not paired.
    """

    pairs: tuple[SeedPair, ...]
    tiers: Mapping[str, str]
    reference: str
    notes: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """All rows, in the order of the table."""
        return tuple(dict.fromkeys(name for pair in self.pairs for name in (pair.first, pair.second)))

    def between(self, first: str, second: str) -> SeedPair | None:
        """Return the comparison of two rows, if it was made in this order."""
        return next((pair for pair in self.pairs if (pair.first, pair.second) == (first, second)), None)


def over_seeds(rows: Sequence[Row], base: Baseline) -> OverSeeds | None:
    """Compare all rows but controls with each other; None if no two have delta_m of one seed."""
    if base.reference is None:
        return None
    compared = [row for row in rows if row.kind in ("reference", "method") and row.delta_m is not None]
    deltas = {row.label: _deltas(row, base) for row in compared}
    found = [
        _pair(first.label, second.label, deltas)
        for first, second in itertools.combinations(compared, 2)
        if deltas[first.label].keys() & deltas[second.label].keys()
    ]
    if not found:
        return None
    corrected = holm([pair.p_value for pair in found])
    pairs = [replace(pair, p_holm=p_holm) for pair, p_holm in zip(found, corrected, strict=True)]
    means = {row.label: float(np.mean(list(deltas[row.label].values()))) for row in compared if not falling(row)}
    best_first = sorted(means, key=lambda label: -means[label])
    tiers = letters(best_first, [(pair.first, pair.second) for pair in pairs if pair.is_significant])
    notes = (_on_numbers(pairs), *_on_pairing(compared))
    return OverSeeds(tuple(pairs), tiers, base.reference.label, notes)


def _deltas(row: Row, base: Baseline) -> dict[int, float]:
    found = {run.seed: delta_of_run(run, base) for run in row.runs}
    return {seed: delta for seed, delta in found.items() if math.isfinite(delta)}


def _pair(first: str, second: str, deltas: Mapping[str, Mapping[int, float]]) -> SeedPair:
    seeds = sorted(deltas[first].keys() & deltas[second].keys())
    differences = np.asarray([deltas[first][seed] - deltas[second][seed] for seed in seeds])
    low, high = t_interval(differences)
    return SeedPair(
        first=first,
        second=second,
        seeds=tuple(seeds),
        difference=float(differences.mean()),
        interval=(float(low), float(high)),
        p_value=float(sign_flip_p(differences)) if len(seeds) > 1 else 1.0,
        p_holm=1.0,
        better=share_better(differences),
    )


def _on_numbers(pairs: Sequence[SeedPair]) -> str:
    fewest, number = min(len(pair.seeds) for pair in pairs), len(pairs)
    one, every = seeds_needed(1), seeds_needed(number)
    seeds = f"{fewest} seed" if fewest == 1 else f"{fewest} seeds"
    wanted = f"the {number} comparisons of this table need {every} (`--seeds 0-{every - 1}`)"
    if fewest < one:
        return (
            f"**No difference can be significant:** the test of {seeds} has no p below {smallest_p(fewest):.3g}. "
            f"A single comparison needs {one} seeds, {wanted}."
        )
    if fewest < every:
        return f"With {seeds} no difference can be significant after Holm's correction: {wanted}."
    return f"{sum(pair.is_significant for pair in pairs)} of {number} differences are significant (Holm, 5 %)."


def _on_pairing(rows: Sequence[Row]) -> list[str]:
    runs = [run for row in rows for run in row.runs]
    named = {key for run in runs for key in run.settings if lies_on(key, _SHARED)}
    differing = sorted(key for key in named if len({repr(run.settings.get(key)) for run in runs}) > 1)
    if not differing:
        return []
    settings = ", ".join(f"`{key}`" for key in differing)
    return [
        f"Rows differ in {settings}, so one seed gives them other images or other decoders: they are paired by the "
        "number of the seed alone, which keeps the tests valid and makes them no sharper."
    ]
