"""Throw mutated configurations and command lines: ``python tests/soak/fuzz.py --configurations 10000 --lines 1000``.

Each is a function of the seed and its number, so ``--seed 0 --only 17`` throws one again. What is thrown is answered
with a ``UsageError`` (exit 2), is planned, or runs; anything else is a finding: a traceback, an exit status that no
command has, a run that is half-written, a command that does not end. Exit 1 if there is one.
"""

import argparse
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from thrown_configurations import Configurations
from thrown_lines import Lines


@dataclass
class Tally:
    """What came of it."""

    answered: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


def fuzz(folder: Path, *, configurations: int, lines: int, seed: int, only: Sequence[int] = ()) -> Tally:
    """Throw so many; ``only`` throws those numbers of both kinds again."""
    tally = Tally()
    thrown = Configurations(folder)

    def note(what: str, number: int, show: str) -> None:
        tally.findings.append(f"{what} {number}: {show}\n{traceback.format_exc(limit=-6)}")

    for number in only or range(configurations):
        try:
            tally.answered[thrown.throw(number, random.Random(f"{seed} configuration {number}"))] += 1
        except Exception:
            note("configuration", number, "")
    typed = Lines(folder, thrown)
    for number in only or range(lines):
        draw = random.Random(f"{seed} line {number}")
        try:
            _, how = typed.throw(draw)
            tally.answered[f"line {how}"] += 1
        except Exception:
            note("line", number, repr(typed.line(random.Random(f"{seed} line {number}")))[:1500])
    tally.findings += [f"half-written: {name}" for name in typed.half_written()]
    return tally


def command() -> int:
    """Throw and tell."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--configurations", type=int, default=10_000)
    parser.add_argument("--lines", type=int, default=1_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, nargs="*", default=[], help="numbers to throw again")
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        amounts = {"configurations": options.configurations, "lines": options.lines}
        tally = fuzz(Path(folder), **amounts, seed=options.seed, only=options.only)
    for finding in tally.findings:
        print(finding)
    print(f"{sum(tally.answered.values())} answered: {dict(sorted(tally.answered.items()))}")
    print(f"findings: {len(tally.findings)}, in {time.monotonic() - began:.0f} s")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(command())
