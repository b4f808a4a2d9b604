"""The command that makes a missing run: what its comparison group fixes, as flags and settings."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from petl_bench.config import BUDGETS, parse_value
from petl_bench.identity import BY_CONTENT, defaults_of, flatten
from petl_bench.plan import DEFAULTS
from petl_bench.report.load import Run, lies_on

_DEFAULT = {"backbone.name": DEFAULTS["backbone"]["name"], "backbone.weights": "pretrained"}
_OWN_FLAG = ("backbone.name", "decoder.name", "dataset.name", "tasks", "budget", "seed")


def run_command(like: Run, *, method: str, weights: str, seed: int, axes: Sequence[str]) -> str:
    """Return the command for a run of ``method`` that lands in the comparison group of ``like``.

    Settings that the group shares are given unless they are known to be the default; defaults that depend on the
    chosen plug-ins are not known here, so such settings are always spelt out.
    """
    parts = ["petl-bench", "run", "--method", method, "--tasks", ",".join(like.tasks)]
    parts += ["--budget", str(like.settings["budget"])]
    for kind in ("backbone", "decoder", "dataset"):
        name = like.settings[f"{kind}.name"]
        if name != DEFAULTS[kind]["name"]:
            parts += [f"--{kind}", str(name)]
    parts += ["--seed", str(seed)]
    for key, value in _settings(like, weights, axes):
        parts += ["--set", f"{key}={_as_text(value)}"]
    return shlex.join(parts)


def _settings(like: Run, weights: str, axes: Sequence[str]) -> Iterator[tuple[str, Any]]:
    if {"backbone.name": like.settings["backbone.name"], "backbone.weights": weights} != _DEFAULT:
        yield "backbone.weights", weights
    known = _known_defaults(str(like.settings["budget"]))
    for key, value in like.settings.items():
        if lies_on(key, (*axes, BY_CONTENT)) or key in _OWN_FLAG or value is None:
            continue
        if key not in known or known[key] != value:
            yield key, value


def _known_defaults(budget: str) -> Mapping[str, Any]:
    stated = {
        f"{section}.{key}": value for section in ("train", "dataset") for key, value in defaults_of(section, "").items()
    }
    return {**stated, **dict(flatten(BUDGETS.get(budget, {})))}


def _as_text(value: Any) -> str:
    if isinstance(value, str) and parse_value(value) == value:
        return value
    return json.dumps(value)
