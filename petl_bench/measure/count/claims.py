"""Published figures: parameter counts are counted again (reproduced, under a convention, or not), others are quoted.

A published figure seldom says what was counted. Each claim therefore names the convention that its source states or
implies, and others to try in order; all of them are counted by the code that counts everything else.
"""

from collections.abc import Mapping, Sequence
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from typing import Any

from rich.console import Console

from petl_bench import plugins
from petl_bench.config import assign, canonical
from petl_bench.errors import UsageError
from petl_bench.ledger import count
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.measure.count.quoted import NOT_MEASURABLE, judge_accuracy, judge_statement
from petl_bench.published import Accuracy, Claim, Convention, Source, Statement
from petl_bench.records.run import Ledger
from petl_bench.terminal import bar

LedgerBySettings = dict[
    str, tuple[Ledger, int]
]  # ledger and number of tasks by settings, so that equal ones are built once

REPRODUCED = "reproduced"
UNDER_CONVENTION = "reproduced under convention"
NOT_REPRODUCED = "not reproduced"
TRAINED = "added, trunk, generator, decoders (M)"


def judge_all(sources: Mapping[str, Source]) -> list[dict[str, Any]]:
    """Count and judge every claim; one row each.

    Raises:
        UsageError: The settings of a claim are not those of its method.
    """
    known: LedgerBySettings = {}
    rows: list[dict[str, Any]] = []
    claims = [(file, source, claim) for file, source in sources.items() for claim in _all_of(source)]
    with bar(Console(stderr=True)) as progress:
        job = progress.add_task("count", total=len(claims), state="")
        for file, source, claim in claims:
            progress.update(job, state=claim.row)
            try:
                rows.append(_row(source, claim, _verdict(sources, file, claim, known)))
            except UsageError as error:
                raise UsageError(f"The claim {claim.row!r} in {file!r} cannot be counted.\n{error}") from None
            progress.advance(job)
    return rows


AnyClaim = Claim | Accuracy | Statement


def _all_of(source: Source) -> tuple[AnyClaim, ...]:
    return (*source.claims, *source.accuracy, *source.statements)


def _row(source: Source, claim: AnyClaim, judged: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is common to all claims, and the verdict."""
    common = claim.model_dump(include={"method", "row", "table", "provenance", "published"})
    return {
        **common,
        "source": source.source,
        "address": source.address,
        "settings": {},
        "trained": {},
        "tried": [],
        **judged,
    }


def _verdict(sources: Mapping[str, Source], file: str, claim: AnyClaim, known: LedgerBySettings) -> Mapping[str, Any]:
    match claim:
        case Claim():
            return _judge(sources[file], claim, known)
        case Accuracy():
            return _judge_accuracy(sources, file, claim)
        case Statement():
            return judge_statement(claim)


def _judge_accuracy(sources: Mapping[str, Source], file: str, claim: Accuracy) -> dict[str, Any]:
    source = sources[file]
    holder = sources.get(f"{source.relative_to}.toml") if source.relative_to else source
    if holder is None or holder.reference is None:
        raise UsageError(f"relative_to = {source.relative_to!r}: there is no such file beside it with a [reference].")
    missing = sorted(holder.reference.scores.keys() ^ claim.scores.keys())
    if missing:
        raise UsageError(f"Its scores and those of {holder.reference.name} are not of the same tasks: {missing[0]!r}.")
    return judge_accuracy(claim, holder.reference, source.needs)


def _judge(source: Source, claim: Claim, known: LedgerBySettings) -> dict[str, Any]:
    published = Decimal(claim.published.lstrip("~"))
    places = -int(published.as_tuple().exponent)
    verdict, values, tried = NOT_REPRODUCED, list[Decimal](), list[dict[str, Any]]()
    stated = claim.convention or source.convention
    assert stated is not None, "a source is refused where a claim has no convention"
    for convention in (stated, *claim.others):
        settings = _settings(claim.method, source.base, claim.set, convention.set)
        missing = _missing(settings)
        if missing:
            verdict = f"{missing} not available"
            break
        ledger, tasks = _counted(settings, known)
        values.append(_value(convention, claim.unit, ledger, tasks))
        told = {"convention": convention.name, "ours": _number(values[-1], places), "trained": _parts(ledger)}
        tried.append(told | convention.model_dump(include={"counted", "add", "set"}))
        if _printed(values[-1], places, convention) == published:
            verdict = REPRODUCED if len(values) == 1 and not convention.fitted else UNDER_CONVENTION
            break
    # What is not reproduced is shown under the convention that the source states; ``tried`` has the others.
    at = -1 if verdict in (REPRODUCED, UNDER_CONVENTION) else 0
    return {
        "unit": claim.unit,
        "ours": _number(values[at], places) if values else None,
        "difference": _number(values[at] - published, places) if values else None,
        "convention": tried[at]["convention"] if tried else None,
        "verdict": verdict,
        "settings": {**source.base, **claim.set},
        "trained": tried[at]["trained"] if tried else {},
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


def _counted(settings: Mapping[str, Any], known: LedgerBySettings) -> tuple[Ledger, int]:
    """Return the ledger of a model and its number of tasks."""
    key = canonical(settings)
    if key not in known:
        model = build_on_meta(settings).model
        known[key] = count(model), len(model.tasks)
    return known[key]


def _parts(ledger: Ledger) -> dict[str, int | None]:
    """Return where the trained parameters are; published figures seldom say which of these they count."""
    return {
        "added": ledger.added,
        "trunk": ledger.trunk,
        "generator": ledger.generator,
        "decoders": ledger.decoder,
    }


def _value(convention: Convention, unit: str, ledger: Ledger, tasks: int) -> Decimal:
    """Return our figure in the claim's unit."""
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
    verdict = row["verdict"]
    if verdict == NOT_REPRODUCED:
        verdict = f"{verdict} ({row['difference']:+g})"
    elif verdict == NOT_MEASURABLE and row["arithmetic"] == "differs":
        verdict = f"{verdict}; its scores give {row['ours']:+g}"
    published = f"{row['published']} {row['unit']}".strip()
    parts = {TRAINED: ", ".join(f"{part / 1e6:.4g}" for part in row["trained"].values()) or None}
    told = {column: row[column] for column in columns}
    return {**told, **parts, "published": published, "verdict": verdict}


def tried_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say, for every claim that is not reproduced, what was tried and what it gives."""
    return [
        f"not reproduced: {row['row']} ({row['published']} {row['unit']}). Tried: "
        + "; ".join(f"{tried['convention']}: {tried['ours']}" for tried in row["tried"])
        + (f". {row['note']}" if row["note"] else "")
        for row in rows
        if row["verdict"] == NOT_REPRODUCED
    ]
