"""Throw mutated configurations and command lines: ``python tests/soak/fuzz.py --configurations 10000 --lines 1000``.

Each is a function of the seed and its number, so ``--seed 0 --only 17`` throws one again. What is thrown is answered
with a ``UsageError`` (exit 2), is planned, or runs; anything else is a finding: a traceback, an exit status that no
command has, a run that is half-written, a command that does not end. Exit 1 if there is one.
"""

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
import typing
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from mutations import as_arguments, mutate, scratch, toml_of
from typer.models import ArgumentInfo

from petl_bench import plan, plugins
from petl_bench.backbones.names import backbone_names
from petl_bench.cli.main import app, main
from petl_bench.cli.options import settings_of
from petl_bench.config import BUDGETS
from petl_bench.errors import UsageError
from petl_bench.records.store import RECORD, read_record

SECONDS = 60  # that a command may take before it is interrupted, which counts and is no finding
TEXTS = ("²", "-1", "0", "1", "9" * 5000, "x" * 300, "\x00", "\ud800", "", " ", "--", "-", "=", "./.", "nan", "a.b=c")


@dataclass
class Tally:
    """What came of it."""

    answered: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)


class Configurations:
    """Valid settings, mutated, by three ways in: as a mapping, as values of ``--set``, and as an experiment file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mutated.toml"
        self.shipped = [path.read_bytes() for path in sorted(plan.experiments_folder().glob("*.toml"))]
        self.names = {kind: [*plugins.listings(kind)] for kind in ("methods", "decoders", "datasets")}
        self.whole = [self._whole(method) for method in self.names["methods"]]

    @staticmethod
    def _whole(method: str) -> dict[str, Any]:
        """Every key of a run with its default; TOML has no null."""
        config = plan.plan({"method": {"name": method}}, plugins.vocabulary)
        return json.loads(config.model_dump_json(exclude_none=True))

    def throw(self, number: int, draw: random.Random) -> str:
        """Throw one; return which way it went in and how it was answered."""
        way = ("mapping", "arguments", "experiment", "text")[number % 4]
        try:
            {
                "mapping": self._mapping,
                "arguments": self._arguments,
                "experiment": self._experiment,
                "text": self._text,
            }[way](draw)
        except UsageError as error:
            if not str(error).strip():
                raise AssertionError("an answer without a word") from error
            return f"{way} refused"
        return f"{way} planned"

    def mutated(self, draw: random.Random) -> dict[str, Any]:
        """Return the settings of a run, some of them given, one to four of them changed."""
        given = json.loads(json.dumps(draw.choice(self.whole)))
        for section in draw.sample(list(given), draw.randrange(3, len(given))):
            if section != "method":
                del given[section]
        for _ in range(draw.choice((0, 1, 1, 1, 2, 4))):
            mutate(given, draw, self.names)
        return given

    def _mapping(self, draw: random.Random) -> None:
        plan.plan(self.mutated(draw), plugins.vocabulary)

    def _arguments(self, draw: random.Random) -> None:
        plan.plan(settings_of(None, None, None, None, None, as_arguments(self.mutated(draw))), plugins.vocabulary)

    def _experiment(self, draw: random.Random) -> None:
        base = self.mutated(draw)
        base.pop("method", None)
        document: dict[str, Any] = {
            "title": "t",
            "question": "q",
            "base": base,
            "rows": [{"method": draw.choice(self.names["methods"]), "set": {"seed": 1}}],
            "report": {"reference": "single", "axes": ["method"]},
            "grid": {"train.weight_decay": [0.1, 0.2]},
            "launch": {"minutes": 1},
        }
        for _ in range(draw.choice((0, 1, 2))):
            mutate(document, draw, self.names)
        lines = [f"{json.dumps(key)} = {toml_of(value)}" for key, value in document.items()]
        self.file.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
        self._read(draw)

    def _text(self, draw: random.Random) -> None:
        content = bytearray(draw.choice(self.shipped))
        for _ in range(draw.choice((1, 1, 1, 2, 4))):
            scratch(content, draw)
        self.file.write_bytes(content)
        self._read(draw)

    def _read(self, draw: random.Random) -> None:
        runs = plan.expand(plan.read_experiment(self.file), {"runtime": {"device": "cpu"}})
        for settings in draw.sample(runs, min(2, len(runs))):
            plan.plan(settings, plugins.vocabulary)


class Lines:
    """Command lines out of every command's own flags, with values that fit, nearly fit, and do not."""

    def __init__(self, folder: Path, configurations: Configurations) -> None:
        self.folder, self.configurations = folder, configurations
        self.commands = dict(_commands(app))
        self.places = self._places()

    def _places(self) -> list[str]:
        """Make files and folders that arguments may name; return their names in the working folder."""
        (self.folder / "empty").mkdir()
        (self.folder / "text").write_text("text\n")
        (self.folder / "noise").write_bytes(random.Random(0).randbytes(5000))
        (self.folder / "link").symlink_to("text")
        (self.folder / "fine.toml").write_bytes(self.configurations.shipped[0])
        committed = Path(__file__).resolve().parents[2] / "reports" / "runs" / "main"
        for folder in sorted(committed.iterdir())[:3]:
            shutil.copytree(folder, self.folder / "store" / folder.name)
        shutil.copytree(self.folder / "store", self.folder / "damaged")
        for record in (self.folder / "damaged").glob(f"*/{RECORD}"):
            record.write_text(record.read_text()[:-80])
        made = ["empty", "text", "noise", "link", "fine.toml", "store", "damaged"]
        return [*made * 4, "new", "/dev/null", "/dev/null/x", "\x00", "x" * 300, "a/" * 3000, "\ud800", "", "."]

    def line(self, draw: random.Random) -> list[str]:
        """Return a command line that costs little: nothing that trains for long, and no process of its own."""
        name = draw.choice(sorted(self.commands))
        words = name.split()
        for parameter in self.commands[name]:
            if parameter.flag is None:
                words += [self._value(parameter, draw)] if draw.random() < 0.9 else []
            elif draw.random() < 0.25:
                words += [parameter.flag] if parameter.type is bool else [parameter.flag, self._value(parameter, draw)]
        for _ in range(draw.choice((0, 0, 0, 1))):
            words.insert(draw.randrange(len(words) + 1), draw.choice((*TEXTS, *words)))
        return self._cheap(name, words, draw)

    def _value(self, parameter: "Parameter", draw: random.Random) -> str:
        if draw.random() < 0.1:
            return draw.choice(TEXTS)
        names = self.configurations.names
        fitting: dict[str, Callable[[], str]] = {
            "method": lambda: draw.choice((*names["methods"], "all", "lora:scope=shared")),
            "name": lambda: draw.choice((*names["datasets"], "my-method")),
            "dataset": lambda: draw.choice(names["datasets"]),
            "decoder": lambda: draw.choice(names["decoders"]),
            "backbone": lambda: draw.choice(("embedded", *draw.sample([*backbone_names()], 3))),
            "family": lambda: draw.choice(("swin", "vit", "resnet")),
            "budget": lambda: draw.choice([*BUDGETS]),
            "tasks": lambda: draw.choice(("4", "1,2", "semseg", "semseg,normals", "semseg:21,normals:3", "99", "-3")),
            "seeds": lambda: draw.choice(("0", "0-2", "3-1", "1,1", "0-", "-1")),
            "kind": lambda: draw.choice(("methods", "tasks", "experiments", "backbones", "method")),
            "experiment": lambda: draw.choice(("main", "nyud-mtlora", *self.places)),
            "metric": lambda: draw.choice(("semseg=miou", "semseg=x", "macs", "parameters")),
            "device": lambda: draw.choice(("cpu", "auto", "meta", "hpu", "cuda:7")),
            "set_": lambda: draw.choice(as_arguments(self.configurations.mutated(draw)) or ["x"]),
        }
        if parameter.name in fitting:
            return fitting[parameter.name]()
        if isinstance(parameter.type, type) and issubclass(parameter.type, StrEnum):
            return draw.choice([*parameter.type])
        if parameter.type in (int, float):
            return draw.choice(("0", "1", "2", "-1", "1e3", "10" * 9))
        return draw.choice(self.places)

    def _cheap(self, name: str, words: list[str], draw: random.Random) -> list[str]:
        """Keep a line from working for minutes, and from writing anywhere but in the working folder."""
        dry = {"run": ["--dry-run"], "sweep": ["--dry-run"], "tune": ["--dry-run"]}
        if name == "run" and draw.random() < 0.2:  # a run of one step, whatever else was asked
            small = "train.steps=1 train.batch_size=2 dataset.train_images=2 dataset.test_images=2 tasks=1"
            settings = f"{small} dataset.image_size=32 backbone.name=embedded runtime.workers=0".split()
            return [*words, "--out", "made", "--method", "decoders", *(w for s in settings for w in ("--set", s))]
        never = {"pretrain": ["--nothing"], "bench-peers": ["--rounds", "x"], "scaling": ["--rounds", "0"]}
        never |= {"groups": ["--set", "x"], "check": ["--set", "train.steps=1"]}
        if name == "params":
            costly = {"--check", "--write", "--flops"} & {*words}
            return [*words, "--method", "x" if costly else draw.choice(("decoders", "lora", "bitfit", "mtlora"))]
        if name == "claims":
            return [*words, "more"]
        out = {"new method": ["--out", "written"], "new": ["--out", "written"]}
        return [*words, *dry.get(name, []), *never.get(name, []), *out.get(name, [])]

    def throw(self, draw: random.Random) -> tuple[list[str], str]:
        """Type one line; return it and its exit status, or what it was that should not have been."""
        line = self.line(draw)
        out, err = io.StringIO(), io.StringIO()
        status: object = 0
        try:
            with _in(self.folder), _in_time(SECONDS), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                main(line)
        except SystemExit as left:
            status = left.code or 0
        except _OutOfTimeError:
            return line, "interrupted"
        if status not in (0, 1, 2):
            raise AssertionError(f"exit status {status}")
        if status == 2 and not err.getvalue().strip():
            raise AssertionError("exit 2 without a word")
        if "Traceback" in err.getvalue():
            raise AssertionError(f"a traceback was printed: {err.getvalue()[-2000:]}")
        return line, f"exit {status}"

    def half_written(self) -> list[str]:
        """Return what lies in the store that is neither a whole run nor a folder of the user's."""
        store = self.folder / "made"
        if not store.exists():
            return []
        return [
            str(path.relative_to(store))
            for path in store.iterdir()
            if path.name.startswith(".") or read_record(path / RECORD) is None
        ]


