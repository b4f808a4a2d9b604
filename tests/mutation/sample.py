"""Disable checks and rules at random places, one at a time, and list which the tests miss.

``python tests/mutation/sample.py --number 30 --seed 0``; minutes for each place, one core.

A condition becomes false, a ``raise`` or an ``assert`` becomes nothing, a comparison becomes its neighbour (``<=`` for
``<``) or its opposite. Each is planted in a copy of the repository, where the tests that name the code's package run
until one fails. A missed one is a missing test, or a line that is not needed.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OTHER = {
    ast.Eq: "!=",
    ast.NotEq: "==",
    ast.Lt: "<=",
    ast.LtE: "<",
    ast.Gt: ">=",
    ast.GtE: ">",
    ast.Is: "is not",
    ast.IsNot: "is",
    ast.In: "not in",
    ast.NotIn: "in",
}
ALWAYS = ("tests/unit/test_cli.py", "tests/e2e/test_main_job.py")  # what all packages take part in, asked last
SECONDS = 900


@dataclass(frozen=True)
class Mutant:
    """A span of bytes of a file, and what stands in its place."""

    file: str
    line: int
    start: int
    end: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {' '.join(self.old.split())[:100]} -> {self.new[:60]}"


def mutants(file: str) -> Iterator[Mutant]:
    """Return everything in the functions of a file that can be disabled."""
    source = (ROOT / file).read_bytes()
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    for node in {node: None for function in functions for node in ast.walk(function)}:
        for part, new in disabled(node):
            start = starts[part.lineno - 1] + part.col_offset
            end = starts[(part.end_lineno or part.lineno) - 1] + (part.end_col_offset or 0)
            yield Mutant(file, part.lineno, start, end, source[start:end].decode(), new)


def disabled(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Return the part of a statement or an expression to replace, and by what."""
    match node:
        case ast.If(test=test):
            yield test, "False"
        case ast.Raise() | ast.Assert():
            yield node, "pass"
        case ast.Compare(left=left, ops=[operator], comparators=[right]):
            yield node, f"({ast.unparse(left)} {OTHER[type(operator)]} {ast.unparse(right)})"
        case _:
            pass


def tests_of(file: str) -> list[str]:
    """Return the test files that name the package of a source file, and those that everything takes part in."""
    package = ".".join(Path(file).with_suffix("").parts[:2])
    files = [path for path in sorted((ROOT / "tests").rglob("test_*.py")) if "packaging" not in path.parts]
    named = [str(path.relative_to(ROOT)) for path in files if package in path.read_text(encoding="utf-8")]
    return [*(name for name in named if name not in ALWAYS), *ALWAYS]


def catches(copy: Path, mutant: Mutant) -> str:
    """Plant a mutant, run the tests until one fails, take the mutant out again, and return what caught it or ''."""
    path = copy / mutant.file
    source = path.read_bytes()
    path.write_bytes(source[: mutant.start] + mutant.new.encode() + source[mutant.end :])
    command = [sys.executable, "-m", "pytest", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb=no", "-rfE"]
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    try:
        done = subprocess.run(
            [*command, *tests_of(mutant.file)],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
    except subprocess.TimeoutExpired:
        return "no end within the time"
    finally:
        path.write_bytes(source)
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    return "" if done.returncode == 0 else (failed or ["no test could be collected"])[0]


def main() -> None:
    """Draw places, try each, and say what was caught."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--number", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    paths = [path for package in ("petl_bench", "methods") for path in sorted((ROOT / package).rglob("*.py"))]
    every = [mutant for path in paths for mutant in mutants(path.relative_to(ROOT).as_posix())]
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "copy"
        shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(".git", ".venv", "__pycache__", "runs"))
        for mutant in random.Random(chosen.seed).sample(every, chosen.number):
            caught = catches(copy, mutant)
            missed += not caught
            print(f"{'caught' if caught else 'MISSED'} {mutant} {caught}", flush=True)
    print(f"{missed} of {chosen.number} missed, of {len(every)} places")


if __name__ == "__main__":
    main()
