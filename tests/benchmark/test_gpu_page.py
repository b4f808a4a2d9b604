"""The committed page of the GPU is what its measurements say."""

import json
from pathlib import Path

from on_gpu import MEASURED, PAGE, page

FOLDER = Path(__file__).parents[2] / "reports" / "gpu"


def test_the_committed_page_is_made_of_the_committed_measurements() -> None:
    measured = json.loads((FOLDER / MEASURED).read_text(encoding="utf-8"))
    assert page(measured) == (FOLDER / PAGE).read_text(encoding="utf-8")
