"""From folders to runs: find the records, set apart what failed and what cannot be read."""

import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from petl_bench.errors import UsageError, unknown_name
from petl_bench.identity import content_of, flatten
from petl_bench.records.run import HistoryPoint, RunRecord, TaskResult
from petl_bench.records.sound import is_sound
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
        chosen: Metrics that stand for a task in place of the data set's choice, by task.
    """

    folder: Path
    record: RunRecord
    settings: Mapping[str, Any]
    chosen: Mapping[str, str] = field(default_factory=dict)

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.record.method

    @property
    def weights(self) -> str:
        """What identifies the initial weights: a hash of their content, or ``random``."""
        return self.record.weights_hash

    def result(self, task: str) -> TaskResult | None:
        """Return the metrics of a task, with the one that stands for it."""
        result = self.record.metrics.get(task)
        name = self.chosen.get(task)
        return result if result is None or name is None else result.model_copy(update={"primary": name})

    def kin(self, axes: Sequence[str]) -> dict[str, Any]:
        """Return what two runs of one table have in common, whatever their initial weights."""
        record = self.record
        content = content_of(
            record.config, weights_hash="", data_hash=record.data_hash, engine_version=record.engine_version
        )
        return {key: value for key, value in content.items() if key != "seed" and not lies_on(key, axes)}

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


def lies_on(key: str, axes: Sequence[str]) -> bool:
    """Return whether a dotted key is one of the axes or lies below one."""
    return any(key == axis or key.startswith(f"{axis}.") for axis in axes)


def choosing(runs: Sequence[Run], metrics: Mapping[str, str]) -> tuple[Run, ...]:
    """Return the runs with another metric standing for some tasks.

    Raises:
        UsageError: No run has such a task or metric.
    """
    for task, name in metrics.items():
        results = [run.record.metrics[task] for run in runs if task in run.record.metrics]
        if not results:
            tasks = {task for run in runs for task in run.record.metrics}
            raise unknown_name("task of these runs", task, tasks, command="petl-bench report --metric TASK=METRIC")
        known = {metric for result in results for metric in result.metrics}
        if name not in known:
            raise unknown_name(f"metric of {task!r}", name, known, command=f"petl-bench report --metric {task}=METRIC")
    return tuple(replace(run, chosen=_had_by(run, metrics)) for run in runs)


def _had_by(run: Run, metrics: Mapping[str, str]) -> dict[str, str]:
    had = run.record.metrics
    return {task: name for task, name in metrics.items() if task in had and name in had[task].metrics}


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
    if record is None or not is_sound(record):
        return None
    settings = {key: value for key, value in flatten(record.config) if not key.startswith("runtime.")}
    if any(settings.get(key) is None for key in _USED_SETTINGS) or not isinstance(settings["tasks"], list):
        return None
    return Run(folder=path.parent, record=record, settings=settings)


def _nothing_to_report(folders: Sequence[Path], found: str) -> UsageError:
    named = ", ".join(repr(str(folder)) for folder in folders)
    return UsageError(
        f"No run to report in {named}: looked for {RECORD} in it and in the folders directly below it. {found}".rstrip()
        + "\nType: petl-bench run --method vmt --tasks 4   to make a run, then petl-bench report [FOLDER]"
    )
