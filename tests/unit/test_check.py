"""``petl-bench check``: verdicts for people and for programs, on registered methods and on one's own."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from petl_bench.cli import scaffold
from petl_bench.cli.check import Checked, _print_summary
from petl_bench.cli.main import main
from petl_bench.testing import CHECKS, Verdict
from petl_bench.testing.subject import TINY

BROKEN = '''
from petl_bench.features import Features
from petl_bench.method import Counts, Method


class Shifted(Method):
    """Claims to leave the features alone, and does not."""

    def adapt(self):
        pass

    def expected_parameters(self):
        return Counts(shared=1)

    def forward(self, image):
        return Features(shared=tuple(level + 1 for level in super().forward(image).shared))


class Unfinished(Method):
    def adapt(self):
        pass
'''


def type_(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a module of one's own in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "broken_methods.py").write_text(BROKEN)
    before = set(sys.modules)
    yield tmp_path
    for name in sys.modules.keys() - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.usefixtures("one_thread")
def test_a_registered_method_passes_with_a_line_for_every_property(capsys: pytest.CaptureFixture[str]) -> None:
    assert type_("check", "vmt", "--backbone", "vit", "--set", "method.rho=2") == 0
    said = capsys.readouterr()
    for name in CHECKS:
        assert name in said.out
    assert "not applicable: vmt on vit, merged: " in said.out
    assert "FAIL" not in said.out
    assert "check" in said.err


@pytest.mark.usefixtures("one_thread")
def test_a_broken_promise_is_exit_1_and_says_what_was_seen(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert type_("check", "broken_methods:Shifted", "--backbone", "vit", "--format", "json") == 1
    rows = {row["property"]: row for row in json.loads(capsys.readouterr().out)}
    assert list(rows) == list(CHECKS)
    assert {name for name, row in rows.items() if row["verdict"] == "FAIL"} == {
        "identity_at_start",
        "count_is_closed_form",
        "merged",
    }
    assert "differs from the plain backbone by 1.00e+00" in rows["identity_at_start"]["seen"]
    assert rows["frozen_bits"]["promise"] == "Frozen weights stay bitwise equal after two steps."
    assert {row["method"] for row in rows.values()} == {"Shifted"}


@pytest.mark.usefixtures("one_thread")
def test_a_method_that_cannot_be_built_has_one_verdict_a_family(place: Path, capsys) -> None:
    assert type_("check", "broken_methods:Unfinished", "--format", "csv") == 1
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    said = [(row["backbone"], row["property"], row["verdict"]) for row in rows]
    assert said == [(network, "builds", "FAIL") for network in TINY]
    assert "expected_parameters" in rows[0]["seen"]


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["vtm"], ["Unknown method 'vtm'", "Did you mean 'vmt'?", "petl-bench list methods"]),
        (["nosuch:Thing"], ["There is no module 'nosuch'", "petl-bench list methods"]),
        (["broken_method:Shifted"], ["Did you mean 'broken_methods'?", "petl-bench check broken_methods:Shifted"]),
        (["broken_methods:Shift"], ["Did you mean 'Shifted'?", "petl-bench check broken_methods:Shifted"]),
        (["broken_methods:Features"], ["Allowed: Shifted, Unfinished"]),
        (["broken_methods.py:Shifted"], ["There is no module 'broken_methods.py'"]),
        (["./broken_methods:Shifted"], ["MODULE:CLASS is expected"]),
        (["broken_methods:"], ["MODULE:CLASS is expected"]),
        (["syntax:Thing"], ["cannot be imported: SyntaxError", "python -c 'import syntax'"]),
        (["needy:Thing"], ["cannot be imported: ModuleNotFoundError", "no_such_library"]),
        (["vmt", "--backbone", "swim"], ["Unknown family of backbones 'swim'", "Did you mean 'swin'?"]),
        (
            ["relative-bias", "--backbone", "vit"],
            ["needs relative-position tables, which vit"],
        ),
        (["vmt", "--set", "method.roh=8"], ["'method.roh'", "'method.rho'"]),
        (["vmt", "--set", "tasks=2"], ["only settings of the method"]),
        (["all", "--set", "method.rho=8"], ["Settings belong to one method"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) and len(value) < 4 else None,
)
def test_a_mistake_is_answered_with_exit_2(arguments: list[str], parts: list[str], place: Path, capsys) -> None:
    (place / "syntax.py").write_text("class Thing(:")
    (place / "needy.py").write_text("import no_such_library")
    assert type_("check", *arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for part in parts:
        assert part in said.err
    assert "Traceback" not in said.err


def test_a_setting_that_does_not_fit_is_the_users_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert type_("check", "mtlora", "--backbone", "vit", "--set", "method.taps=after-merge") == 2
    assert "needs linear layers that merge patches" in capsys.readouterr().err


@pytest.mark.usefixtures("one_thread")
def test_a_class_of_the_working_folder_is_found_by_the_console(place: Path) -> None:
    """As a new method is, without being registered in a package."""
    scaffold.new_method("side-branch", None)
    assert type_("check", "side_branch:SideBranch", "--backbone", "vit") == 0


def test_the_summary_of_all_methods_counts_every_outcome(capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = ("ok", "ok", "ok", "FAIL", "not applicable", "not applicable")
    _print_summary([Checked("mine", "swin", [Verdict(f"check_{n}", outcome) for n, outcome in enumerate(outcomes)])])
    said = capsys.readouterr().out
    (row,) = [line for line in said.splitlines() if "mine" in line and "swin" in line and "check_" not in line]
    assert [cell.strip(" \u2502|") for cell in row.split() if cell.strip(" \u2502|")][2:5] == ["3", "1", "2"]
    assert "check_3" in said
