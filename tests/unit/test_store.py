"""A run folder is complete or not there."""

import numpy as np
import pytest

from petl_bench.errors import UsageError
from petl_bench.records.run import Environment, RunRecord
from petl_bench.records.store import RECORD, Store, read_record, read_scores, write_record, write_scores


def record(**changes: object) -> RunRecord:
    environment = Environment(
        versions={}, commit=None, dirty=None, device="cpu", device_name="cpu", dtype="float32", threads=1, platform="p"
    )
    content = {
        "status": "finished",
        "created": "2026-01-01T00:00:00+00:00",
        "config": {"method": {"name": "vmt"}, "seed": 3},
        "fingerprint": "f" * 64,
        "group": "g" * 64,
        "weights_hash": "w",
        "data_hash": "d",
        "execution": "tapped",
        "environment": environment,
    }
    return RunRecord.model_validate({**content, **changes})


def test_a_record_survives_the_disk(tmp_path) -> None:
    store, one = Store(tmp_path), record()
    with store.writing(one.folder_name) as folder:
        write_record(folder, one)
    assert store.find("vmt-s3-ffffffffff") == one


def test_an_interrupted_run_leaves_nothing(tmp_path) -> None:
    store = Store(tmp_path)

    def interrupted() -> None:
        with store.writing("run") as folder:
            (folder / "half").write_text("written")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_a_repeated_run_replaces_the_folder_as_a_whole(tmp_path) -> None:
    store = Store(tmp_path)
    for number in (1, 2):
        with store.writing("run") as folder:
            (folder / f"file{number}").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file2"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_failed_and_damaged_records_are_not_found(tmp_path) -> None:
    store = Store(tmp_path)
    failed = record(status="failed", error="it broke")
    with store.writing(failed.folder_name) as folder:
        write_record(folder, failed)
    assert store.find(failed.folder_name) is None
    assert read_record(tmp_path / failed.folder_name / RECORD) == failed
    (tmp_path / failed.folder_name / RECORD).write_text('{"status": "finished"')
    assert read_record(tmp_path / failed.folder_name / RECORD) is None


def test_scores_keep_missing_values(tmp_path) -> None:
    write_scores(tmp_path, {"normals": np.array([1.5, np.nan])})
    np.testing.assert_array_equal(read_scores(tmp_path)["normals"], np.array([1.5, np.nan], np.float32))


def test_a_folder_that_cannot_be_written_is_said(tmp_path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        Store(tmp_path / "file" / "runs").require_writable()
