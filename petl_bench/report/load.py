"""From folders to runs: find the records, set apart what failed and what cannot be read."""

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from petl_bench.errors import UsageError
from petl_bench.records.run import HistoryPoint, RunRecord
from petl_bench.records.store import CURVE, PICTURE, RECORD, SCORES, read_record, read_scores

_USED_SETTINGS = (
    "method.name",
    "backbone.name",
    "backbone.weights",
    "decoder.name",
    "dataset.name",
    "dataset.image_size",
    "tasks",
    "budget",
    "train.steps",
    "train.batch_size",
    "seed",
)


@dataclass(frozen=True)
class Run:
    """A record and the folder it was read from.

    Attributes:
        settings: The config flattened to dotted keys, the runtime left out.
    """

    folder: Path
    record: RunRecord
    settings: Mapping[str, Any]

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.record.method

    @property
    def weights(self) -> str:
        """Initial weights of the backbone: ``pretrained``, ``random`` or ``file:PATH``."""
        return self.settings["backbone.weights"]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.record.seed

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the tasks, in the dataset's order."""
        return tuple(self.settings["tasks"])

    @property
    def picture(self) -> Path | None:
        """The picture of predictions, if the run has one."""
        return self._file(PICTURE)

    @property
    def history(self) -> tuple[HistoryPoint, ...]:
        """The training curve, from the record or else from the curve file."""
        curve = self._file(CURVE)
        if self.record.history or curve is None:
            return self.record.history
        try:
            return tuple(HistoryPoint.model_validate_json(line) for line in curve.read_text("utf-8").splitlines())
        except (OSError, ValueError):
            return ()

    @cached_property
    def scores(self) -> dict[str, np.ndarray]:
        """Per-image scores [N] by task; empty if the file is missing or damaged."""
        if self._file(SCORES) is None:
            return {}
        try:
            return read_scores(self.folder)
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error):
            return {}

    def _file(self, name: str) -> Path | None:
        path = self.folder / name
        return path if os.path.isfile(path) else None


@dataclass(frozen=True)
class Loaded:
    """What the folders hold.

    Attributes:
        runs: Finished runs, each fingerprint once, the newest.
        failed: Failed runs that no finished run has made up for.
        damaged: Record files that are no record of this version.
        repeated: How many older runs of a fingerprint that is there twice were left out.
    """

    runs: tuple[Run, ...]
    failed: tuple[Run, ...]
    damaged: tuple[Path, ...]
    repeated: int


def load(folders: Sequence[Path]) -> Loaded:
    """Read every record below the folders; each is a store (a folder of run folders) or a run folder.

    Raises:
        UsageError: A folder is missing or cannot be listed, or no record can be read.
    """
    paths = list(dict.fromkeys(path for folder in folders for path in _record_files(folder)))
    runs, damaged = [], []
    for path in paths:
        run = _read(path)
        if run is None:
            damaged.append(path)
        else:
            runs.append(run)
    if not runs:
        named = ", ".join(str(path) for path in damaged[:5])
        found = f"{len(damaged)} {RECORD} found ({named}), but none is a record of this version." if damaged else ""
        raise _nothing_to_report(folders, found)
    runs.sort(key=lambda run: (run.record.created, str(run.folder)))
    finished = {run.record.fingerprint: run for run in runs if run.record.status == "finished"}
    failed = {run.record.fingerprint: run for run in runs if run.record.fingerprint not in finished}
    return Loaded(
        runs=tuple(finished.values()),
        failed=tuple(failed.values()),
        damaged=tuple(damaged),
        repeated=sum(run.record.status == "finished" for run in runs) - len(finished),
    )


def flatten(section: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested sections with their dotted keys."""
    for key, value in section.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")  # pyright: ignore[reportUnknownArgumentType]
        else:
            yield f"{prefix}{key}", value


def _record_files(folder: Path) -> list[Path]:
    if os.path.isfile(folder / RECORD):
        return [folder / RECORD]
    try:
        inner = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise _nothing_to_report([folder], f"It cannot be listed: {error.strerror or error}.") from None
    found = [path / RECORD for path in inner if os.path.isfile(path / RECORD)]
    if not found:
        raise _nothing_to_report([folder], "")
    return found


def _read(path: Path) -> Run | None:
    record = read_record(path)
    if record is None:
        return None
    settings = {key: value for key, value in flatten(record.config) if not key.startswith("runtime.")}
    if any(settings.get(key) is None for key in _USED_SETTINGS) or not isinstance(settings["tasks"], list):
        return None
    results = record.metrics.values()
    if any(result.primary not in result.values or result.primary not in result.trivial for result in results):
        return None
    return Run(folder=path.parent, record=record, settings=settings)


def _nothing_to_report(folders: Sequence[Path], found: str) -> UsageError:
    named = ", ".join(repr(str(folder)) for folder in folders)
    return UsageError(
        f"No run to report in {named}: looked for {RECORD} in it and in the folders directly below it. {found}".rstrip()
        + "\nType: petl-bench run --method vmt --tasks 4   to make a run, then petl-bench report [FOLDER]"
    )
