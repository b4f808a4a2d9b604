"""Which backbones there are: the embedded one and a committed list of timm names, so that listing imports no timm."""

import csv
from dataclasses import dataclass
from pathlib import Path

from petl_bench.errors import unknown_name

EMBEDDED = "embedded"


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
    """Return what is known of a backbone.

    Raises:
        UsageError: There is no such backbone.
    """
    names = backbone_names()
    if name not in names:
        raise unknown_name("backbone", name, names, command="petl-bench list backbones")
    return names[name]
