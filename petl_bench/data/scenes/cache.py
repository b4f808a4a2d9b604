"""Whole splits on disk: rendered once, read as memory-mapped arrays.

The folder is ``scenes/<content key>/<domain>-<split>-<size>px-<count>`` below ``$PETL_BENCH_CACHE`` or the user's cache
folder. A split that is there with another count is reused: the first pictures are the same ones.
"""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from filelock import FileLock
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from petl_bench.data.scenes import SCENES_VERSION
from petl_bench.data.scenes.labels import LABELS
from petl_bench.data.scenes.render import check_key
from petl_bench.data.scenes.worker import fill, run_workers

PIXEL_SOURCES = (
    "arithmetic",
    "gbuffer",
    "intersect",
    "labels",
    "layout",
    "palettes",
    "people",
    "primitives",
    "render",
    "room",
    "shade",
    "source_objects",
    "source_rooms",
    "target_objects",
    "target_rooms",
    "textures",
    "trace",
    "views",
)
"""The modules that decide a pixel or a label."""

Arrays = dict[str, NDArray[Any]]

_PICTURES_PER_WORKER = 32


def content_key() -> str:
    """A sha256 over the version and the code that makes pictures and labels."""
    digest = hashlib.sha256(f"scenes {SCENES_VERSION}\n".encode())
    folder = Path(__file__).parent
    for name in PIXEL_SOURCES:
        digest.update(name.encode() + b"\0")
        digest.update((folder / f"{name}.py").read_bytes().replace(b"\r\n", b"\n"))
    return digest.hexdigest()


def cached_split(
    domain: str,
    split: str,
    count: int,
    size: int,
    *,
    cache_dir: Path | None = None,
    workers: int | None = None,
    progress: bool = True,
) -> Arrays:
    """The first ``count`` pictures of a split, rendered now if they aren't in the cache.

    Args:
        domain: as in ``render``.
        split: as in ``render``.
        count: number of pictures.
        size: height and width in pixels.
        cache_dir: base of the cache; default: ``$PETL_BENCH_CACHE``, else the user's cache folder.
        workers: processes that render; default: one a core.
        progress: whether to draw a progress bar on standard error.

    Returns:
        Read-only arrays: ``"image"`` [count, size, size, 3] and every label of the domain [count, size, size, ...].

    Raises:
        ValueError: if an argument is not allowed.
        OSError: if the cache folder can't be written.
    """
    check_key(domain, split, 0, size)
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    base = cache_dir or default_cache_dir()
    home = base / "scenes" / content_key()
    stem = f"{domain}-{split}-{size}px"
    found = _largest(home, stem)
    if found < count:
        with _writable(base):
            home.mkdir(parents=True, exist_ok=True)
            lock = FileLock(home / f"{stem}.lock").acquire()
        with lock:
            found = _largest(home, stem)
            if found < count:
                _render_into(home, stem, (domain, split, count, size), found, workers or os.cpu_count() or 1, progress)
                found = count
    return _open(home / f"{stem}-{found}", domain, count)


def default_cache_dir() -> Path:
    """The base of the cache: ``$PETL_BENCH_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("PETL_BENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("petl-bench"))


@contextmanager
def _writable(base: Path) -> Generator[None, None, None]:
    """Say what to do where the cache can't be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write the scenes cache in {base}: {error}; set PETL_BENCH_CACHE to a folder you may write to"
        ) from error


def _largest(home: Path, stem: str) -> int:
    """The largest number of pictures of a split that is complete in the cache; 0 if none is."""
    if not home.is_dir():
        return 0
    pattern = re.compile(re.escape(stem) + r"-(\d+)")
    matches = (pattern.fullmatch(entry.name) for entry in home.iterdir())
    return max((int(match.group(1)) for match in matches if match), default=0)


def _open(folder: Path, domain: str, count: int) -> Arrays:
    return {name: np.load(folder / f"{name}.npy", mmap_mode="r")[:count] for name in ("image", *LABELS[domain])}


def _render_into(
    home: Path, stem: str, key: tuple[str, str, int, int], known: int, workers: int, progress: bool
) -> None:
    """Make the folder of a split: in a temporary folder first, so that it is never seen half-written.

    The caller holds the split's lock, so a temporary folder that is there was left by a process that was killed.
    """
    domain, split, count, size = key
    with _writable(home):
        for left_over in home.glob(f"{stem}-*.tmp-*"):
            shutil.rmtree(left_over)
        temporary = Path(tempfile.mkdtemp(prefix=f"{stem}-{count}.tmp-", dir=home))
    try:
        with _writable(home):
            _allocate(temporary, domain, count, size)
            if known:
                _copy(home / f"{stem}-{known}", temporary, domain, known)
        with _bar(f"rendering {count - known} {domain} {split} scenes, {size} px", count - known, progress) as advance:
            workers = min(workers, -(-(count - known) // _PICTURES_PER_WORKER))
            if workers == 1:
                fill(temporary, domain, split, known, count, size, advance)
            else:
                run_workers(temporary, domain, split, known, count, size, workers, advance)
        with _writable(home):
            temporary.rename(home / f"{stem}-{count}")
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _allocate(folder: Path, domain: str, count: int, size: int) -> None:
    """Create the arrays of a split, empty."""
    for name, (dtype, trailing) in {"image": ("uint8", (3,)), **LABELS[domain]}.items():
        shape = (count, size, size, *trailing)
        array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.dtype(dtype), shape=shape)
        array.flush()


def _copy(old: Path, new: Path, domain: str, count: int) -> None:
    """Take the pictures that are already there."""
    for name in ("image", *LABELS[domain]):
        np.load(new / f"{name}.npy", mmap_mode="r+")[:count] = np.load(old / f"{name}.npy", mmap_mode="r")


@contextmanager
def _bar(text: str, total: int, visible: bool) -> Generator[Callable[[int], None], None, None]:
    """A progress bar on standard error; yields a function that moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not visible, transient=True) as bar:
        task = bar.add_task(text, total=total)
        yield lambda done: bar.advance(task, done)
