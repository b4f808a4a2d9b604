"""folder: your own data without code: one sub-folder a task, and a file ``dataset.toml`` that says what lies there."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from petl_bench.config import Section, validate_section
from petl_bench.data import readers
from petl_bench.data.base import DATASETS, DataTask, Split
from petl_bench.data.layout import IGNORED, Layout, Source, by_id
from petl_bench.data.on_disk import FileDataset, require_root
from petl_bench.errors import UsageError, unknown_name

FILE = "dataset.toml"
HINT = "Type: petl-bench data guide folder   to see such a file."
CHANNELS = {"semseg": None, "human_parts": None, "saliency": 1, "normals": 3, "depth": 1, "edges": 1}
"""Kinds of tasks, with their output channels; None: as many as there are classes."""


class Splits(Section):
    """Lists of names, one a line, as files in the folder."""

    train: str
    test: str


class Images(Section):
    """Where the pictures lie."""

    folder: str = "images"


class TaskTable(Section):
    """What the files of a task hold.

    Attributes:
        kind: What task it is; its name, if that is one.
        classes: Number of classes, background included.
        folder: Sub-folder; the name of the task, if not said.
        encoding: Of the files.
        key: Name of the array inside ``npz``, ``mat`` and ``hdf5`` files.
        ignore: The number that says "no truth", beside 255.
        scale: Depth in metres is ``scale`` times the number in the file.
        y: Where the second component of normals points.
    """

    kind: str | None = None
    classes: Annotated[int, Field(ge=2, le=255)] | None = None
    folder: str | None = None
    encoding: Literal["png", "npy", "npz", "mat", "hdf5"] = "png"
    key: str | None = None
    ignore: int | float | None = None
    scale: Annotated[float, Field(gt=0)] | None = None
    y: Literal["up", "down"] | None = None


class Places(Section):
    """What ``dataset.toml`` says beside its tasks."""

    splits: Splits
    images: Images = Images()


@dataclass(frozen=True)
class Declaration:
    """The content of ``dataset.toml``."""

    splits: Splits
    images: Images
    tasks: Mapping[str, TaskTable]


@DATASETS.register("folder")
class Folder(FileDataset):
    """Pictures and labels of your own, as ``dataset.toml`` in their folder says."""

    tasks = {}
    guide = """
Your own pictures and labels. A folder holds `images/NAME.jpg` (or png), one sub-folder for every task with a file
NAME.* for the pictures that have a label, lists of names, and this file, `dataset.toml`:

    [splits]
    train = "train.txt"       # a list of names in the folder, one a line
    test = "test.txt"

    [tasks.semseg]            # semseg/NAME.png, grey or palette
    classes = 12              # 0 to 11; 255 is no truth, and so is what `ignore = N` says

    [tasks.depth]             # depth/NAME.png; 0 is no truth
    scale = 0.001             # metres = scale * number

    [tasks.normals]           # normals/NAME.png: n = 2 v / 255 - 1, black is no truth; or an array [H, W, 3]
    y = "down"                # where y points in the files: up (as here if nothing is said) or down

    [tasks.roofs]             # any name, with its kind: semseg, human_parts, saliency, normals, depth, edges
    kind = "semseg"
    classes = 2
    encoding = "npz"          # png (8 or 16 bit), npy, npz, mat, hdf5
    key = "roofs"             # of the array inside npz, mat and hdf5
    folder = "masks"          # if it is not the task's name

