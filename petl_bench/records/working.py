"""What lies in a store beside finished runs: one hidden folder for every run that is planned, at work or broken off.

``.NAME`` holds ``config.json`` (what a sweep planned), ``claim-N.json`` (who works on it), ``checkpoint.safetensors``
(the state of its training) and scratch folders of results that are being written. It goes with the run's completion.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from petl_bench.config import Section

CHECKPOINT = "checkpoint.safetensors"
PLANNED = "config.json"
SCRATCH = "scratch-"
CHECKPOINT_FORMAT = 1
CHECKPOINT_KEY = "petl_bench_checkpoint"


class CheckpointHeader(Section):
    """What a checkpoint says beside its tensors.

    Attributes:
        step: How many steps of training lie behind it.
        saved: When it was written.
        digest: Of its content.
    """

    format: int
    fingerprint: str
    engine_version: int
    step: int
    saved: str
    digest: str


def header_of(path: Path) -> CheckpointHeader | None:
    """Return what a checkpoint says of itself, without reading its tensors; None if it is none."""
    try:
        with safe_open(path, framework="numpy") as file:
            return CheckpointHeader.model_validate_json((file.metadata() or {})[CHECKPOINT_KEY])
    except (OSError, SafetensorError, KeyError, ValidationError):
        return None


def clear_scratch(folder: Path) -> None:
    """Remove what a killed process left half-written; for the owner of the claim."""
    for path in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(path, ignore_errors=True)
    for path in _half_written(folder):
        path.unlink(missing_ok=True)


def has_scratch(folder: Path) -> bool:
    """Return whether a process left something half-written in a working folder."""
    return any(folder.glob(f"{SCRATCH}*")) or bool(_half_written(folder))


def _half_written(folder: Path) -> list[Path]:
    """Return files that never got their names; safetensors calls its own ``.tmp`` and six characters."""
    return [path for pattern in (f".{CHECKPOINT}-*", ".tmp??????") for path in folder.glob(pattern)]


def clear(folder: Path) -> None:
    """Remove what a completed run needs no more; whatever else lies there stays. For the owner of the claim."""
    clear_scratch(folder)
    for name in (CHECKPOINT, PLANNED):
        with suppress(OSError):
            (folder / name).unlink()
