"""A data set that lies in files, as data: which files an image and its labels are made of, and how they are read."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from petl_bench.data.base import Split
from petl_bench.data.geometry import IGNORED, REAL_WITHOUT_TRUTH
from petl_bench.data.readers import reading
from petl_bench.errors import UsageError

SAMPLED = 50  # images whose files enter the digest of the content


@dataclass(frozen=True)
class Source:
    """The files of the images, or of the labels of one task.

    Attributes:
        kind: The registered task that the labels are of; ``image`` for the images.
        channels: Output channels of the task.
        files: By id, the files that one label is made of. An id that is not there has no label.
        read: Turns these files into an array: uint8 [H, W, 3] for images; uint8 [H, W] with 255 for no truth; for
            normals float32 [H, W, 3], x right, y up, z towards the camera, zero without truth; for depth float32
            [H, W] in metres, 0 without truth.
        other_size: What a label of another size than its image is: an ``error``, or made to fit by the ``nearest``
            pixel.
    """

    kind: str
    channels: int
    files: Mapping[str, tuple[Path, ...]]
    read: Callable[[Sequence[Path]], np.ndarray]
    other_size: Literal["error", "nearest"] = "error"


@dataclass(frozen=True)
class Layout:
    """What lies in a folder.

    Attributes:
        packaging: Which of the known packagings it is, its first word for records; empty where there is one alone.
        splits: Ids of ``train`` and ``test``.
        images: Of every id.
        labels: By task; a task whose files are not there has a source without files.
        declared: Whatever else decides what is read.
    """

    packaging: str
    splits: Mapping[Split, tuple[str, ...]]
    images: Source
    labels: Mapping[str, Source]
    declared: Any = None

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of all splits."""
        return tuple(dict.fromkeys(name for ids in self.splits.values() for name in ids))

    def read_image(self, name: str) -> np.ndarray:
        """Read an image, uint8 [H, W, 3].

        Raises:
            UsageError: It cannot be read.
        """
        return self.images.read(self.images.files[name])

    def read_label(self, task: str, name: str, size: tuple[int, int]) -> np.ndarray:
        """Read a label as ``Sample`` has them, of the ``size`` (height, width) of its image; without truth if missing.

        Raises:
            UsageError: It cannot be read, has another size, or values that are none.
        """
        source = self.labels[task]
        files = source.files.get(name)
        if files is None:
            return no_truth(source.kind, size)
        label = source.read(files)
        if label.shape[:2] != size:
            label = _fitted(label, size, source, files[0])
        check_values(label, source, files[0])
        return label

    def digest(self, tasks: Sequence[str]) -> str:
        """Hash the lists of ids, which of them have labels of ``tasks``, and the files of a sample of them."""
        ids = self.ids
        step = max(1, len(ids) // SAMPLED)
        known = {
            "packaging": self.packaging,
            "declared": self.declared,
            "splits": self.splits,
            "labelled": {task: [name for name in ids if name in self.labels[task].files] for task in tasks},
            "sample": {
                name: [
                    [_hash(path) for path in source.files.get(name, ())]
                    for source in (self.images, *(self.labels[task] for task in tasks))
                ]
                for name in ids[::step]
            },
        }
        return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _hash(path: Path) -> str:
    with reading(path, "a file"):
        return hashlib.sha256(path.read_bytes()).hexdigest()


def by_id(files: Mapping[str, Path], *others: Mapping[str, Path]) -> dict[str, tuple[Path, ...]]:
    """Return the files of every id that has one in each of the folders."""
    return {
        name: (path, *(more[name] for more in others))
        for name, path in files.items()
        if all(name in more for more in others)
    }


def no_truth(kind: str, size: tuple[int, int]) -> np.ndarray:
    """Return a label without truth."""
    if kind not in REAL_WITHOUT_TRUTH:
        return np.full(size, IGNORED, dtype=np.uint8)
    shape = (*size, 3) if kind in ("normals", "albedo") else size
    return np.full(shape, REAL_WITHOUT_TRUTH[kind], dtype=np.float32)


def check_values(label: np.ndarray, source: Source, path: Path) -> None:
    """Raise UsageError unless a map of whole numbers holds classes (or 0 and 1) and 255."""
    if source.kind in REAL_WITHOUT_TRUTH:
        return
    limit = max(2, source.channels)
    wrong = (label >= limit) & (label != IGNORED)
    if wrong.any():
        got = ", ".join(map(str, np.unique(label[wrong])[:8]))
        raise UsageError(
            f"{str(path)!r} holds {got}; as {source.kind} with {source.channels} output channels, 0 to {limit - 1} and "
            f"{IGNORED} (no truth) are allowed."
        )


def _fitted(label: np.ndarray, size: tuple[int, int], source: Source, path: Path) -> np.ndarray:
    if source.other_size == "error":
        raise UsageError(
            f"{str(path)!r} is {label.shape[0]} x {label.shape[1]} pixels, its image {size[0]} x {size[1]}: a label "
            "has the size of its image."
        )
    rows = (np.arange(size[0]) + 0.5) * label.shape[0] / size[0]
    columns = (np.arange(size[1]) + 0.5) * label.shape[1] / size[1]
    return label[rows.astype(int)[:, None], columns.astype(int)[None]]
