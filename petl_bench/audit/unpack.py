"""Write a data set in parquet files, as the hub passes them on, into a ``folder`` that is read from then on."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from petl_bench.audit.demo import require_empty
from petl_bench.errors import UsageError

KINDS = {
    "semseg": ("semseg", "segmentation", "semantic", "label", "labels", "mask"),
    "depth": ("depth",),
    "normals": ("normals", "normal"),
    "saliency": ("saliency",),
    "edges": ("edges", "edge"),
}
"""Names of columns that are taken for a task."""
TEST = ("test", "validation", "val")
"""Names of the split that is tested on, the first that is there."""


def unpack(source: Path, root: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> str:
    """Write pictures as PNG and labels as ``.npy``, and a ``dataset.toml``; return what columns were taken for.

    Args:
        source: Folder with ``SPLIT-*.parquet``, at any depth; needs the ``datasets`` library.
        root: An empty folder, or one to make.
        tell: Called with the number of images done, and of all.

    Raises:
        UsageError: There are no such files, no column with pictures, or none with labels.
    """
    splits = _splits(source)
    columns = {split: set(rows.column_names) for split, rows in splits.items()}
    shared = set.intersection(*columns.values())
    if "image" not in shared:
        raise UsageError(f"{str(source)!r} has no column 'image'; it has {', '.join(sorted(shared))}.")
    tasks = {kind: next((name for name in names if name in shared), None) for kind, names in KINDS.items()}
    taken = {kind: name for kind, name in tasks.items() if name is not None}
    if not taken:
        raise UsageError(f"{str(source)!r} has no labels under a known name: {', '.join(sorted(shared))}.")
    require_empty(root, "unpack")
    for folder in ("images", *taken):
        (root / folder).mkdir(parents=True)
    classes = _written(splits, root, taken, tell)
    lines = ["[splits]", *(f'{split} = "{split}.txt"' for split in splits)]
    for kind in taken:
        lines += ["", f"[tasks.{kind}]", 'encoding = "npy"']
        lines += [f"classes = {classes}", "ignore = -1"] if kind == "semseg" else []
    (root / "dataset.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return ", ".join(f"{name} as {kind}" for kind, name in taken.items())


def _written(splits: Mapping[str, Any], root: Path, taken: Mapping[str, str], tell: Callable[[int, int], None]) -> int:
    """Write every row; return the number of classes."""
    total, done, highest = sum(len(rows) for rows in splits.values()), 0, 1
    for split, rows in splits.items():
        names: list[str] = []
        for number, row in enumerate(rows):
            names.append(f"{split}_{number:06d}")
            Image.fromarray(_picture(row["image"])).save(root / "images" / f"{names[-1]}.png")
            for kind, column in taken.items():
                label = _label(row[column], kind)
                np.save(root / kind / f"{names[-1]}.npy", label)
                if kind == "semseg":
                    highest = max(highest, int(np.where(label == 255, -1, label).max()))
            done += 1
            tell(done, total)
        (root / f"{split}.txt").write_text("".join(f"{name}\n" for name in names), encoding="utf-8")
    return highest + 1


def _splits(source: Path) -> dict[str, Any]:
    """Return the rows of ``train`` and ``test``."""
    try:
        import datasets
    except ImportError:
        raise UsageError("Parquet files need the datasets library.\nType: pip install 'petl-bench[parquet]'") from None
    from petl_bench.files import cache_folder

    found = {"train": ("train",), "test": TEST}
    files = {
        split: next((hits for name in names if (hits := sorted(map(str, source.rglob(f"{name}*.parquet"))))), [])
        for split, names in found.items()
    }
    missing = [split for split, paths in files.items() if not paths]
    if missing:
        raise UsageError(
            f"{str(source)!r} has no parquet files of {' and '.join(missing)}: train*.parquet and one of "
            f"{', '.join(f'{name}*.parquet' for name in TEST)} are expected."
        )
    cache = cache_folder() / "parquet"  # not beside the source, which may be read-only
    loaded: Any = datasets.load_dataset("parquet", data_files=files, cache_dir=str(cache))
    return {split: loaded[split] for split in files}


def _picture(value: Any) -> np.ndarray:
    if isinstance(value, Image.Image):
        return np.asarray(value.convert("RGB"))
    array = _last(np.asarray(value))
    return array if array.dtype == np.uint8 else (array.clip(0, 1) * 255).round().astype(np.uint8)


def _label(value: Any, kind: str) -> np.ndarray:
    array = np.asarray(value)
    if kind == "normals":
        return _last(array).astype(np.float32)
    array = array.squeeze() if array.ndim == 3 else array
    return array.astype(np.float32 if kind == "depth" else np.int16)


def _last(array: np.ndarray) -> np.ndarray:
    """Return an array of three channels with the channels last."""
    return np.moveaxis(array, 0, -1) if array.shape[0] == 3 and array.shape[-1] != 3 else array
