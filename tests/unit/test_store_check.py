"""What is wrong in a store is named, put aside when asked, and never deleted."""

import io
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from petl_bench.cli.main import main
from petl_bench.records.owner import myself
from petl_bench.records.store import read_record, write_record

COMMITTED = Path(__file__).resolve().parents[2] / "reports" / "runs" / "first-edition"


def checked(store: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(["store", "check", str(store), *arguments])
    return int(left.value.code or 0)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two real runs, in the present schema."""
    for folder in sorted(COMMITTED.iterdir())[:2]:
        record = read_record(folder / "record.json")
        assert record is not None
        copy = tmp_path / "runs" / record.folder_name
        shutil.copytree(folder, copy)
        write_record(copy, record)
    return tmp_path / "runs"


def first(store: Path) -> Path:
    return sorted(path for path in store.iterdir() if not path.name.startswith("."))[0]


def edited(folder: Path) -> None:
    content = json.loads((folder / "record.json").read_text())
    content["config"]["train"]["steps"] += 1
    (folder / "record.json").write_text(json.dumps(content))


def renamed(folder: Path) -> None:
    folder.rename(folder.with_name("a-other"))


def truncated_record(folder: Path) -> None:
    path = folder / "record.json"
    path.write_text(path.read_text()[:-50])


def truncated_scores(folder: Path) -> None:
    (folder / "scores.npz").write_bytes(b"PK\x03\x04 half")


def pickled_scores(folder: Path) -> None:
    np.savez(folder / "scores.npz", semseg=np.array([{"an": "object"}], dtype=object))


def bomb(folder: Path) -> None:
    """An archive whose directory says that an array is of four gigabytes."""
    path = folder / "scores.npz"
    np.savez_compressed(path, semseg=np.zeros(3))
    content = bytearray(path.read_bytes())
    size = content.index(b"PK\x01\x02") + 24
    content[size : size + 4] = (2**32 - 16).to_bytes(4, "little")
    path.write_bytes(content)


def slipping(folder: Path) -> None:
    stream = io.BytesIO()
    np.save(stream, np.zeros(3))
    with zipfile.ZipFile(folder / "scores.npz", "w") as archive:
        archive.writestr("../../outside.npy", stream.getvalue())


def oversized_header(folder: Path) -> None:
    (folder / "trainable.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")


def test_a_sound_store_has_no_problem(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(store) == 0
    assert capsys.readouterr().out == "0 problems\n"


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (edited, "the record was edited"),
        (renamed, "its record belongs to"),
        (truncated_record, "no record of this version, or damaged"),
        (truncated_scores, "scores.npz cannot be read"),
        (pickled_scores, "scores.npz cannot be read"),
        (bomb, "scores.npz cannot be read"),
        (slipping, "scores.npz cannot be read"),
        (oversized_header, "trainable.safetensors cannot be read"),
    ],
)
def test_a_damaged_run_is_named_and_put_aside_whole(
    damage: Callable[[Path], None], what: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(first(store))
    folder = first(store)
    before = sorted(path.name for path in folder.iterdir())
    assert checked(store) == 1
    assert what in capsys.readouterr().out
    assert checked(store, "--repair") == 0
    (aside,) = (store / ".quarantine").iterdir()
    assert sorted(path.name for path in aside.iterdir()) == before
    assert checked(store) == 0


def test_scratch_of_a_killed_process_is_cleared_and_that_of_a_living_one_is_not(store: Path) -> None:
    for name, started in (("dead", "1"), ("alive", myself().started)):
        (store / f".{name}" / "scratch-x").mkdir(parents=True)
        owner = myself().model_copy(update={"started": started})
        (store / f".{name}" / "claim-1.json").write_text(owner.model_dump_json())
    assert checked(store) == 1
    assert checked(store, "--repair") == 0
    assert not (store / ".dead" / "scratch-x").exists()
    assert (store / ".alive" / "scratch-x").exists()
