"""The store: one folder a run, named by content, written atomically, never edited.

A run folder holds ``record.json``, ``metrics.jsonl`` (training curve), ``scores.npz`` (per-image scores by task),
``statistics.npz`` (what every image contributes to the metrics), ``trainable.safetensors`` (what was trained) and
``predictions.png``.
"""

import json
import tempfile
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from petl_bench.errors import UsageError
from petl_bench.files import appearing_folder
from petl_bench.records.migrate import migrate
from petl_bench.records.run import HistoryPoint, RunRecord
from petl_bench.records.working import SCRATCH

RECORD = "record.json"
CURVE = "metrics.jsonl"
SCORES = "scores.npz"
STATISTICS = "statistics.npz"
WEIGHTS = "trainable.safetensors"
PICTURE = "predictions.png"


class Store:
    """Runs below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def require_writable(self) -> None:
        """Create the folder, or say why it cannot be written.

        Raises:
            UsageError: The folder cannot be created or written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise UsageError(
                f"The output folder {str(self.folder)!r} cannot be written: {error.strerror or error}.\n"
                "Type: petl-bench ... --out FOLDER   with a folder of your own."
            ) from None

    def find(self, folder_name: str) -> RunRecord | None:
        """Return the finished record of that folder name, or None."""
        path = self.folder / folder_name / RECORD
        record = read_record(path) if path.is_file() else None
        return record if record is not None and record.status == "finished" else None

    @contextmanager
    def writing(self, record_name: str) -> Generator[Path, None, None]:
        """Give a scratch folder that becomes the run's folder when the block ends well.

        A failed or interrupted block leaves nothing behind, and an older folder of the same name is replaced only by
        a complete one. Scratch lies in the run's working folder, where the next owner of the run removes what a killed
        process left.
        """
        working = self.working(record_name)
        try:
            with appearing_folder(self.folder / record_name, working / SCRATCH) as scratch:
                yield scratch
        finally:
            with suppress(OSError):
                working.rmdir()

    def working(self, record_name: str) -> Path:
        """Return the hidden folder of a run that is not complete."""
        return self.folder / f".{record_name}"


def write_record(folder: Path, record: RunRecord) -> None:
    """Write ``record.json``, the last file of a run folder."""
    text = record.model_dump_json(indent=1)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def write_curve(folder: Path, history: Sequence[HistoryPoint]) -> None:
    """Write the training curve, one JSON object a line."""
    lines = [point.model_dump_json() for point in history]
    (folder / CURVE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_record(path: Path) -> RunRecord | None:
    """Read one record of any version; None if the file is none: a foreign file is no error of the report."""
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(content, ensure_ascii=False).encode()  # half a character cannot be written anywhere
        return RunRecord.model_validate(migrate(content))
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def write_scores(folder: Path, scores: Mapping[str, np.ndarray]) -> None:
    """Write the per-image scores [N] of every task, in the order of the test split."""
    compact = {task: values.astype(np.float32) for task, values in scores.items()}
    np.savez_compressed(folder / SCORES, allow_pickle=False, **compact)


def write_statistics(folder: Path, statistics: Mapping[str, Mapping[str, np.ndarray]]) -> None:
    """Write what every image contributes to the metrics, by task and name, one row an image."""
    named = {f"{task}/{name}": array for task, arrays in statistics.items() for name, array in arrays.items()}
    np.savez_compressed(folder / STATISTICS, allow_pickle=False, **named)


def read_statistics(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    """Read what every image contributes to the metrics, by task and name, one row an image."""
    statistics: dict[str, dict[str, np.ndarray]] = {}
    with np.load(folder / STATISTICS, allow_pickle=False) as archive:
        for key in archive.files:
            task, _, name = key.partition("/")
            statistics.setdefault(task, {})[name] = archive[key]
    return statistics


def read_scores(folder: Path) -> dict[str, np.ndarray]:
    """Read the per-image scores [N] of a run, by task; images without any valid pixel are NaN."""
    with np.load(folder / SCORES, allow_pickle=False) as archive:
        return {task: archive[task] for task in archive.files}
