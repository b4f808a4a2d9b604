"""The packaging of LibMTL and MTAN: folders ``train`` and ``val`` with numbered arrays, ``image/7.npy`` and so on."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from petl_bench.data import readers
from petl_bench.data.base import DataTask, Split
from petl_bench.data.layout import IGNORED, Layout, Source
from petl_bench.errors import UsageError

Read = Callable[[Sequence[Path]], np.ndarray]


def numbered(
    root: Path, packaging: str, tasks: Mapping[str, DataTask], inner: Mapping[str, tuple[str, Read]]
) -> Layout:
    """Return the layout of such a folder; ``val`` is what is tested on.

    Args:
        root: The folder.
        packaging: What it is called.
        tasks: Those it has labels for.
        inner: By task, the folder of its files and how they are read.

    Raises:
        UsageError: There are no images.
    """

    def files(name: str) -> dict[str, tuple[Path, ...]]:
        return {
            f"{split}/{stem}": (path,)
            for split in ("train", "val")
            for stem, path in readers.files_in(root / split / name, readers.SUFFIXES["npy"]).items()
        }

    images = files("image")
    ordered = sorted(images, key=lambda name: (name.split("/")[0], len(name), name))
    splits: dict[Split, tuple[str, ...]] = {
        "train": tuple(name for name in ordered if name.startswith("train/")),
        "test": tuple(name for name in ordered if name.startswith("val/")),
    }
    if not all(splits.values()):
        raise UsageError(f"{str(root)!r} has no images: train/image/*.npy and val/image/*.npy are expected.")
    return Layout(
        packaging=packaging,
        splits=splits,
        images=Source("image", 3, images, read_float_image),
        labels={
            name: Source(task.kind, task.channels, files(inner[name][0]), inner[name][1])
            for name, task in tasks.items()
        },
    )


def read_float_image(files: Sequence[Path]) -> np.ndarray:
    """Read a picture [H, W, 3] of numbers from 0 to 1."""
    return (readers.read_npy(files[0]).clip(0, 1) * 255).round().astype(np.uint8)


def read_signed_classes(files: Sequence[Path]) -> np.ndarray:
    """Read classes; -1 is no truth."""
    raw = readers.read_npy(files[0])
    return np.where(raw < 0, IGNORED, raw).astype(np.uint8)


def read_positive(files: Sequence[Path]) -> np.ndarray:
    """Read numbers above 0, such as metres, [H, W] or [H, W, 1]; anything else is no truth."""
    return positive(readers.read_npy(files[0]))


def positive(raw: np.ndarray) -> np.ndarray:
    """Return numbers [H, W] in float32, 0 where they are not above 0 and finite."""
    numbers = np.asarray(raw, dtype=np.float32)
    numbers = numbers[..., 0] if numbers.ndim == 3 else numbers
    return np.where(np.isfinite(numbers) & (numbers > 0), numbers, np.float32(0))
