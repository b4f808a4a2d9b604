"""Labels of growth on curves whose slope is known."""

import numpy as np
import pytest

from petl_bench.measure.cost.fit import fit, verdict
from petl_bench.measure.cost.label import contradiction

TASKS = (1, 2, 4, 8, 16)


def rounds(slope: float, *, noise: float = 0.01, number: int = 30) -> np.ndarray:
    """Return noisy ratios 1 + slope * T."""
    draw = np.random.default_rng(0)
    exact = 1 + slope * np.asarray(TASKS)
    return exact * (1 + noise * draw.standard_normal((number, len(TASKS))))


@pytest.mark.parametrize("slope", [0.0, 0.01, 0.2, 1.0])
def test_the_interval_holds_the_slope(slope: float) -> None:
    line = fit(TASKS, rounds(slope))
    low, high = line.interval
    assert low <= line.slope <= high
    assert low - 0.01 <= slope <= high + 0.01


def test_one_wild_round_does_not_move_the_line() -> None:
    calm = rounds(0.1)
    wild = calm.copy()
    wild[3] *= 10
    assert abs(fit(TASKS, calm).slope - fit(TASKS, wild).slope) < 0.005


@pytest.mark.parametrize(
    ("slope", "exact", "label"),
    [
        (0.0, 0.0, "constant"),
        (0.0, 5.0, "near-constant"),
        (0.01, 5.0, "near-constant"),
        (0.2, 5.0, "sub-linear"),
        (1.0, 5.0, "linear"),
    ],
)
def test_labels(slope: float, exact: float, label: str) -> None:
    assert verdict(fit(TASKS, rounds(slope, noise=0.002)), exact_slope=exact) == label


def test_what_the_noise_hides_gets_no_label() -> None:
    assert verdict(fit(TASKS, rounds(0.03, noise=0.5, number=6)), exact_slope=1.0) == "none"


def test_cost_doubles_where_the_line_says() -> None:
    line = fit(TASKS, np.asarray([[1 + 0.25 * t for t in TASKS]]))
    assert line.doubling_tasks == pytest.approx(6.0)  # 1 + 0.25 * 6 = 2 * (1 + 0.25)
    assert fit(TASKS, np.ones((3, len(TASKS)))).doubling_tasks is None


def test_a_step_is_not_straight() -> None:
    step = np.asarray([[1.0, 1.2, 1.6, 1.62, 1.66]])
    assert not fit(TASKS, step).is_straight
    assert fit(TASKS, rounds(0.3, noise=0.001)).is_straight


def test_a_tapped_method_that_is_linear_contradicts_itself() -> None:
    assert "declares tapped" in (contradiction("tapped", "linear") or "")
    assert contradiction("tapped", "near-constant") is None
    assert contradiction("forked", "linear") is None
    assert contradiction("forked", "constant") is not None
    assert contradiction("shared", "none") is None
