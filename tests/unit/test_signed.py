"""Nothing that a command did not write is written over."""

from pathlib import Path

import pytest
from report_store import ROLES, usual, write

from petl_bench.cli.main import main
from petl_bench.errors import UsageError
from petl_bench.report import report
from petl_bench.signed import LIST, require_replaceable, sign_all


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name", ["report.md", "runs.csv", "figures/of-mine.png", "tables/of-mine.csv", "scaling/x", ".x"]
)
def test_a_report_does_not_take_the_place_of_files_it_did_not_write(name: str, tmp_path: Path) -> None:
    store, out = write(tmp_path / "runs", usual("vmt", 0.0)), tmp_path / "out"
    mine = out / name
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    before = content(out)
    with pytest.raises(UsageError, match="which no command here wrote"):
        report([store], out, ROLES)
    assert content(out) == before


def test_a_report_replaces_its_own_and_refuses_when_something_was_added(tmp_path: Path) -> None:
    store, out = write(tmp_path / "runs", usual("vmt", 0.0)), tmp_path / "out"
    first = report([store], out, ROLES)
    assert first.page.exists()
    report([store], out, ROLES)
    (out / "tables" / "of-mine.csv").write_text("mine")
    with pytest.raises(UsageError, match=r"tables/of-mine\.csv"):
        report([store], out, ROLES)
    assert (out / "tables" / "of-mine.csv").read_text() == "mine"


def test_a_link_is_refused_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    store, target, link = write(tmp_path / "runs", usual("vmt", 0.0)), tmp_path / "target", tmp_path / "link"
    target.mkdir()
    link.symlink_to(target)
    with pytest.raises(UsageError, match="a symbolic link"):
        report([store], link, ROLES)
    assert link.is_symlink()
    assert list(target.iterdir()) == []
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "tables").symlink_to(target)
    with pytest.raises(UsageError, match="tables"):
        report([store], tmp_path / "out", ROLES)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"written": 3}', "[" * 100_000])
def test_a_list_that_cannot_be_read_names_nothing(text: str, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    (tmp_path / LIST).write_text(text)
    with pytest.raises(UsageError, match="which no command here wrote"):
        require_replaceable(tmp_path)


def test_scaling_leaves_a_page_of_the_users_alone_before_it_measures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "README.md").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["scaling", "--method", "decoders", "--metric", "macs", "--tasks", "1,2", "--out", "."])
    assert left.value.code == 2
    assert "README.md" in capsys.readouterr().err
    assert content(tmp_path) == {"README.md": b"mine"}


def test_other_files_beside_what_is_written_do_not_matter_where_a_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    require_replaceable(tmp_path, ["README.md"])
    (tmp_path / "README.md").write_text("ours")
    sign_all(tmp_path)
    require_replaceable(tmp_path, ["README.md"])
