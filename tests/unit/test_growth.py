"""Labels of growth on curves whose slope is known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import theilslopes

from petl_bench.records.growth import fit, interval_of_median, verdict
from petl_bench.records.labels import contradiction, controls_missed, without_labels
from petl_bench.records.refit import read_scaling, refitted
from petl_bench.records.scaling import ScalingRecord, ScalingRow

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


def test_the_line_of_one_process_is_that_of_scipy() -> None:
    ratios = rounds(0.3, noise=0.2)
    theirs: Any = theilslopes(np.median(ratios, axis=0), TASKS, method="joint")
    line = fit(TASKS, ratios)
    assert (line.slope, line.intercept) == pytest.approx((theirs.slope, theirs.intercept))


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


def row(method: str, slope: float, *, label: str, metric: str = "latency") -> ScalingRow:
    fields = {"label": method, "phase": "infer", "part": "encoder", "execution": "shared", "tasks": TASKS, "unit": "ms"}
    fields |= {"values": [1.0] * len(TASKS), "reference": 1.0, "intercept": 1.0, "slope": slope, "cost_ratio": 1.0}
    fields |= {"relative_marginal_cost": slope, "interval": (slope, slope), "doubling_tasks": None, "verdict": label}
    fields |= {"synthetic_tasks": [0] * len(TASKS), "contradiction": "declares shared"}
    return ScalingRow.model_validate({"method": method, "metric": metric, **fields})


def test_controls_that_missed_take_labels_and_contradictions_from_times_and_leave_counts() -> None:
    controls = {"floor": "floor", "ceiling": "ceiling"}
    good = [
        row("floor", 0.0, label="constant"),
        row("ceiling", 1.0, label="linear"),
        row("mine", 0.2, label="sub-linear"),
    ]
    assert controls_missed(good, controls) == []
    for wrong in (row("floor", 0.2, label="sub-linear"), row("ceiling", 0.4, label="sub-linear")):
        rows = [wrong if one.method == wrong.method else one for one in good]
        missed = controls_missed(rows, controls)
        assert len(missed) == 1
        assert wrong.method in missed[0]
        trusted = without_labels(missed, [*rows, row("mine", 0.2, label="sub-linear", metric="macs")])
        assert {(one.verdict, one.contradiction) for one in trusted if one.metric == "latency"} == {("none", None)}
        assert [one.verdict for one in trusted if one.metric == "macs"] == ["sub-linear"]
    assert without_labels([], good) == good


def test_the_interval_of_a_median_holds_it() -> None:
    low, high = interval_of_median(rounds(0.0)[:, 0])
    assert low <= float(np.median(rounds(0.0)[:, 0])) <= high
    assert high - low < 0.02


def test_the_interval_is_that_of_the_lines_of_the_processes() -> None:
    """Three processes that differ, and do not vary within: slopes 1, 2 and 6 of t with two degrees of freedom."""
    ratios = np.concatenate([np.asarray([[1.0 + slope * t for t in TASKS]] * 5) for slope in (1.0, 2.0, 6.0)])
    line = fit(TASKS, ratios, processes=(5, 5, 5))
    reach = 4.302652729911275 * np.sqrt((4 + 1 + 9) / 2) / np.sqrt(3)
    assert line.slope == pytest.approx(3.0)
    assert line.interval == pytest.approx((3.0 - reach, 3.0 + reach))


def test_a_wide_interval_around_zero_is_not_constant() -> None:
    ratios = np.asarray([[1.0 + slope * t for t in TASKS] for slope in (-0.1, 0.0, 0.1)])
    wide, narrow = fit(TASKS, ratios, processes=(1, 1, 1)), fit(TASKS, 1 + (ratios - 1) / 20, processes=(1, 1, 1))
    assert verdict(wide, exact_slope=0.0) == "none"
    assert verdict(narrow, exact_slope=0.0) == "constant"
    assert verdict(narrow, exact_slope=1.0) == "near-constant"


def test_what_saves_much_with_every_task_is_not_near_constant() -> None:
    line = fit(TASKS, np.asarray([[2.0 - 0.1 * t for t in TASKS]] * 3), processes=(1, 1, 1))
    assert verdict(line, exact_slope=1.0) == "none"


def test_records_of_rounds_alone_are_fitted_again_when_they_are_read() -> None:
    """Five methods of a record of version 1: two processes, where vmt had slopes of 0.14 and 1.92 %."""
    path = Path(__file__).resolve().parents[1] / "golden" / "scaling-1.json"
    old, new = ScalingRecord.model_validate_json(path.read_text("utf-8")), read_scaling(path)
    assert new is not None
    assert (old.schema_version, new.schema_version) == (1, 2)
    timed = {(one.label, one.phase, one.part): one for one in new.rows if one.metric == "latency"}
    vmt = timed["vmt", "infer", "encoder"]
    assert vmt.relative_marginal_cost == pytest.approx((0.0014 + 0.0192) / 2, abs=1e-4)
    assert vmt.interval[1] - vmt.interval[0] > 0.2
    assert vmt.verdict == "none"
    assert timed["adapter:scope=shared", "infer", "encoder"].verdict == "constant"
    assert timed["lora", "infer", "encoder"].verdict == "linear"
    counted = [one for one in old.rows if one.metric != "latency"]
    assert [one for one in new.rows if one.metric != "latency"] == counted
    assert refitted(new) == new
