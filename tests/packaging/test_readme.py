"""What the README tells a reader to type works as it stands."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from petl_bench.audit.demo import write_demo
from petl_bench.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(marker: str) -> str:
    """Return the fenced block that follows ``<!-- ci: marker -->``."""
    (found,) = re.findall(rf"^<!-- ci: {marker} -->\n```\w+\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return found


def typed_commands() -> list[str]:
    blocks = re.findall(r"^```sh\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    lines = [line.partition(" #")[0].strip() for text in blocks for line in text.splitlines()]
    return [line for line in lines if line.startswith("petl-bench ")] + [block("install-and-run").split(" && ")[-1]]


@pytest.mark.parametrize("marker", ["install-and-run", "test"])
def test_the_two_commands_are_one_line_each(marker: str) -> None:
    assert len(block(marker).splitlines()) == 1


@pytest.mark.parametrize("command", typed_commands())
def test_every_command_is_understood(command: str, tmp_path: Path, monkeypatch, capsys) -> None:
    if "--root demo/pascal" in command:
        write_demo("pascal-context", tmp_path / "pascal", images=3, size=64)
        command = command.replace("demo/pascal", str(tmp_path / "pascal"))
    name, *arguments = shlex.split(command)[1:]
    endings = {
        "run": ["--dry-run"],
        "sweep": ["--dry-run"],
        "tune": ["--dry-run"],
        "new": ["--out", str(tmp_path)],
        "check": ["--backbone", "vit"],
    }
    endings |= {
        understood: ["--help"] for understood in ("report", "scaling", "bench-peers", "claims", "data", "groups")
    }
    for store in ("runs", "other") if name in ("status", "store") else ():
        shutil.copytree(ROOT / "reports" / "runs" / "main", tmp_path / store)
    monkeypatch.chdir(tmp_path if name in ("status", "store") else ROOT)
    with pytest.raises(SystemExit) as left:
        main(
            [name, *arguments, *(["--help"] if "ray" in arguments else endings.get(name, []))]
        )  # a plan asks the cluster
    said = capsys.readouterr()
    assert not left.value.code, said.err
    assert said.out


def test_the_method_of_the_readme_keeps_every_promise(tmp_path: Path) -> None:
    (tmp_path / "readme_example.py").write_text(block("example"), encoding="utf-8")
    check = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from petl_bench.testing import check_method\n"
        "from readme_example import LNTuning\n"
        "verdicts = check_method(LNTuning)\n"
        "print(*verdicts, sep='\\n')\n"
        "sys.exit(not all(verdict.passed for verdict in verdicts))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", check, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_python_of_the_readme_runs_as_it_stands(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(block("python"), "README.md", "exec"), names)
    shapes = {task: tuple(prediction.shape) for task, prediction in names["predictions"].items()}
    assert shapes == {"semseg": (2, 21, 56, 56), "normals": (2, 3, 56, 56)}
    assert "shared=" in capsys.readouterr().out
    assert (tmp_path / "vmt.safetensors").is_file()


def test_the_notebook_runs_from_its_first_cell_to_its_last(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((ROOT / "experiments" / "first_steps.ipynb").read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    for number, cell in enumerate(notebook["cells"]):
        assert cell["cell_type"] == "markdown" or not cell["outputs"], "outputs are not committed"
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), f"first_steps.ipynb, cell {number}", "exec"), names)
    assert "another network" in capsys.readouterr().out
    assert list(names["table"].runs["method"]) == ["vmt"]
