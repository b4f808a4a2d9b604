"""A store in one file: it comes back as it was, and a pack that is none, or means harm, leaves nothing behind."""

import hashlib
import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_store_check import store as store  # two real runs

from petl_bench.cli.main import main
from petl_bench.records.pack import LIST
from petl_bench.records.store import RECORD


def typed(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(argument) for argument in arguments])
    return int(left.value.code or 0)


def files(store: Path) -> dict[str, bytes]:
    return {str(path.relative_to(store)): path.read_bytes() for path in store.rglob("*") if path.is_file()}


def test_a_store_comes_back_as_it_was_and_the_same_runs_are_the_same_bytes(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("store", "pack", store, tmp_path / "a.zip") == 0
    assert typed("store", "unpack", tmp_path / "a.zip", tmp_path / "other") == 0
    assert files(tmp_path / "other") == files(store)
    assert typed("store", "pack", tmp_path / "other", tmp_path / "b.zip") == 0
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    digest = hashlib.sha256((tmp_path / "a.zip").read_bytes()).hexdigest()
    assert capsys.readouterr().out.count(f"sha256: {digest}") == 3
    assert typed("store", "diff", store, tmp_path / "other") == 0
    assert "2 runs in both, 0 differences" in capsys.readouterr().out


def test_what_is_there_stays_and_what_is_unsound_is_left_out(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed("store", "pack", store, tmp_path / "a.zip")
    assert typed("store", "pack", store, tmp_path / "a.zip") == 2, "a file is not overwritten"
    one, other = sorted(store.iterdir())
    (one / RECORD).write_text("mine")
    shutil.rmtree(other)
    assert typed("store", "unpack", tmp_path / "a.zip", store) == 0
    assert (one / RECORD).read_text() == "mine"
    assert other.is_dir()
    assert f"left out: {one.name}: there already" in capsys.readouterr().err
    assert typed("store", "pack", store, tmp_path / "c.zip") == 0
    assert f"left out: {one.name}: {RECORD} is no record" in capsys.readouterr().err


def test_what_differs_between_two_stores_is_said(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(store, tmp_path / "other")
    one, other = sorted((tmp_path / "other").iterdir())
    shutil.rmtree(other)
    content = json.loads((one / RECORD).read_text())
    task, result = next(iter(content["metrics"].items()))
    result["metrics"][result["primary"]]["value"] += 1
    (one / RECORD).write_text(json.dumps(content))
    assert typed("store", "diff", store, tmp_path / "other", "--format", "json") == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["run"], row["what"]) for row in rows] == [
        (one.name, f"{task} {result['primary']}"),
        (other.name, "run"),
    ]
    assert float(rows[0]["second"]) - float(rows[0]["first"]) == pytest.approx(1)
    assert (rows[1]["first"], rows[1]["second"]) == ("finished", "-")


Members = dict[str, bytes]


def repacked(path: Path, change: Callable[[Members], None], *, relist: bool) -> None:
    """Write a pack anew with other members; ``relist``: under hashes that fit them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    if relist:
        named = {name: hashlib.sha256(content).hexdigest() for name, content in members.items() if name != LIST}
        members[LIST] = json.dumps({"format": 1, "files": named}).encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def slip(members: Members) -> None:
    members["../outside/record.json"] = b"{}"


def absolute(members: Members) -> None:
    members["/tmp/record.json"] = b"{}"


def hidden(members: Members) -> None:
    members[".quarantine/record.json"] = b"{}"


def script(members: Members) -> None:
    members["run/run.sh"] = b"rm"


def bomb(members: Members) -> None:
    members["run/scores.npz"] = bytes(200_000_000)


def no_record(members: Members) -> None:
    for name in [name for name in members if name.endswith(RECORD)]:
        del members[name]


def other_name(members: Members) -> None:
    for name in [name for name in members if name != LIST]:
        members[f"x-{name}"] = members.pop(name)


def edited(members: Members) -> None:
    name = next(name for name in members if name.endswith(RECORD))
    members[name] = members[name].replace(b'"finished"', b'"failed"')


def nested(members: Members) -> None:
    members[LIST] = b"[" * 100_000


def no_list(members: Members) -> None:
    del members[LIST]


@pytest.mark.parametrize(
    ("change", "relist", "why"),
    [
        (slip, True, "is no file of a run"),
        (absolute, True, "is no file of a run"),
        (hidden, True, "is no file of a run"),
        (script, True, "is no file of a run"),
        (bomb, True, "it would grow to"),
        (no_record, True, "is no record"),
        (other_name, True, "its record belongs to"),
        (edited, False, "is not what was packed"),
        (slip, False, "its members are not those"),
        (nested, False, "cannot be read"),
        (no_list, False, "cannot be read"),
    ],
)
def test_a_hostile_pack_leaves_nothing_behind(
    change: Callable[[Members], None], relist: bool, why: str, store: Path, tmp_path: Path, capsys
) -> None:
    typed("store", "pack", store, tmp_path / "a.zip")
    repacked(tmp_path / "a.zip", change, relist=relist)
    before = sorted(path.name for path in tmp_path.iterdir())
    assert typed("store", "unpack", tmp_path / "a.zip", tmp_path / "other") == 2
    assert why in capsys.readouterr().err
    assert sorted({path.name for path in tmp_path.iterdir()} - {"other"}) == before
    left = [] if not (tmp_path / "other").exists() else [path.name for path in (tmp_path / "other").iterdir()]
    assert not {name for name in left if name.startswith(".")}
    assert typed("store", "check", tmp_path / "other") == 0 if left else True


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"x" * 1000])
def test_what_is_no_zip_is_said(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    assert typed("store", "unpack", tmp_path / "a.zip", tmp_path / "other") == 2
    assert "it is no zip archive" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_a_directory_that_lies_about_a_size_gives_no_more_than_it_says(store: Path, tmp_path: Path) -> None:
    """The header of the largest member says 10 bytes: what is unpacked is not what was hashed."""
    typed("store", "pack", store, tmp_path / "a.zip")
    content = bytearray((tmp_path / "a.zip").read_bytes())
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = (10).to_bytes(4, "little")
    (tmp_path / "a.zip").write_bytes(content)
    assert typed("store", "unpack", tmp_path / "a.zip", tmp_path / "other") == 2
    assert not [path for path in (tmp_path / "other").iterdir() if path.name.startswith(".")]
