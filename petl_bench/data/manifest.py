"""Whether the arrays of a folder are whole: a list of their sizes and digests that lies beside them."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_bench.files import appearing

Shapes = Mapping[str, tuple[str, tuple[int, ...]]]
"""By name of an array: dtype and shape."""
Arrays = dict[str, NDArray[Any]]

_NAME = "manifest.json"


class DamagedError(Exception):
    """An array is missing, truncated or another one."""


def seal(folder: Path, shapes: Shapes) -> None:
    """Write down size and sha256 of every array of ``folder``."""
    files = {name: folder / f"{name}.npy" for name in shapes}
    content = {name: {"bytes": path.stat().st_size, "sha256": _digest(path)} for name, path in files.items()}
    with appearing(folder / _NAME) as scratch:
        scratch.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def open_whole(folder: Path, shapes: Shapes, *, digests: bool) -> Arrays:
    """Map the arrays of ``folder`` into memory, read-only.

    Checked every time, without reading the arrays: that all are listed and there, the sizes of their files, and dtype
    and shape in their headers. A byte changed in place is seen with ``digests`` alone.

    Raises:
        DamagedError: Something is not as it was written.
    """
    try:
        listed = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        arrays: Arrays = {}
        for name, (dtype, shape) in shapes.items():
            path = folder / f"{name}.npy"
            size = path.stat().st_size
            if size != listed[name]["bytes"]:
                raise DamagedError(f"{path.name} has {size} bytes instead of {listed[name]['bytes']}")
            if digests and _digest(path) != listed[name]["sha256"]:
                raise DamagedError(f"{path.name} is not what was written")
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            if array.dtype != np.dtype(dtype) or array.shape != shape:
                raise DamagedError(f"{path.name} holds {array.dtype} {array.shape} instead of {dtype} {shape}")
            arrays[name] = array
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    return arrays


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
