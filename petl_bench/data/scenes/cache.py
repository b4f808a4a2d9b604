"""Whole splits on disk: rendered once, read as memory-mapped arrays.

The folder is ``scenes/<version>/<domain>-<split>-<size>px-<count>`` below ``$PETL_BENCH_CACHE`` or the user's cache
folder; the further labels have one of their own, below ``scenes/<version>/further/<version>``. A split that is there
with another count is reused: the first pictures are the same ones. A damaged one is made again;
``manifest.open_whole`` says what is checked.
"""

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import FileLock
from rich.console import Console

from petl_bench.data.manifest import Arrays, DamagedError, Shapes, open_whole, seal
from petl_bench.data.scenes.labels import FURTHER, LABELS, Specification
from petl_bench.data.scenes.render import check_key, check_labels
from petl_bench.data.scenes.version import CONTENT_HASH, FURTHER_HASH
from petl_bench.data.scenes.worker import fill_here, fill_with
from petl_bench.files import cache_folder
from petl_bench.terminal import bar

_PICTURES_PER_WORKER = 32


class _Split(NamedTuple):
    """Arrays of a split at one size, and the folder of all their counts."""

    home: Path
    domain: str
    split: str
    size: int
    arrays: Specification

    @property
    def stem(self) -> str:
        return f"{self.domain}-{self.split}-{self.size}px"

    def folder(self, count: int) -> Path:
        return self.home / f"{self.stem}-{count}"

    def shapes(self, count: int) -> Shapes:
        return {name: (dtype, (count, self.size, self.size, *rest)) for name, (dtype, rest) in self.arrays.items()}

    def counts(self) -> list[int]:
        """How many pictures the folders of the split have, the largest first."""
        pattern = re.compile(re.escape(self.stem) + r"-(\d+)")
        entries = self.home.iterdir() if self.home.is_dir() else ()
        matches = (pattern.fullmatch(entry.name) for entry in entries)
        return sorted((int(match.group(1)) for match in matches if match), reverse=True)


def cached_split(
    domain: str,
    split: str,
    count: int,
    size: int,
    *,
    labels: Iterable[str] | None = None,
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
        labels: the names of those that are returned; default: the first set of the domain. Further labels are rendered
            and stored only if one of them is asked for.
        cache_dir: base of the cache; default: ``$PETL_BENCH_CACHE``, else the user's cache folder.
        workers: processes that render; default: one a core.
        progress: whether to draw a progress bar on standard error.

    Returns:
        Read-only arrays: ``"image"`` [count, size, size, 3] and the labels [count, size, size, ...].

    Raises:
        ValueError: if an argument is not allowed.
        OSError: if the cache folder can't be written.
        RenderingError: if a process that renders fails.
    """
    check_key(domain, split, 0, size)
    if count < 1:
        raise ValueError(f"count must be 1 or more, got {count}")
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be 1 or more, got {workers}")
    names = tuple(LABELS[domain]) if labels is None else check_labels(domain, labels)
    base = cache_dir or cache_folder()
    keys = [_Split(base / CONTENT_HASH, domain, split, size, {"image": ("uint8", (3,)), **LABELS[domain]})]
    if not {*names} <= {*LABELS[domain]}:
        keys.append(_Split(base / FURTHER_HASH, domain, split, size, FURTHER))
    if any(_open(key, count) is None for key in keys):
        with ExitStack() as held:
            with _writable(base):
                for key in keys:  # in this order everywhere, so that nobody waits for one who waits for him
                    key.home.mkdir(parents=True, exist_ok=True)
                    held.enter_context(FileLock(key.home / f"{key.stem}.lock"))
            missing = [key for key in keys if _open(key, count) is None]
            if missing:
                _render_into(missing, count, workers or os.cpu_count() or 1, Console(stderr=True, quiet=not progress))
    arrays: Arrays = {}
    for key in keys:
        arrays |= _open(key, count) or open_whole(key.folder(count), key.shapes(count), digests=False)
    return {name: arrays[name][:count] for name in ("image", *names)}


@contextmanager
def _writable(base: Path) -> Generator[None, None, None]:
    """Say what to do where the cache can't be written."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"cannot write the scenes cache in {base}: {error}; set PETL_BENCH_CACHE to a folder you may write to"
        ) from error


def _open(key: _Split, count: int) -> Arrays | None:
    """The arrays of the largest whole folder that has enough pictures, if there is one."""
    for known in key.counts():
        if known >= count:
            try:
                return open_whole(key.folder(known), key.shapes(known), digests=False)
            except DamagedError:
                continue
    return None


def _render_into(keys: Sequence[_Split], count: int, workers: int, console: Console) -> None:
    """Make the folders of a split, seeing each room once: in temporary folders first, never seen half-written.

    The caller holds the locks, so a temporary folder that is there was left by a process that was killed.
    """
    temporary: list[Path] = []
    try:
        known = [count]
        for key in keys:
            with _writable(key.home):
                for left_over in key.home.glob(f"{key.stem}-*.tmp-*"):
                    shutil.rmtree(left_over)
                reused = _sound(key, count, console) or {}
                temporary.append(Path(tempfile.mkdtemp(prefix=f"{key.stem}-{count}.tmp-", dir=key.home)))
                for name, array in _allocate(temporary[-1], key.shapes(count)):
                    if reused:
                        array[: len(reused[name])] = reused[name]
                    array.flush()
            known.append(min((len(array) for array in reused.values()), default=0))
        missing = range(min(known), count)
        first = keys[0]
        text = f"rendering {len(missing)} {first.domain} {first.split} scenes, {first.size} px"
        with _bar(text, len(missing), console) as advance:
            processes = min(workers, -(-len(missing) // _PICTURES_PER_WORKER))
            files = {
                name: folder / f"{name}.npy" for key, folder in zip(keys, temporary, strict=True) for name in key.arrays
            }
            rest = (files, first.domain, first.split, missing, first.size, advance)
            fill_here(*rest) if processes == 1 else fill_with(processes, *rest)
        for key, folder in zip(keys, temporary, strict=True):
            with _writable(key.home):
                seal(folder, key.shapes(count))
                folder.rename(key.folder(count))
    except BaseException:
        for folder in temporary:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def _sound(key: _Split, count: int, console: Console) -> Arrays | None:
    """The arrays of the largest smaller folder with every byte as written; damaged ones are named and removed."""
    for known in key.counts():
        try:
            arrays = open_whole(key.folder(known), key.shapes(known), digests=known < count)
        except DamagedError as error:
            console.print(f"{key.folder(known)} is damaged and made again: {error}", markup=False, highlight=False)
            shutil.rmtree(key.folder(known))
            continue
        if known < count:
            return arrays
    return None


def _allocate(folder: Path, shapes: Shapes) -> Iterator[tuple[str, "np.memmap"]]:
    """Create the arrays of a split, empty."""
    for name, (dtype, shape) in shapes.items():
        path = folder / f"{name}.npy"
        yield name, np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)


@contextmanager
def _bar(text: str, total: int, console: Console) -> Generator[Callable[[int], None], None, None]:
    """A progress bar; yields a function that moves it on."""
    with bar(console) as progress:
        task = progress.add_task(text, total=total, state="")
        yield lambda done: progress.advance(task, done)
