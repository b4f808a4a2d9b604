"""Settings are chosen by runs that are scored on the validation split and open no test image."""

from pathlib import Path
from typing import Any

import pytest
from test_resume import smoke

from petl_bench.engine.draft import identified
from petl_bench.engine.run import run
from petl_bench.plugins import load
from petl_bench.records.store import Store


def test_a_run_that_is_scored_on_the_validation_split_opens_no_test_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    scenes: Any = load("datasets", "scenes")
    begin = scenes.__init__

    def watched(self: object, config: object, split: str, *rest: object, **more: object) -> None:
        opened.append(split)
        begin(self, config, split, *rest, **more)

    monkeypatch.setattr(scenes, "__init__", watched)
    usual = smoke("decoders", dataset={"val_images": 6})
    chosen = smoke("decoders", dataset={"val_images": 6, "scored_split": "val"})
    record = run(chosen, Store(tmp_path)).record
    assert set(opened) == {"train", "val"}
    assert {one.chosen.convention.rpartition("/")[2] for one in record.metrics.values()} == {"val:6"}
    assert record.folder_name == identified(chosen).folder_name != identified(usual).folder_name
