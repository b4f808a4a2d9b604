"""Which runs are the same run: hashes of what differs from a named set of defaults, and of the content that is read.

A hash takes what a config says beyond ``defaults.json``, the defaults that hash version 2 began with and those of every
field that came later. So a new field at its default moves no hash, and a default that changes moves those of all new
runs. No path enters: weights and data go in by content.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from petl_bench.config import BackboneConfig, DatasetConfig, Section, TrainConfig, digest

HASH_VERSION = 2
ENGINE_VERSION = 2
"""Raised when the training loop gives other numbers for the same config: the order of images, augmentation, draws."""

SECTIONS: dict[str, type[Section] | None] = {
    "method": None,
    "backbone": BackboneConfig,
    "decoder": None,
    "dataset": DatasetConfig,
    "train": TrainConfig,
}
BY_CONTENT = "backbone.weights"


class Identity(Section):
    """Two hashes of a run.

    Attributes:
        fingerprint: Is it the same run?
        group: Is it the same run but for the seed?
    """

    fingerprint: str
    group: str


def identify(config: Mapping[str, Any], *, weights_hash: str, data_hash: str, engine_version: int) -> Identity:
    """Hash a run.

    Args:
        config: The resolved config as a record has it: sections of plain values, without the runtime.
        weights_hash: What identifies the initial weights.
        data_hash: What identifies the images and labels.
        engine_version: Of the training loop that runs it.
    """
    content = content_of(config, weights_hash=weights_hash, data_hash=data_hash, engine_version=engine_version)
    fingerprint = digest(content)
    del content["seed"]
    return Identity(fingerprint=fingerprint, group=digest(content))


def content_of(config: Mapping[str, Any], *, weights_hash: str, data_hash: str, engine_version: int) -> dict[str, Any]:
    """Return what decides a run's numbers, by dotted key: settings beyond the defaults, and hashes of content."""
    content: dict[str, Any] = {"weights_hash": weights_hash, "data_hash": data_hash}
    if engine_version != 1:
        content["engine_version"] = engine_version
    for section, values in config.items():
        if section == "runtime":
            continue
        if section not in SECTIONS:
            content[section] = values
            continue
        known = defaults_of(section, str(values.get("name", "")))
        for key, value in flatten(values):
            dotted = f"{section}.{key}"
            if dotted != BY_CONTENT and (key not in known or known[key] != value):
                content[dotted] = value
    return content


def flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested sections with their dotted keys; an empty section is a leaf."""
    for key, value in section.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield f"{prefix}{key}", value


def defaults_of(section: str, name: str) -> dict[str, Any]:
    """Return the defaults that a section is compared with, by key below the section.

    A field of the harness that ``defaults.json`` does not list yet has the default of its class.
    """
    stated = stated_defaults()[section]
    model = SECTIONS[section]
    own = {} if model is None else dict(flatten(class_defaults(model)))
    return {**own, **stated.get("", {}), **(stated.get(name, {}) if name else {})}


def class_defaults(model: type[Section]) -> dict[str, Any]:
    """Return the defaults of a Config class as plain values, by field."""
    fields = model.model_fields.items()
    optional = {name: field.get_default(call_default_factory=True) for name, field in fields if not field.is_required()}
    return json.loads(json.dumps({name: _plain(value) for name, value in optional.items()}))


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, Section) else value


@cache
def stated_defaults() -> dict[str, dict[str, dict[str, Any]]]:
    """Return ``defaults.json``: by section, then by plug-in (empty: for all of them), the defaults by dotted key."""
    return json.loads(Path(__file__).with_name("defaults.json").read_text(encoding="utf-8"))[str(HASH_VERSION)]
