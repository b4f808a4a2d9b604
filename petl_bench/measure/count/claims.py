"""Published parameter counts, counted again: reproduced, reproduced under a convention, or not.

A published figure seldom says what was counted. Each claim therefore names the convention that its source states or
implies, and others to try in order; all of them are counted by the code that counts everything else.
"""

import tomllib
from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from rich.console import Console

from petl_bench import plugins
from petl_bench.config import Section, assign, canonical, validate_section
from petl_bench.errors import UsageError
from petl_bench.ledger import count
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.run import Ledger
from petl_bench.terminal import bar

LedgerBySettings = dict[
    str, tuple[Ledger, int]
]  # ledger and number of tasks by settings, so that equal ones are built once

REPRODUCED = "reproduced"
UNDER_CONVENTION = "reproduced under convention"
NOT_REPRODUCED = "not reproduced"


class Convention(Section):
    """A way to count.

    Attributes:
        name: What it is called in the verdict.
        counted: Whose trained parameters are counted.
        percent_of: For a claim in percent, what is 100: one backbone, or one per task.
        rounding: How digits are dropped: to the nearest, or cut.
        add: Parameters that the figure counts and our modules lack, negative for the reverse; ``name`` says which.
        fitted: The settings are not published and were chosen to fit, so a match is no evidence for them.
        set: Settings that differ from the claim's.
    """

    name: str
    counted: Literal["method", "decoders", "method and decoders"] = "method"
    percent_of: Literal["one backbone", "all backbones"] = "all backbones"
    rounding: Literal["nearest", "down"] = "nearest"
    add: int = 0
    fitted: bool = False
    set: dict[str, Any] = {}


class Claim(Section):
    """A published figure.

    Attributes:
        row: What the source calls it.
        method: The method here that it is about.
        published: As printed, ``8.69`` or ``~1``; its decimals are the tolerance.
        unit: ``M`` (millions of parameters) or ``%``.
        provenance: ``stated`` in the source, read in its ``code``, ``derived`` from other figures, or ``secondary``: as
            other publications repeat it.
        convention: The convention that the source states or implies, where it is not the file's.
        others: Further conventions, tried in order.
        set: Settings.
    """

    row: str
    method: str
    table: str
    published: Annotated[str, Field(pattern=r"^~?\d+(\.\d+)?$")]
    unit: Literal["M", "%"]
    provenance: Literal["stated", "code", "derived", "secondary"]
    note: str = ""
    convention: Convention | None = None
    others: tuple[Convention, ...] = ()
    set: dict[str, Any] = {}


class Source(Section):
    """One publication's claims (one TOML file): what is common to them, and each of them."""

    source: str
    address: str
    convention: Convention
    base: dict[str, Any] = {}
    claims: Annotated[tuple[Claim, ...], Field(min_length=1)]


def read_claims(folder: Path) -> dict[str, Source]:
    """Read all files of claims in a folder, by file name.

    Raises:
        UsageError: There is none, or one is not TOML or has unknown keys.
    """
    paths = sorted(folder.glob("*.toml"))
    if not paths:
        raise UsageError(f"There are no files of claims (*.toml) in {str(folder)!r}.")
    sources: dict[str, Source] = {}
    for path in paths:
        try:
            sources[path.name] = validate_section(Source, tomllib.loads(path.read_text(encoding="utf-8")), "")
        except tomllib.TOMLDecodeError as error:
            raise UsageError(f"The claims in {str(path)!r} are not valid TOML: {error}.") from None
        except UsageError as error:
            raise UsageError(f"The claims in {str(path)!r} cannot be read.\n{error}") from None
    return sources


