"""The tuned rows as an experiment of their own, which ``sweep`` runs over its seeds on the test images."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petl_bench.errors import UsageError
from petl_bench.experiment import Experiment, Row, read_experiment
from petl_bench.files import appearing
from petl_bench.identity import flatten
from petl_bench.plan import DEFAULTS
from petl_bench.tuning.choose import Choice, Tuned
from petl_bench.tuning.rows import base_of

MARK = "# Written by `petl-bench tune`"
AXES = ("train.learning_rate", "train.weight_decay")


def require_ours(path: Path) -> None:
    """Ask for a name that is free, or of a file that was written here.

    Raises:
        UsageError: Another file would be lost, or the name is none of an experiment.
    """
    if path.suffix != ".toml":
        raise UsageError(f"--write {path}: an experiment is a file .toml.\nType: --write {path.with_suffix('.toml')}")
    try:
        with path.open("rb") as file:
            begins = file.read(len(MARK))
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise UsageError(f"--write {str(path)!r} cannot be written: {error}.\nType: --write NAME.toml") from None
    if begins != MARK.encode():
        raise UsageError(
            f"--write {path}: the file is there and was not written by `petl-bench tune`; it is left as it is.\n"
            f"Type: --write {path.with_name(path.stem + '-tuned.toml')}"
        )


def tuned_experiment(experiment: Experiment, over: Mapping[str, Any], tuned: Tuned, how: str) -> Experiment:
    """Return the experiment with one row for every choice, and rates and weight decay said in each.

    Args:
        experiment: What was tuned.
        over: What was laid on top of it.
        tuned: What was found, whole.
        how: A line that says how.
    """
    assert tuned.is_whole
    rows = tuple(_row(choice) for choice in tuned.choices)
    axes = tuple(dict.fromkeys((*experiment.report.axes, *AXES)))
    return experiment.model_copy(
        update={
            "title": f"{experiment.title}, tuned",
            "base": {"budget": DEFAULTS["budget"], **base_of(experiment, over)},  # said: it is that of the rates
            "grid": {},
            "zip": {},
            "points": (),
            "exclude": tuple(point for point in experiment.exclude if "seed" in point),
            "rows": rows,
            "report": experiment.report.model_copy(update={"axes": axes}),
        }
    ).tuned(how)


def _row(choice: Choice) -> Row:
    chosen = choice.chosen
    assert chosen is not None
    assert chosen.record is not None
    train = chosen.record.config["train"]
    found = {"learning_rate": train["learning_rate"], "weight_decay": train["weight_decay"]}
    return Row(
        method=choice.row.method,
        set={**choice.row.own, **dict(flatten(found, "train."))},
        exclude=choice.row.exclude,
    )


def write_experiment(path: Path, experiment: Experiment) -> None:
    """Write an experiment in place of an older one that was written here.

    Args:
        path: The file.
        experiment: What it says, that it was tuned among it.

    Raises:
        UsageError: The file cannot be written, or is another's.
    """
    require_ours(path)
    assert experiment.report.tuned is not None
    content = experiment.model_dump(mode="json", exclude_defaults=True)
    content |= {"seeds": list(experiment.seeds)}
    rows = content.pop("rows")
    content["report"]["tuned"] = {"how": experiment.report.tuned.how}  # the rest is its own
    sections = {key: content.pop(key) for key in ("base", "launch", "report") if key in content}
    parts = [f"{MARK}: {' '.join(experiment.report.tuned.how.split())}", *_lines(content)]
    for name, values in sections.items():
        parts += ["", f"[{name}]", *_lines(values)]
    for row in rows:
        parts += ["", "[[rows]]", *_lines(row)]
    try:
        with appearing(path) as scratch:
            scratch.write_text("\n".join(parts) + "\n", encoding="utf-8")
            assert read_experiment(scratch).model_dump() == experiment.model_dump()
    except OSError as error:
        raise UsageError(
            f"--write {str(path)!r} cannot be written: {error.strerror or error}.\nType: --write NAME.toml"
        ) from None


def _lines(values: Mapping[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in values.items()]


def _value(value: Any) -> str:
    """Return a plain value as TOML. JSON's strings are TOML's but for one character, its numbers and lists are."""
    if isinstance(value, Mapping):
        inner = ", ".join(_lines(value))
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
