"""Statistics on simulated truth, a thousand simulations each: intervals that hold, tests that are seldom wrong.

``pytest tests/unit/test_coverage_of_intervals.py -s -n 0`` prints the figures.
"""

import itertools

import numpy as np
import pytest

from petl_bench.intervals import t_interval
from petl_bench.records.growth import fit
from petl_bench.report.significance import ALPHA, holm, sign_flip_p
from petl_bench.report.stats import trained_models_on_pictures

SIMULATIONS = 1000
TASKS = (1, 2, 4, 8, 16)
SEEDS_NOISE, SHARED_NOISE = 0.5, 1.0  # of a method's own draws, and of what all methods share in a seed


def share_that_holds(low: np.ndarray, high: np.ndarray, truth: float) -> float:
    return float(np.mean((low <= truth) & (truth <= high)))


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_intervals_over_seeds_hold(seeds: int) -> None:
    draw = np.random.default_rng(seeds)
    shared = SHARED_NOISE * draw.standard_normal((SIMULATIONS, seeds))
    first, second = (m + shared + SEEDS_NOISE * draw.standard_normal(shared.shape) for m in (40.0, 39.0))
    alone, paired = t_interval(first), t_interval(first - second)
    covered = share_that_holds(*alone, 40.0), share_that_holds(*paired, 1.0)
    print(f"\nintervals over {seeds} seeds: {covered[0]:.1%} of a row, {covered[1]:.1%} of a paired difference")
    assert all(0.93 <= share <= 0.97 for share in covered)
    assert float(np.mean(paired[1] - paired[0])) < float(np.mean(alone[1] - alone[0])), "pairing is worth something"


@pytest.mark.parametrize("seeds", [3, 6, 10])
def test_equal_methods_are_seldom_called_different(seeds: int) -> None:
    """Three equal methods of one table, and two of them alone."""
    draw = np.random.default_rng(seeds)
    methods = SEEDS_NOISE * draw.standard_normal((SIMULATIONS, 3, seeds))
    pairs = np.stack([methods[:, a] - methods[:, b] for a, b in itertools.combinations(range(3), 2)], axis=1)
    p_values = sign_flip_p(pairs)
    one = float(np.mean(p_values[:, 0] <= ALPHA))
    table = float(np.mean([min(holm(list(row))) <= ALPHA for row in p_values]))
    print(f"\nequal methods called different, {seeds} seeds: {one:.1%} of two, {table:.1%} of a table of three")
    assert one <= 0.06
    assert table <= 0.06
    assert (one == 0.0) == (seeds < 6), "with fewer than six seeds nothing can be significant"


def test_the_test_over_pictures_tells_of_trained_models_and_not_of_methods() -> None:
    """Equal methods under the noise of seeds: the models do differ, so the test is no test of methods."""
    draw, pictures = np.random.default_rng(0), 300
    own = SEEDS_NOISE * draw.standard_normal((SIMULATIONS // 4, 2))
    found = [
        trained_models_on_pictures(*(mean + 3.0 * draw.standard_normal(pictures) for mean in means)) for means in own
    ]
    called = float(np.mean([one.p_value <= ALPHA for one in found]))
    held = float(np.mean([one.low <= a - b <= one.high for one, (a, b) in zip(found, own, strict=True)]))
    print(f"\nover {pictures} pictures: equal methods {called:.1%} different, interval of the models {held:.1%}")
    assert 0.91 <= held <= 0.98
    assert called > 0.2


@pytest.mark.parametrize("number", [5, 10])
def test_intervals_of_few_pictures_hold(number: int) -> None:
    values = 7.0 + np.random.default_rng(number).standard_normal((SIMULATIONS, number))
    held = share_that_holds(*t_interval(values), 7.0)
    print(f"\nintervals over {number} pictures: {held:.1%}")
    assert 0.93 <= held <= 0.97


@pytest.mark.parametrize("processes", [2, 5])
def test_scaling_intervals_hold_when_processes_differ(processes: int) -> None:
    """Slopes that differ among processes by 1 % of a pass, rounds by 2 %, every tenth of them disturbed by half."""
    draw, truth, rounds = np.random.default_rng(processes), 0.01, 6
    exact = np.asarray(TASKS)
    held, inside = [], []
    for _ in range(SIMULATIONS):
        slopes = truth + 0.01 * draw.standard_normal(processes)
        noise = 1 + 0.02 * draw.standard_normal((processes, rounds, len(TASKS)))
        noise *= 1 + 0.5 * (draw.random(noise.shape) < 0.1)
        ratios = (1 + slopes[:, None, None] * exact) * noise
        low, high = fit(TASKS, ratios.reshape(-1, len(TASKS)), processes=(rounds,) * processes).interval
        held.append(low <= truth <= high)
        inside.append(high - low <= 0.06)
    print(f"\nscaling intervals, {processes} processes: {np.mean(held):.1%} hold, {np.mean(inside):.1%} are narrow")
    assert np.mean(held) >= 0.90
    assert (np.mean(inside) > 0.5) == (processes == 5), "two processes hold, but cannot be narrow"
