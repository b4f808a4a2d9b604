"""Command lines out of every command's own flags, and how one is thrown at the program."""

import contextlib
import io
import os
import random
import shutil
import signal
import typing
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import typer
from mutations import as_arguments
from thrown_configurations import Configurations
from typer.models import ArgumentInfo

from petl_bench.backbones.names import backbone_names
from petl_bench.cli.main import app, main
from petl_bench.config import BUDGETS
from petl_bench.records.store import RECORD, read_record

SECONDS = 60  # that a command may take before it is interrupted, which counts and is no finding
TEXTS = ("²", "-1", "0", "1", "9" * 5000, "x" * 300, "\x00", "\ud800", "", " ", "--", "-", "=", "./.", "nan", "a.b=c")


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
