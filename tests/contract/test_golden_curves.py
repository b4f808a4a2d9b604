"""Loss curves of three methods are those of the committed file: to the bit where it was written, else to rounding."""

import copy
import json
from pathlib import Path

import pytest
from curves import GOLDEN, METHODS, TOLERANCE, curve, disagreements, here

CONTENT = json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("method", METHODS)
def test_no_loss_curve_has_moved(method: str, tmp_path: Path) -> None:
    tolerance = 0.0 if here() == CONTENT["written_on"] else TOLERANCE
    assert disagreements(method, CONTENT["curves"][method], curve(method, tmp_path), tolerance=tolerance) == []


@pytest.mark.parametrize(("factor", "tolerance"), [(1 + 2e-16, 0.0), (1 + 2 * TOLERANCE, TOLERANCE)])
def test_a_moved_loss_is_named(factor: float, tolerance: float) -> None:
    golden = CONTENT["curves"]["vmt"]
    moved = copy.deepcopy(golden)
    assert disagreements("vmt", golden, moved, tolerance=tolerance) == []
    moved[-1]["losses"]["normals"] *= factor
    (told,) = disagreements("vmt", golden, moved, tolerance=tolerance)
    assert told.startswith(f"vmt, step {golden[-1]['step']}, normals: ")


def test_a_curve_of_other_steps_is_named() -> None:
    golden = CONTENT["curves"]["vmt"]
    assert len(golden) > 1
    assert disagreements("vmt", golden, golden[:-1], tolerance=TOLERANCE)
