"""What a store says of its runs, without anybody's word."""

from pathlib import Path

import torch
from test_store import record

from petl_bench.engine.checkpoint import write_checkpoint
from petl_bench.records.claims import claimed
from petl_bench.records.owner import myself
from petl_bench.records.status import log_path, statuses
from petl_bench.records.store import Store, write_record
from petl_bench.records.working import CHECKPOINT, PLANNED


def planned(store: Path, name: str) -> Path:
    folder = store / f".{name}"
    folder.mkdir()
    (folder / PLANNED).write_text('{"train": {"steps": 8}}')
    return folder


def broken_off(store: Path, name: str, step: int) -> Path:
    folder = planned(store, name)
    write_checkpoint(folder / CHECKPOINT, {"a": torch.zeros(1)}, fingerprint="f", engine_version=1, step=step)
    return folder


def test_every_state_is_told_from_the_store_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for one in (record(), record(status="failed", error="one\ntwo", fingerprint="e" * 64)):
        with store.writing(one.folder_name) as folder:
            write_record(folder, one)
    planned(tmp_path, "waiting")
    broken_off(tmp_path, "stopped", 3)
    gone = myself().model_copy(update={"started": "1"})
    (broken_off(tmp_path, "stale", 4) / "claim-1.json").write_text(gone.model_dump_json())
    log_path(tmp_path, "stale").parent.mkdir()
    log_path(tmp_path, "stale").touch()
    with claimed(broken_off(tmp_path, "running", 5), say=print):
        seen = {one.name: one for one in statuses(tmp_path)}
    assert {name: one.state for name, one in seen.items()} == {
        "vmt-s3-ffffffffff": "done",
        "vmt-s3-eeeeeeeeee": "failed",
        "waiting": "waiting",
        "stopped": "stopped",
        "stale": "stale",
        "running": "running",
    }
    assert seen["vmt-s3-eeeeeeeeee"].error == "two"
    assert (seen["running"].step, seen["running"].steps) == (5, 8)
    assert f"process {myself().pid}" in seen["running"].who
    assert seen["stale"].log == log_path(tmp_path, "stale")


def test_foreign_folders_and_damaged_files_are_no_runs(tmp_path: Path) -> None:
    (tmp_path / "report").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / ".half").mkdir()
    (tmp_path / ".half" / CHECKPOINT).write_bytes(b"\x00" * 20)
    assert statuses(tmp_path) == []
