"""Mutated configurations, and how one is thrown at the planner."""

import json
import random
from pathlib import Path
from typing import Any

from mutations import as_arguments, mutate, scratch, toml_of

from petl_bench import plan, plugins
from petl_bench.cli.options import settings_of
from petl_bench.errors import UsageError
from petl_bench.experiment import expand, experiments_folder, read_experiment


class Configurations:
    """Valid settings, mutated, by three ways in: as a mapping, as values of ``--set``, and as an experiment file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mutated.toml"
        self.shipped = [path.read_bytes() for path in sorted(experiments_folder().glob("*.toml"))]
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
        runs = expand(read_experiment(self.file), {"runtime": {"device": "cpu"}})
        for settings in draw.sample(runs, min(2, len(runs))):
            plan.plan(settings, plugins.vocabulary)