Also: `[images] folder = "rgb"`. Pictures without a label of a task stay in the list and have no truth there.
EXR files are not read: save them as npy. Parquet files of the hub: petl-bench data unpack SOURCE DIR.
"""

    @classmethod
    def tasks_in(cls, root: Path | None) -> Mapping[str, DataTask]:
        """Return the tasks of ``dataset.toml``, in its order."""
        tables = declaration(require_root(cls.name, root)).tasks
        return {name: DataTask(kind_of(name, table), channels_of(name, table)) for name, table in tables.items()}

    @classmethod
    def look(cls, root: Path | None) -> Layout:
        """Return what ``dataset.toml`` says."""
        folder = require_root(cls.name, root)
        declared = declaration(folder)
        tasks = cls.tasks_in(root)
        splits: dict[Split, tuple[str, ...]] = {
            "train": readers.read_ids(folder / declared.splits.train),
            "test": readers.read_ids(folder / declared.splits.test),
        }
        both = set(splits["train"]) & set(splits["test"])
        if both:
            raise UsageError(f"{len(both)} images are in both train and test, {min(both)!r} among them. Separate them.")
        images = readers.files_in(folder / declared.images.folder, readers.IMAGE_SUFFIXES)
        return Layout(
            packaging="",
            splits=splits,
            images=Source("image", 3, by_id(images), read_image),
            labels={
                name: Source(
                    task.kind,
                    task.channels,
                    by_id(readers.files_in(folder / (table.folder or name), readers.SUFFIXES[table.encoding])),
                    Reader(task.kind, table),
                )
                for (name, table), task in zip(declared.tasks.items(), tasks.values(), strict=True)
            },
            declared={name: table.model_dump(exclude={"folder"}) for name, table in declared.tasks.items()},
        )


@dataclass(frozen=True)
class Reader:
    """Reads a label of one kind as its table says."""

    kind: str
    table: TaskTable

    def __call__(self, files: Sequence[Path]) -> np.ndarray:
        """Return the label in the form of ``Sample``."""
        (path,) = files
        if self.kind == "normals":
            return self._normals(path)
        raw = self._numbers(path)
        if raw.ndim == 3 and 1 in (raw.shape[0], raw.shape[-1]):
            raw = raw.squeeze(0 if raw.shape[0] == 1 else -1)
        if raw.ndim != 2:
            raise UsageError(f"{str(path)!r} has the shape {list(raw.shape)}: [H, W] is expected of {self.kind}.")
        missing = raw == self.table.ignore if self.table.ignore is not None else np.zeros(raw.shape, dtype=bool)
        if self.kind == "depth":
            metres = raw.astype(np.float32) * np.float32(self.table.scale or 1.0)
            return np.where(missing | ~np.isfinite(metres) | (metres < 0), np.float32(0), metres)
        return whole_numbers(np.where(missing, IGNORED, raw), path)

    def _numbers(self, path: Path) -> np.ndarray:
        table = self.table
        if table.encoding in readers.WITH_KEY:
            return np.asarray(readers.WITH_KEY[table.encoding](path, str(table.key)))
        return readers.read_npy(path) if table.encoding == "npy" else readers.read_png(path)

    def _normals(self, path: Path) -> np.ndarray:
        if self.table.encoding == "png":
            raw = readers.read_rgb(path).astype(np.float32)
            missing = np.all(raw == (0 if self.table.ignore is None else self.table.ignore), axis=-1)
            vectors = 2 * raw / 255 - 1
        else:
            vectors = self._numbers(path).astype(np.float32)
            if vectors.ndim == 3 and vectors.shape[0] == 3 and vectors.shape[2] != 3:
                vectors = np.moveaxis(vectors, 0, -1)
            if vectors.ndim != 3 or vectors.shape[2] != 3:
                raise UsageError(
                    f"{str(path)!r} has the shape {list(vectors.shape)}: [H, W, 3] is expected of normals."
                )
            missing = ~np.all(np.isfinite(vectors), axis=-1)
            if self.table.ignore is not None:
                missing |= np.all(vectors == self.table.ignore, axis=-1)
        if self.table.y == "down":
            vectors = vectors * np.array([1, -1, 1], dtype=np.float32)
        return unit_normals(vectors, missing)


def read_image(files: Sequence[Path]) -> np.ndarray:
    """Read a picture of one file."""
    return readers.read_rgb(files[0])


def unit_normals(vectors: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return unit vectors [H, W, 3] in float32; zero where they are ``missing`` [H, W] or have no length."""
    vectors = np.where(missing[..., None], np.float32(0), vectors).astype(np.float32)
    length = np.sqrt(np.einsum("hwc,hwc->hw", vectors, vectors))
    return vectors * np.divide(1, length, out=np.zeros_like(length), where=length > 1e-6)[..., None]


