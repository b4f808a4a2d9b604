"""Files of our own: where caches lie, and how a file appears whole or not at all."""

import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """Return the base of all caches: ``$PETL_BENCH_CACHE``, else the user's cache folder."""
    chosen = os.environ.get("PETL_BENCH_CACHE")
    return Path(chosen) if chosen else Path(platformdirs.user_cache_dir("petl-bench"))


@contextmanager
def appearing(path: Path) -> Generator[Path, None, None]:
    """Give a scratch file beside ``path`` that takes its place when the block ends well; else nothing changes.

    Raises:
        OSError: The folder cannot be made or written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        yield scratch
        scratch.chmod(0o644)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
