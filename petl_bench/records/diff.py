"""What two stores have in common, and in what they differ: runs by fingerprint, their results number by number."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from petl_bench.records.run import RunRecord
from petl_bench.records.sound import is_sound
from petl_bench.records.store import RECORD, read_record

NONE = "-"


@dataclass(frozen=True)
class Difference:
    """One thing in which two stores differ: of which run, what, and how it is in either."""

    run: str
    what: str
    first: str
    second: str


def differences(first: Path, second: Path) -> tuple[list[Difference], int]:
    """Return in what two stores differ, and how many runs both have.

    Raises:
        OSError: A store cannot be listed.
    """
    one, other = _runs(first), _runs(second)
    found: list[Difference] = []
    for key in sorted(one.keys() | other.keys(), key=lambda key: (one.get(key) or other[key]).folder_name):
        here, there = one.get(key), other.get(key)
        if here is None or there is None:
            name = (one.get(key) or other[key]).folder_name
            found.append(Difference(name, "run", *(NONE if run is None else run.status for run in (here, there))))
        else:
            found += _between(here, there)
    return found, len(one.keys() & other.keys())


def _runs(store: Path) -> dict[str, RunRecord]:
    paths = (entry / RECORD for entry in store.iterdir() if not entry.name.startswith("."))
    records = (read_record(path) for path in paths if path.is_file())
    return {record.fingerprint: record for record in records if record is not None and is_sound(record)}


def _between(one: RunRecord, other: RunRecord) -> Iterator[Difference]:
    here, there = _facts(one), _facts(other)
    for what in [*here, *(what for what in there if what not in here)]:
        first, second = here.get(what, NONE), there.get(what, NONE)
        if first != second and not _both_nan(first, second):
            yield Difference(one.folder_name, what, _shown(first), _shown(second))


def _facts(record: RunRecord) -> dict[str, object]:
    facts: dict[str, object] = {"status": record.status}
    for task, result in record.metrics.items():
        for name, metric in result.metrics.items():
            facts |= {f"{task} {name}": metric.value, f"{task} {name} convention": metric.convention}
    ledger = record.parameters.model_dump() if record.parameters is not None else {}
    return facts | {f"parameters {owner}": number for owner, number in ledger.items()}


def _both_nan(first: object, second: object) -> bool:
    return all(isinstance(value, float) and math.isnan(value) for value in (first, second))


def _shown(value: object) -> str:
    return f"{value:.17g}" if isinstance(value, float) else str(value)
