"""``petl-bench new method``: what it writes works as it stands, and what it must not do it refuses."""

import subprocess
import sys
from pathlib import Path

import pytest

from petl_bench import plugins
from petl_bench.cli import scaffold
from petl_bench.cli.main import main
from petl_bench.errors import UsageError


def type_(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, outside of any checkout."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_test_that_is_written_passes(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The kit on Swin and the closed form, in the words that the command ends with; ``check`` is tried on ViT."""
    assert type_("new", "method", "low-branch") == 0
    said = capsys.readouterr().out
    assert sorted(path.name for path in place.iterdir()) == ["low_branch.py", "test_low_branch.py"]
    assert "petl-bench check low_branch:LowBranch" in said
    assert "python -m pytest test_low_branch.py" in said
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not vit", "test_low_branch.py"],
        cwd=place,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 passed, 1 deselected" in done.stdout


def test_what_is_written_carries_the_name_everywhere(place: Path) -> None:
    scaffold.new_method("low-branch-2", None)
    method, test = (place / name for name in ("low_branch_2.py", "test_low_branch_2.py"))
    assert '@METHODS.register("low-branch-2")\nclass LowBranch2(Method):' in method.read_text()
    assert "from low_branch_2 import LowBranch2\n" in test.read_text()
    for path in (method, test):
        text = path.read_text()
        compile(text, str(path), "exec")
        assert not [word for word in ("my_method", "my-method", "MyMethod", "templates") if word in text]


def test_a_checkout_gets_the_files_where_its_own_are(place: Path) -> None:
    (place / "methods").mkdir()
    (place / "methods" / "__init__.py").write_text(f"{plugins.MARKER} = {plugins.API}\n")
    (place / "tests" / "unit").mkdir(parents=True)
    said = scaffold.new_method("low-branch", None)
    assert (place / "methods" / "low_branch.py").is_file()
    assert "from methods.low_branch import LowBranch\n" in (place / "tests/unit/test_low_branch.py").read_text()
    assert "wrote methods/low_branch.py" in said


def test_the_template_is_found_as_any_method_is(place: Path) -> None:
    """What a checkout would list: name, paper, provenance and executions are literals."""
    scaffold.new_method("low-branch", None)
    (listing,) = plugins._parse_file(place / "low_branch.py", "low_branch", "METHODS", 0)
    assert listing.name == "low-branch"
    assert listing.provenance
    assert {"paper", "executions", "scopes"} <= listing.attributes.keys()


def test_a_folder_of_choice(place: Path) -> None:
    said = scaffold.new_method("low-branch", place / "own")
    assert {path.name for path in (place / "own").iterdir()} == {"low_branch.py", "test_low_branch.py"}
    assert "cd own && petl-bench check low_branch:LowBranch" in said


def test_nothing_is_overwritten(place: Path) -> None:
    for taken in ("low_branch.py", "test_low_branch.py"):
        (place / taken).write_text("mine")
        with pytest.raises(UsageError, match="is there already"):
            scaffold.new_method("low-branch", None)
        assert [(path.name, path.read_text()) for path in place.iterdir()] == [(taken, "mine")]
        (place / taken).unlink()


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("My_Method", ["not allowed", "lower-case", "petl-bench new method my-method"]),
        ("2d-prompts", ["not allowed", "petl-bench new method my-method"]),
        ("low branch", ["petl-bench new method low-branch"]),
        ("../escape", ["petl-bench new method escape"]),
        ("-x", ["petl-bench new method x"]),
        ("", ["not allowed"]),
        ("lambda", ["no word of Python's"]),
        ("all", ["not 'all'"]),
        ("vmt", ["is there already: methods.vmt", "petl-bench list methods"]),
        ("torch", ["would hide the Python module 'torch'", "petl-bench new method my-torch"]),
    ],
)
def test_a_name_that_cannot_be_is_refused(name: str, parts: list[str], place: Path) -> None:
    with pytest.raises(UsageError) as refused:
        scaffold.new_method(name, None)
    for part in parts:
        assert part in str(refused.value)
    assert list(place.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_said(place: Path) -> None:
    (place / "file").touch()
    with pytest.raises(UsageError, match="cannot be written"):
        scaffold.new_method("low-branch", place / "file")
