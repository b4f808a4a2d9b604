"""What every run of a store is doing, from the store alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from petl_bench.records.claims import Seen, look
from petl_bench.records.run import RunRecord
from petl_bench.records.store import RECORD, read_record
from petl_bench.records.working import CHECKPOINT, PLANNED, header_of

State = Literal["done", "running", "stale", "stopped", "failed", "waiting"]
STATES: dict[State, str] = {
    "done": "its record says finished",
    "running": "a process works on it",
    "stale": "its process is gone, or was silent for a lease; the next one goes on",
    "stopped": "broken off with a state to go on from",
    "failed": "its record says failed",
    "waiting": "planned by a sweep",
}
LOGS = "logs"


@dataclass(frozen=True)
class Status:
    """One run of a store.

    Attributes:
        name: Of its folder.
        state: One of ``STATES``.
        step: Up to which its training is on disk; None if it is not or need not be.
        steps: How many its training has.
        who: The process that has its claim.
        log: What its process printed, if a sweep started it.
        error: The last line of what failed.
    """

    name: str
    state: State
    step: int | None = None
    steps: int | None = None
    who: str = ""
    log: Path | None = None
    error: str = ""


def log_path(store: Path, name: str) -> Path:
    """Return the file that a sweep lets a run print into."""
    return store / LOGS / f"{name}.log"


def status_of(store: Path, name: str) -> Status | None:
    """Return what one run is doing; None if the store knows nothing of it."""
    working = store / f".{name}"
    path = store / name / RECORD
    record = read_record(path) if path.is_file() else None
    seen, header = look(working), header_of(working / CHECKPOINT)
    state = _state(record, seen, is_broken_off=header is not None, is_planned=(working / PLANNED).is_file())
    if state is None:
        return None
    log = log_path(store, name)
    lines = "" if record is None or state != "failed" else (record.error or "").strip()
    return Status(
        name=name,
        state=state,
        step=None if header is None or state == "done" else header.step,
        steps=_steps(record.config if record is not None else _planned(working / PLANNED)),
        who="" if seen is None or state == "done" else str(seen.owner),
        log=log if log.is_file() else None,
        error=lines.rpartition("\n")[2],
    )


def _state(record: RunRecord | None, seen: Seen | None, *, is_broken_off: bool, is_planned: bool) -> State | None:
    if seen is not None and seen.is_fresh:
        return "running"
    if record is not None and record.status == "finished":
        return "done"
    if seen is not None:
        return "stale"
    if record is not None:
        return "failed"
    return "stopped" if is_broken_off else "waiting" if is_planned else None


def statuses(store: Path) -> list[Status]:
    """Return what every run of a store is doing, by name.

    Raises:
        OSError: The folder cannot be listed.
    """
    names = {entry.name.removeprefix(".") for entry in store.iterdir() if entry.is_dir()}
    found = (status_of(store, name) for name in sorted(names))
    return [one for one in found if one is not None]


def _planned(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _steps(config: dict[str, Any]) -> int | None:
    train = config.get("train")
    steps = train.get("steps") if isinstance(train, dict) else None
    return steps if isinstance(steps, int) else None
