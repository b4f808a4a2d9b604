"""What the commands share: their common options, and how flags become settings."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from petl_bench.config import assign, parse_value
from petl_bench.errors import UsageError


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


MethodOption = Annotated[str | None, typer.Option("--method", help="A name of `petl-bench list methods`.")]
TasksOption = Annotated[str | None, typer.Option("--tasks", help="The first N tasks, or names: semseg,normals.")]
BackboneOption = Annotated[str | None, typer.Option("--backbone", help="`embedded` or a timm name.")]
DatasetOption = Annotated[str | None, typer.Option("--dataset", help="A name of `petl-bench list datasets`.")]
DecoderOption = Annotated[str | None, typer.Option("--decoder", help="A name of `petl-bench list decoders`.")]
SetOption = Annotated[
    list[str] | None, typer.Option("--set", help="Any setting: --set method.rho=8", metavar="KEY=VALUE")
]
FormatOption = Annotated[Format, typer.Option("--format", help="How rows are printed.")]


def settings_of(
    method: str | None,
    backbone: str | None,
    dataset: str | None,
    decoder: str | None,
    tasks: str | None,
    set_: list[str] | None,
) -> dict[str, Any]:
    """Turn flags into sections of settings; ``--set`` has the last word."""
    asked: dict[str, Any] = {}
    named = {"method": method, "backbone": backbone, "dataset": dataset, "decoder": decoder}
    for section, name in named.items():
        if name is not None:
            asked[section] = {"name": name}
    if tasks is not None:
        asked["tasks"] = tasks
    for key, value in pairs_of("--set", set_).items():
        assign(asked, key, parse_value(value))
    return asked


def pairs_of(flag: str, texts: list[str] | None) -> dict[str, str]:
    """Split the values KEY=VALUE of a flag that may be repeated; the last of a key counts.

    Raises:
        UsageError: One is not of that form.
    """
    pairs: dict[str, str] = {}
    for text in texts or []:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            example = {"--set": "method.rho=8", "--metric": "semseg=pixel_accuracy"}[flag]
            raise UsageError(f"{flag} {text!r}: KEY=VALUE is expected.\nType: {flag} {example}")
        pairs[key.strip()] = value.strip()
    return pairs


def print_as(rows: list[dict[str, Any]], format_: Format, title: str) -> None:
    """Print rows on stdout in a format."""
    from petl_bench.terminal import print_rows

    print_rows(rows, format_.value, title)
