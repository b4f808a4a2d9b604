"""What is wrong in a store, and how it is put aside: nothing is ever deleted but half-written scratch of our own."""

import json
import os
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from petl_bench.identity import HASH_VERSION, identify
from petl_bench.records.claims import look
from petl_bench.records.run import SCHEMA_VERSION, RunRecord
from petl_bench.records.sound import is_sound
from petl_bench.records.store import RECORD, SCORES, STATISTICS, WEIGHTS, read_record
from petl_bench.records.working import CHECKPOINT, clear_scratch, has_scratch, header_of

QUARANTINE = ".quarantine"
LARGEST_BYTES = 2**31  # of one array once it is unpacked


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        path: Of what.
        what: In words.
        remedy: What ``repair`` does: ``quarantine``, ``clear``, or "" for nothing.
    """

    path: Path
    what: str
    remedy: str


def problems(store: Path) -> Iterator[Problem]:
    """Yield what is wrong in a store, folder by folder.

    Raises:
        OSError: The store cannot be listed.
    """
    for folder in sorted(path for path in store.iterdir() if path.is_dir() and not path.is_symlink()):
        if folder.name == QUARANTINE:
            continue
        if folder.name.startswith("."):
            yield from _of_working(folder)
        elif (folder / RECORD).exists():
            what = wrong_in(folder, folder.name)
            if what:
                yield Problem(folder, what, "quarantine")


def repair(store: Path, problem: Problem) -> str:
    """Do what can be done about a problem, and say what was.

    Raises:
        OSError: It cannot be done.
    """
    if problem.remedy == "clear":
        clear_scratch(problem.path)
        if not any(problem.path.iterdir()):
            problem.path.rmdir()
        return "cleared"
    if problem.remedy == "quarantine":
        aside = store / QUARANTINE
        aside.mkdir(exist_ok=True)
        number = 1
        while (target := aside / f"{problem.path.name}-{number}").exists():
            number += 1
        os.replace(problem.path, target)
        return f"moved to {target}"
    return ""


def wrong_in(folder: Path, name: str) -> str:
    """Return what is wrong with a run's folder that is called so in its store, "" if nothing is."""
    record = read_record(folder / RECORD)
    if record is None:
        return f"{RECORD} is no record of this version, or damaged"
    if not is_sound(record):
        return f"{RECORD} holds values that no run has"
    if record.folder_name != name and _schema_of(folder) == SCHEMA_VERSION:  # older ones had other hashes
        return f"its record belongs to {record.folder_name}"
    if not _is_identified(record):
        return "its fingerprint is not that of its settings: the record was edited"
    if record.status == "failed":
        return ""
    broken = [name for name in (SCORES, STATISTICS) if (folder / name).exists() and not _can_be_read(folder / name)]
    broken += [WEIGHTS] if (folder / WEIGHTS).exists() and not _has_tensors(folder / WEIGHTS) else []
    return f"{', '.join(broken)} cannot be read" if broken else ""


def _schema_of(folder: Path) -> object:
    return json.loads((folder / RECORD).read_text(encoding="utf-8")).get("schema_version")


def _is_identified(record: RunRecord) -> bool:
    if record.hash_version != HASH_VERSION:
        return True
    contents = {"weights_hash": record.weights_hash, "data_hash": record.data_hash}
    identity = identify(record.config, **contents, engine_version=record.engine_version)
    return (identity.fingerprint, identity.group) == (record.fingerprint, record.group)


def _can_be_read(path: Path) -> bool:
    """Return whether an archive of arrays is whole; none is unpacked that says it is enormous."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
        if any(member.file_size > LARGEST_BYTES or ".." in member.filename for member in members):
            return False
        with np.load(path, allow_pickle=False) as arrays:
            return all(isinstance(arrays[name], np.ndarray) for name in arrays.files)
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError):
        return False


def _has_tensors(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy") as file:
            return bool(file.keys())
    except (OSError, SafetensorError):
        return False


def _of_working(folder: Path) -> Iterator[Problem]:
    seen = look(folder)
    if seen is not None and seen.is_fresh:
        return
    if seen is not None:
        yield Problem(folder, f"its process is gone ({seen.owner}); the next run of it goes on", "")
    if has_scratch(folder):
        yield Problem(folder, "half-written files of a process that was killed", "clear")
    if (folder / CHECKPOINT).exists() and header_of(folder / CHECKPOINT) is None:
        yield Problem(folder / CHECKPOINT, "no checkpoint: the next run of it puts it aside", "")
