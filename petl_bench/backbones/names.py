"""Which backbones there are: the embedded one and a committed list of timm names, so that listing imports no timm."""

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

from petl_bench.errors import UsageError, unknown_name

EMBEDDED = "embedded"
HUB = "hf-hub:"
SEEN_IN_PRETRAINING = {"scenes": ("depth", "edges", "albedo", "shading", "boundary_distance", "height", "layout")}
"""By data set, the tasks whose labels trained the shipped weights of the embedded backbone."""


@dataclass(frozen=True)
class BackboneName:
    """A backbone that can be built: its family and its native image size in pixels."""

    name: str
    family: str
    image_size: int


def backbone_names() -> dict[str, BackboneName]:
    """Return every known backbone by name, the embedded one first."""
    table = Path(__file__).with_name("names.tsv")
    with table.open(encoding="utf-8", newline="") as file:
        rows = [
            BackboneName(r["name"], r["family"], int(r["image_size"])) for r in csv.DictReader(file, delimiter="\t")
        ]
    return {row.name: row for row in [BackboneName(EMBEDDED, "swin", 64), *rows]}


def find_backbone(name: str) -> BackboneName:
    """Return what is known of a backbone: a listed name, one of its tags (``name.tag``), or ``hf-hub:owner/model``.

    Raises:
        UsageError: There is no such backbone.
    """
    names = backbone_names()
    architecture = hub_architecture(name) if name.startswith(HUB) else name.partition(".")[0]
    if architecture not in names:
        raise unknown_name("backbone", architecture, names, command="petl-bench list backbones")
    return replace(names[architecture], name=name)


def hub_config(name: str) -> Path:
    """Return the local copy of the ``config.json`` of ``hf-hub:owner/model``, downloaded if it is not there yet.

    Raises:
        UsageError: It cannot be had.
    """
    from huggingface_hub import hf_hub_download  # timm's own way; most runs need none of it

    repository, _, revision = name.removeprefix(HUB).partition("@")
    try:
        return Path(hf_hub_download(repository, "config.json", revision=revision or None))
    except Exception as error:  # any of the hub's or the network's own errors
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"The model {name!r} cannot be read: {type(error).__name__}: {reason}\n"
            "Without a network, type: --backbone NAME --set backbone.weights=file:PATH.safetensors"
        ) from None


def hub_architecture(name: str) -> str:
    """Return timm's name of the architecture of ``hf-hub:owner/model``.

    Raises:
        UsageError: It cannot be had, or is no model of timm's.
    """
    text = hub_config(name).read_text(encoding="utf-8")
    try:
        said = json.loads(text)
    except ValueError:
        said = None
    if not isinstance(said, dict) or not isinstance(said.get("architecture"), str):
        raise UsageError(f"The model {name!r} is none of timm's: its config.json names no architecture.")
    return said["architecture"]