def judge_all(sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """Count and judge every claim; one row each.

    Raises:
        UsageError: The settings of a claim are not those of its method.
    """
    known: LedgerBySettings = {}
    rows: list[dict[str, Any]] = []
    claims = [(file, source, claim) for file, source in sources.items() for claim in source.claims]
    with bar(Console(stderr=True)) as progress:
        job = progress.add_task("count", total=len(claims), state="")
        for file, source, claim in claims:
            progress.update(job, state=claim.row)
            try:
                rows.append(_judge(source, claim, known))
            except UsageError as error:
                raise UsageError(f"The claim {claim.row!r} in {file!r} cannot be counted.\n{error}") from None
            progress.advance(job)
    return rows


def _judge(source: Source, claim: Claim, known: LedgerBySettings) -> dict[str, Any]:
    published = Decimal(claim.published.lstrip("~"))
    places = -int(published.as_tuple().exponent)
    verdict, values, tried = NOT_REPRODUCED, list[Decimal](), list[dict[str, Any]]()
    for convention in (claim.convention or source.convention, *claim.others):
        settings = _settings(claim.method, source.base, claim.set, convention.set)
        missing = _missing(settings)
        if missing:
            verdict = f"{missing} not available"
            break
        values.append(_value(convention, claim.unit, settings, known))
        told = {"convention": convention.name, "ours": _number(values[-1], places)}
        tried.append(told | convention.model_dump(include={"counted", "add", "set"}))
        if _printed(values[-1], places, convention) == published:
            verdict = REPRODUCED if len(values) == 1 and not convention.fitted else UNDER_CONVENTION
            break
    # What is not reproduced is shown under the convention that the source states; ``tried`` has the others.
    at = -1 if verdict in (REPRODUCED, UNDER_CONVENTION) else 0
    return {
        "method": claim.method,
        "row": claim.row,
        "source": source.source,
        "address": source.address,
        "table": claim.table,
        "provenance": claim.provenance,
        "published": claim.published,
        "unit": claim.unit,
        "ours": _number(values[at], places) if values else None,
        "difference": _number(values[at] - published, places) if values else None,
        "convention": tried[at]["convention"] if tried else None,
        "verdict": verdict,
        "settings": {**source.base, **claim.set},
        "tried": tried,
        "note": claim.note,
    }


def _settings(method: str, *layers: Mapping[str, Any]) -> dict[str, Any]:
    """Lay settings with dotted keys on top of each other."""
    settings: dict[str, Any] = {"method": {"name": method}}
    for layer in layers:
        for key, value in layer.items():
            assign(settings, key, value)
    return settings


def _missing(settings: Mapping[str, Any]) -> str | None:
    """Return the kind of plug-in that the settings need and this installation does not have."""
    for kind in ("method", "decoder"):
        name = settings.get(kind, {}).get("name")
        if name is not None and name not in plugins.listings(f"{kind}s"):
            return kind
    return None


def _value(convention: Convention, unit: str, settings: Mapping[str, Any], known: LedgerBySettings) -> Decimal:
    """Return our figure in the claim's unit."""
    key = canonical(settings)
    if key not in known:
        model = build_on_meta(settings).model
        known[key] = count(model), len(model.tasks)
    ledger, tasks = known[key]
    parts = {"method": ledger.method, "decoders": ledger.decoder, "method and decoders": ledger.trainable}
    number = parts[convention.counted] + convention.add
    if unit == "M":
        return Decimal(number) / 10**6
    return Decimal(100 * number) / (ledger.backbone * (1 if convention.percent_of == "one backbone" else tasks))


def _printed(value: Decimal, places: int, convention: Convention) -> Decimal:
    rounding = ROUND_DOWN if convention.rounding == "down" else ROUND_HALF_UP
    return value.quantize(Decimal(1).scaleb(-places), rounding)


def _number(value: Decimal, places: int) -> float:
    """Return two digits more than were published."""
    return round(float(value), places + 2)


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table for people shows of a row."""
    columns = ("source", "row", "method", "published", "ours", "verdict", "convention", "provenance")
    verdict = f"{row['verdict']} ({row['difference']:+g})" if row["verdict"] == NOT_REPRODUCED else row["verdict"]
    published = f"{row['published']} {row['unit']}"
    return {**{column: row[column] for column in columns}, "published": published, "verdict": verdict}


def tried_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say, for every claim that is not reproduced, what was tried and what it gives."""
    return [
        f"not reproduced: {row['row']} ({row['published']} {row['unit']}). Tried: "
        + "; ".join(f"{tried['convention']}: {tried['ours']}" for tried in row["tried"])
        + (f". {row['note']}" if row["note"] else "")
        for row in rows
        if row["verdict"] == NOT_REPRODUCED
    ]
