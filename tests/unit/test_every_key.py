"""Every key that a resolved config prints can be set on the command line, and arrives."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from petl_bench import plugins
from petl_bench.cli.main import main

# What another key has to say before this one has an effect.
FIRST = {
    "lora method.interval": "method.rank_schedule=prefix",
    "vmt-lite method.scale": "method.sharing=stage-untied",
    "vpt method.prompts_at_merge": "method.deep=false",
}
WORDS = ("poly", "adam", "skip", "random", "imagenet", "bf16", "cpu", "linear", "val")  # for what no schema lists


def config_of(capsys: pytest.CaptureFixture[str], method: str, *arguments: str) -> dict[str, Any] | None:
    """Return the config that a dry run prints, or None where the values are refused."""
    with pytest.raises(SystemExit) as left:
        main(["run", "--method", method, "--dry-run", *arguments])
    said = capsys.readouterr()
    assert left.value.code in (0, 2), said.err
    return json.loads(said.out) if left.value.code == 0 else None


def leaves(section: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Return key and value of everything in a config but the names, which have options of their own."""
    for name, value in section.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{path}{name}.")
        elif path and name != "name":
            yield f"{path}{name}", value


def at(config: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        config = config[part]
    return config


def words(method: str) -> list[str]:
    """Return every word that some setting of a method allows."""
    schema = json.dumps(plugins.load("methods", method).Config.model_json_schema())
    fields = json.loads(schema)["properties"].values()
    return [word for field in fields for word in field.get("enum", ())]


def others(value: Any, allowed: list[str]) -> list[Any]:
    """Return values to try in place of one."""
    match value:
        case bool():
            return [not value]
        case int():
            return [value + 1, value * 2, value + 32]
        case float():
            return [value / 2, value + 0.25]
        case dict():
            return ["{semseg = 0.5}"]
        case _:
            return [word for word in [*allowed, *WORDS, 1] if word != value]


@pytest.mark.parametrize("method", sorted(plugins.listings("methods")))
def test_every_key_of_a_resolved_config_can_be_set(method: str, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_of(capsys, method)
    assert config is not None
    unset = []
    for key, value in leaves(config):
        if method != "vmt" and not key.startswith("method."):
            continue  # once is enough
        before = [part for text in [FIRST.get(f"{method} {key}")] if text for part in ("--set", text)]
        texts = [json.dumps(other) if isinstance(other, bool) else other for other in others(value, words(method))]
        tried = (config_of(capsys, method, *before, "--set", f"{key}={text}") for text in texts)
        if not any(seen is not None and at(seen, key) != value for seen in tried):
            unset.append(key)
    assert unset == []