@dataclass(frozen=True)
class Parameter:
    """What a command takes: its name in Python, its flag (None for an argument), and the type of one value."""

    name: str
    flag: str | None
    type: Any


def _commands(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, list[Parameter]]]:
    """Yield every command with what it takes, from the signatures that the command line is made of."""
    for command in app.registered_commands:
        assert command.name
        assert command.callback
        hints = typing.get_type_hints(command.callback, include_extras=True)
        yield prefix + command.name, [_parameter(name, hint) for name, hint in hints.items() if name != "return"]
    for group in app.registered_groups:
        assert group.typer_instance
        yield from _commands(group.typer_instance, f"{prefix}{group.name} ")


def _parameter(name: str, hint: Any) -> Parameter:
    kind, info = typing.get_args(hint)[:2]
    while inner := [one for one in typing.get_args(kind) if one is not type(None)]:
        kind = inner[0]
    words = [word for word in info.param_decls or () if word.startswith("--")]
    own = "--" + name.strip("_").replace("_", "-")
    return Parameter(name, None if isinstance(info, ArgumentInfo) else (words or [own])[0], kind)


class _OutOfTimeError(BaseException):
    """A command was interrupted."""


@contextmanager
def _in_time(seconds: int) -> Generator[None]:
    def ring(*_: object) -> None:
        raise _OutOfTimeError

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@contextmanager
def _in(folder: Path) -> Generator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


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
