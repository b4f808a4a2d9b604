"""Rendering a range of pictures into arrays on disk, here or in processes of their own.

loky's processes, unlike those of ``multiprocessing`` with spawn or forkserver, do not import the parent's ``__main__``
again, which may import torch or lack a guard.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from loky import ProcessPoolExecutor, as_completed
from loky.process_executor import BrokenProcessPool

from petl_bench.data.scenes.render import render

_STRETCH = 16
"""Pictures that a process renders before it reports."""


class RenderingError(RuntimeError):
    """A process that renders scenes failed or was ended."""


Files = Mapping[str, Path]
"""The file of each array: ``"image"``, and labels by name."""


def fill(files: Files, domain: str, split: str, indices: range, size: int) -> int:
    """Render the pictures ``indices`` into the arrays of ``files``, each into its row; returns how many they are."""
    arrays = {name: np.load(path, mmap_mode="r+", allow_pickle=False) for name, path in files.items()}
    for index in indices:
        picture = render(domain, split, index, size, [name for name in arrays if name != "image"])
        for name, array in arrays.items():
            array[index] = picture.image if name == "image" else picture.labels[name]
    for array in arrays.values():
        array.flush()
    return len(indices)


def fill_here(files: Files, domain: str, split: str, indices: range, size: int, advance: Callable[[int], None]) -> None:
    """``fill`` in this process; ``advance`` hears how many pictures are done."""
    for stretch in _stretches(indices):
        advance(fill(files, domain, split, stretch, size))


def fill_with(
    workers: int,
    files: Files,
    domain: str,
    split: str,
    indices: range,
    size: int,
    advance: Callable[[int], None],
) -> None:
    """``fill`` in ``workers`` processes; all end when one fails or on Ctrl-C.

    Raises:
        RenderingError: A process failed or was ended from outside.
    """
    pool = ProcessPoolExecutor(max_workers=workers)
    try:
        waiting = [pool.submit(fill, files, domain, split, stretch, size) for stretch in _stretches(indices)]
        for done in as_completed(waiting):
            advance(done.result())
    except BrokenProcessPool as error:
        raise RenderingError(
            f"a process that renders scenes was ended from outside, perhaps for want of memory: {error}"
        ) from error
    except Exception as error:
        raise RenderingError(f"a process that renders scenes failed: {type(error).__name__}: {error}") from error
    finally:
        pool.shutdown(wait=True, kill_workers=True)


def _stretches(indices: range) -> Iterable[range]:
    return (indices[first : first + _STRETCH] for first in range(0, len(indices), _STRETCH))