def whole_numbers(raw: np.ndarray, path: Path) -> np.ndarray:
    """Return classes as uint8.

    Raises:
        UsageError: One is no whole number from 0 to 255.
    """
    if raw.dtype.kind == "f" and not np.equal(raw, np.round(raw)).all():
        raise UsageError(f"{str(path)!r} holds fractions: whole numbers are expected of classes.")
    if raw.size and (raw.min() < 0 or raw.max() > IGNORED):
        raise UsageError(
            f"{str(path)!r} holds numbers from {raw.min()} to {raw.max()}: 0 to 255 are expected. If one of them says "
            f"'no truth', name it: ignore = {raw.min() if raw.min() < 0 else raw.max()}"
        )
    return raw.astype(np.uint8)


def declaration(root: Path) -> Declaration:
    """Read ``dataset.toml``.

    Raises:
        UsageError: It is missing, or something in it is wrong.
    """
    path = root / FILE
    try:
        content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{str(root)!r} has no {FILE}, which says what lies there.\n{HINT}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{str(path)!r} cannot be read: {error}.\n{HINT}") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{str(path)!r} is not valid TOML: {error}.\n{HINT}") from None
    try:
        tables = content.pop("tasks", None)
        if not isinstance(tables, dict) or not tables:
            raise UsageError(f"no task is declared: a table [tasks.NAME] for every sub-folder is expected.\n{HINT}")
        tasks = {name: validate_section(TaskTable, table, f"tasks.{name}", hint=HINT) for name, table in tables.items()}
        for name, table in tasks.items():
            _check(name, table)
        own = validate_section(Places, content, "", hint=HINT)
    except UsageError as error:
        raise UsageError(f"{FILE}: {error}") from None
    return Declaration(own.splits, own.images, tasks)


def kind_of(name: str, table: TaskTable) -> str:
    """Return the kind of a task.

    Raises:
        UsageError: It is none.
    """
    kind = table.kind or name
    if kind in CHANNELS:
        return kind
    if table.kind is None:
        raise UsageError(
            f"[tasks.{name}] is no task by name, so say what it is: kind = one of {', '.join(CHANNELS)}.\n{HINT}"
        )
    raise unknown_name(f"kind in [tasks.{name}]", kind, CHANNELS, command="petl-bench data guide folder")


def channels_of(name: str, table: TaskTable) -> int:
    """Return the number of output channels of a task."""
    fixed = CHANNELS[kind_of(name, table)]
    if fixed is None and table.classes is None:
        raise UsageError(f"[tasks.{name}] needs classes = N, background included.\n{HINT}")
    return fixed or table.classes or 1


def _check(name: str, table: TaskTable) -> None:
    kind = kind_of(name, table)
    channels_of(name, table)
    if not name.isidentifier():
        raise UsageError(f"[tasks.{name}]: a task is named by one word of letters, digits and _.\n{HINT}")
    for key, given, meant in (
        ("classes", table.classes, CHANNELS[kind] is None),
        ("scale", table.scale, kind == "depth"),
        ("y", table.y, kind == "normals"),
        ("key", table.key, table.encoding in readers.WITH_KEY),
    ):
        if given is not None and not meant:
            what = f"encoding = {table.encoding!r}" if key == "key" else kind
            raise UsageError(f"[tasks.{name}] {key} = {given!r} means nothing for {what}: leave it out.\n{HINT}")
    if table.encoding in readers.WITH_KEY and table.key is None:
        raise UsageError(f"[tasks.{name}] encoding = {table.encoding!r} needs key = the array's name.\n{HINT}")
