"""Files of our own: where caches lie, and how a file appears whole or not at all."""

import errno
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress
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
        _flush(scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def appearing_folder(path: Path, scratch_prefix: Path | None = None) -> Generator[Path, None, None]:
    """Give a scratch folder that takes the place of ``path``, an older one's too, when the block ends well.

    A block that fails or is interrupted leaves everything as it was.

    Args:
        path: The folder.
        scratch_prefix: How the paths of scratch folders begin, on the same file system; None: hidden ones beside it.

    Raises:
        OSError: The folder around it cannot be made or written.
    """
    beginning = scratch_prefix or path.with_name(f".{path.name}-")
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _new_folder(beginning)
    try:
        inner = scratch / "new"
        inner.mkdir()
        yield inner
        for file in inner.rglob("*"):
            if file.is_file():
                _flush(file)
        while not _placed(inner, path, beginning):
            continue
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _new_folder(beginning: Path) -> Path:
    """Make a folder whose path begins so; another process may take the folder around it away while it is empty."""
    while True:
        with suppress(FileNotFoundError, FileExistsError):  # the latter: it went while ``mkdir`` looked what was there
            beginning.parent.mkdir(parents=True, exist_ok=True)
            return Path(tempfile.mkdtemp(prefix=beginning.name, dir=beginning.parent))


def _flush(file: Path) -> None:
    """Have the content on the disk before the name points to it: a lost power must not leave an empty file."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


def _placed(complete: Path, path: Path, beginning: Path) -> bool:
    """Give a complete folder its name, or take the name from the folder that has it; another process may race."""
    try:
        os.replace(complete, path)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        retired = _new_folder(beginning.with_name(f"{beginning.name}old-"))
        with suppress(FileNotFoundError):
            os.replace(path, retired / "folder")
        shutil.rmtree(retired, ignore_errors=True)
        return False
    return True
