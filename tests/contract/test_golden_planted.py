"""The guard notices: changes that are planted in a copy of the methods are named with their numbers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from petl_bench.measure.count.guard import COST_CELLS

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "counts.json"


TYPED = """
import sys
from petl_bench.cli.main import main
for number in range(1, len(sys.argv), 2):
    try:
        main(["params", *sys.argv[number : number + 2]])
    except SystemExit as left:
        print("exit", left.code)
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with the methods of a folder in place of ours."""
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        check=False,
    )


def checked_with(folder: Path, file: str, old: str, new: str, method: str) -> subprocess.CompletedProcess[str]:
    """Check a method against the file in a copy of the methods where one thing is another."""
    shutil.copytree(ROOT / "methods", folder / "methods", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / "methods" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1
    path.write_text(text.replace(old, new), encoding="utf-8")
    return python(folder, "-m", "petl_bench", "params", "--check", str(GOLDEN), "--method", method)


def told_costs(out: str, where: str) -> dict[str, tuple[int, int]]:
    """Return, by name, old and new numbers of the one line that begins with ``where``."""
    (line,) = [line for line in out.splitlines() if line.startswith(where)]
    moved = re.findall(r"(\w+) ([\d,]+) -> ([\d,]+)", line.removeprefix(where))
    return {name: (int(old.replace(",", "")), int(new.replace(",", ""))) for name, old, new in moved}


def test_a_changed_default_is_named_with_exit_1(tmp_path: Path) -> None:
    """In a copy of the methods, where LoRA has rank 8 by default."""
    done = checked_with(tmp_path, "lora.py", "rank: Positive = 4", "rank: Positive = 8", "lora")
    assert done.returncode == 1, done.stderr
    assert "30 differences" in done.stdout
    widths = [32] + [64] * 2 + [128] * 6 + [256] * 2
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    for tasks in (1, 4):
        told = told_costs(done.stdout, f"lora on embedded, 64 px, T = {tasks}: ")
        assert told["per_task"] == (tasks * 18 * sum(widths), tasks * 34 * sum(widths))
        lora, frozen = (golden[name]["embedded"]["64"] for name in ("lora", "relative-bias"))
        # Both fork behind the patch embedding, and the tables of the other one multiply nothing.
        added = lora[str(tasks)]["infer_macs"] - frozen[str(tasks)]["infer_macs"]
        assert told["infer_macs"] == (lora[str(tasks)]["infer_macs"], frozen[str(tasks)]["infer_macs"] + 2 * added)
        assert told["train_macs"][1] > told["train_macs"][0] == lora[str(tasks)]["train_macs"]


def test_one_more_pass_over_the_tokens_is_named_with_exit_1(tmp_path: Path) -> None:
    """In a copy of the methods, where VMT multiplies u by a scale of one; neither parameters nor products change."""
    spared = "return u if self.scale == 1 else self.scale * u  # a pass over all tokens, for nothing if s is 1"
    done = checked_with(tmp_path, "_tap.py", spared, "return self.scale * u", "vmt")
    assert done.returncode == 1, done.stderr
    assert f"{len(COST_CELLS)} differences" in done.stdout
    cells = json.loads(GOLDEN.read_text(encoding="utf-8"))["vmt"]
    sizes = {
        ("embedded", 64): [(32, 32)] + [(16, 64)] * 2 + [(8, 128)] * 6 + [(4, 256)] * 2,
        ("swin_tiny_patch4_window7_224", 224): [(56, 96)] * 2 + [(28, 192)] * 2 + [(14, 384)] * 6 + [(7, 768)] * 2,
    }
    for (name, size), blocks in sizes.items():
        one_pass = sum(side * side * width for side, width in blocks)
        for tasks in ("1", "4"):
            was = cells[name][str(size)][tasks]
            infer, train = was["infer_elementwise_ops"], was["train_elementwise_ops"]
            assert told_costs(done.stdout, f"vmt on {name}, {size} px, T = {tasks}: ") == {
                "infer_elementwise_ops": (infer, infer + one_pass),
                "train_elementwise_ops": (train, train + 2 * one_pass),
            }


def test_a_guard_that_finds_no_method_does_not_pass(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    shutil.copy(ROOT / "methods" / "__init__.py", tmp_path / "methods")
    done = python(tmp_path, "-c", TYPED, "--check", str(GOLDEN), "--write", str(tmp_path / "counts.json"))
    assert done.stdout.split("\n")[:2] == ["exit 2", "exit 2"], done.stderr
    assert done.stderr.count("Nothing was counted") == 2
    assert not (tmp_path / "counts.json").exists()
