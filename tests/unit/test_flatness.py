"""How flat a curve is at the end: the line against numpy's, states in between, and what a report makes of it."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from report_store import analysed, by_label, cells, text_of, usual
from scipy.stats import linregress
from test_nonfinite import loop_and_batch

from petl_bench.engine.flatness import EndSlopes
from petl_bench.records.run import EndSlope, RunRecord
from petl_bench.report.flat import Slope
from petl_bench.report.tables import main_table, seeds_table

STEPS = 200


def losses() -> list[dict[str, float]]:
    draw = np.random.default_rng(0)
    steps = np.arange(1, STEPS + 1)
    falling = 2.0 - 0.004 * steps + 0.05 * draw.standard_normal(STEPS)
    flat = 0.3 + 0.01 * draw.standard_normal(STEPS)
    return [{"semseg": float(a), "normals": float(b)} for a, b in zip(falling, flat, strict=True)]


def filled(until: int = STEPS) -> EndSlopes:
    slopes = EndSlopes(STEPS)
    for step, one in enumerate(losses()[:until], start=1):
        slopes.add(step, one)
    return slopes


@pytest.mark.parametrize("task", ["semseg", "normals"])
def test_the_slope_is_that_of_a_line_through_every_step_of_the_last_fifth(task: str) -> None:
    own, last = filled().slopes()[task], [one[task] for one in losses()[-STEPS // 5 :]]
    theirs = linregress(range(len(last)), last)
    unit = 100 * 100 / np.mean(last)
    assert own.steps == 40
    assert own.percent == pytest.approx(unit * theirs.slope)  # pyright: ignore[reportAttributeAccessIssue]
    assert own.error == pytest.approx(unit * theirs.stderr)  # pyright: ignore[reportAttributeAccessIssue]


def test_a_training_that_goes_on_from_a_state_on_disk_has_the_same_slopes_to_the_last_bit() -> None:
    for broken_off in (20, 165, 199):
        again = EndSlopes(STEPS)
        again.load_state_dict(json.loads(json.dumps(filled(broken_off).state_dict())))
        for step, one in enumerate(losses()[broken_off:], start=broken_off + 1):
            again.add(step, one)
        assert again.slopes() == filled().slopes()


def test_the_state_of_a_training_holds_the_sums() -> None:
    loop, batch = loop_and_batch(train={"steps": 50})
    loop.step = 45
    loop.take(batch)
    other, _ = loop_and_batch(train={"steps": 50})
    other.load_state_dict(loop.state_dict())
    assert other.slopes.state_dict() == loop.slopes.state_dict() != {}
    before = {key: value for key, value in loop.state_dict().items() if key != "slopes"}
    other.load_state_dict(before)  # a state of before
    assert other.slopes.state_dict() == {}


def test_few_steps_have_no_slope() -> None:
    slopes = EndSlopes(8)
    for step in range(1, 9):
        slopes.add(step, {"semseg": 1.0 / step})
    assert slopes.slopes() == {}


@pytest.mark.parametrize(
    ("percent", "error", "verdict"),
    [
        (-5.0, 1.0, "falling"),
        (-5.0, 3.0, "undecided"),
        (-0.5, 0.1, "flat"),
        (-0.5, 1.0, "undecided"),
        (3.0, 1.0, "flat"),
    ],
)
def test_a_loss_falls_where_slope_and_noise_say_so(percent: float, error: float, verdict: str) -> None:
    assert Slope(percent, error).verdict == verdict


def ends(**percent: float) -> Mapping[str, EndSlope]:
    return {task: EndSlope(percent=value, error=0.2, steps=50) for task, value in percent.items()}


def test_a_row_that_was_still_falling_is_marked_and_has_no_tier(tmp_path: Path) -> None:
    flat, falling = ends(semseg=-0.1, normals=0.0), ends(semseg=-0.1, normals=-4.0)
    cases = [*usual("single", 0.0, flatness=flat), *usual("lora", -0.1, flatness=flat)]
    cases += usual("vmt", 0.1, flatness=falling)
    analysis = analysed(tmp_path, cases)
    assert "vmt (still falling)" in list(main_table(analysis)["method"])
    assert analysis.seeds is not None
    assert set(analysis.seeds.tiers) == {"single", "lora"}
    assert analysis.seeds.between("single", "vmt") is not None, "at this budget they can be compared"
    assert cells(seeds_table(analysis.seeds))["vmt"]["tier"] == "-"
    assert {"single", "lora", "vmt"} <= set(by_label(analysis))
    (note,) = (note for note in analysis.notes if "falling" in note)
    assert "`vmt` (normals)" in note
    text = text_of(tmp_path / "page", cases)
    assert "### Curves at the end" in text
    assert "-4.0 ± 0.1, falling" in text  # 0.2 / sqrt(3)


def test_records_of_before_say_that_it_is_unknown(tmp_path: Path) -> None:
    cases = [*usual("single", 0.0), *usual("vmt", 0.1, flatness=ends(semseg=0.0))]
    analysis = analysed(tmp_path, cases)
    assert any("flat at the end is unknown for `single`" in note for note in analysis.notes)
    assert RunRecord.model_fields["flatness"].default is None
