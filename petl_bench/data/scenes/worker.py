"""Rendering a range of pictures into arrays on disk, here or in processes of their own.

The processes are fresh interpreters that run this module: unlike ``multiprocessing`` with spawn or forkserver they do
not import the parent's ``__main__`` again, which may import torch or lack a guard.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from typing import IO, cast

import numpy as np

from petl_bench.data.scenes.labels import LABELS
from petl_bench.data.scenes.render import render

_REPORT_EVERY = 8
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]


def fill(
    folder: Path, domain: str, split: str, start: int, stop: int, size: int, advance: Callable[[int], None]
) -> None:
    """Render the pictures ``start`` to ``stop - 1`` into the arrays of ``folder``; ``advance`` hears how many are done.

    Each picture is a row of the arrays; rows of other pictures are not touched.
    """
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ("image", *LABELS[domain])}
    waiting = 0
    for index in range(start, stop):
        picture = render(domain, split, index, size)
        arrays["image"][index] = picture.image
        for name, label in picture.labels.items():
            arrays[name][index] = label
        waiting += 1
        if waiting == _REPORT_EVERY or index == stop - 1:
            advance(waiting)
            waiting = 0
    for array in arrays.values():
        cast("np.memmap", array).flush()


def run_workers(
    folder: Path,
    domain: str,
    split: str,
    start: int,
    stop: int,
    size: int,
    workers: int,
    advance: Callable[[int], None],
) -> None:
    """``fill`` in ``workers`` processes, each a stretch of the pictures; all end when one fails or on Ctrl-C.

    Raises:
        RuntimeError: if a process fails; the message holds what it wrote to standard error.
    """
    cuts = [start + (stop - start) * i // workers for i in range(workers + 1)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")))}
    environment["PYTHONPATH"] = environment["PYTHONPATH"].rstrip(os.pathsep)
    processes: list[subprocess.Popen[bytes]] = []
    try:
        for first, last in pairwise(cuts):
            command = [sys.executable, "-m", __name__, str(folder), domain, split, str(first), str(last), str(size)]
            processes.append(
                subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)
            )
        _watch(processes, advance)
    finally:
        for process in processes:
            process.kill()
            process.communicate()


def _watch(processes: list[subprocess.Popen[bytes]], advance: Callable[[int], None]) -> None:
    """Pass the processes' reports on until all have ended well."""
    with DefaultSelector() as selector:
        for process in processes:
            selector.register(cast("IO[bytes]", process.stdout), EVENT_READ, process)
        while selector.get_map():
            for key, _ in selector.select():
                line = cast("IO[bytes]", key.fileobj).readline()
                if line:
                    advance(int(line))
                    continue
                selector.unregister(key.fileobj)
                process: subprocess.Popen[bytes] = key.data
                if process.wait():
                    errors = cast("IO[bytes]", process.stderr).read().decode(errors="replace").strip()
                    raise RuntimeError(f"a process that renders scenes failed (exit {process.returncode}): {errors}")


def main() -> None:
    """Run ``fill`` with the arguments of the command line; print the number of pictures done, time and again."""
    folder, domain, split, first, last, size = sys.argv[1:]
    try:
        fill(Path(folder), domain, split, int(first), int(last), int(size), lambda done: print(done, flush=True))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
