"""Read one file as an array, by encoding. What cannot be read is a clear error with the file's name."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from petl_bench.errors import UnreadableError, UsageError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


def files_in(folder: Path, suffixes: Iterable[str]) -> dict[str, Path]:
    """Return the files of a folder by their names without suffix; upper and lower case of the suffix are one.

    A folder that is not there has no files. Names that begin with a dot are nobody's data.

    Raises:
        UsageError: Two files have one name.
    """
    wanted = tuple(suffix.lower() for suffix in suffixes)
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.name.startswith(".") or path.suffix.lower() not in wanted:
            continue
        if path.stem in found:
            raise UsageError(
                f"{str(folder)!r} has two files for {path.stem!r}: {found[path.stem].name} and {path.name}. Remove one."
            )
        found[path.stem] = path
    return found


def read_ids(path: Path) -> tuple[str, ...]:
    """Return the names in a list, one a line; blank lines and line ends of any system are dropped.

    Raises:
        UsageError: The file cannot be read, names nothing, or names something twice.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The list {str(path)!r} cannot be read: {_reason(error)}.") from None
    ids = tuple(line.strip() for line in lines if line.strip())
    if not ids:
        raise UsageError(f"The list {str(path)!r} is empty: one name of an image a line is expected.")
    if len(set(ids)) < len(ids):
        twice = next(name for name in ids if ids.count(name) > 1)
        raise UsageError(f"The list {str(path)!r} names {twice!r} more than once: name every image once.")
    return ids


def read_rgb(path: Path) -> np.ndarray:
    """Read a picture as uint8 [H, W, 3]."""
    with _opened(path, "a picture") as image:
        return np.asarray(image.convert("RGB"))


def read_png(path: Path) -> np.ndarray:
    """Read numbers of a grey, palette or 16-bit PNG [H, W]; of a palette the indices, not the colours.

    Raises:
        UsageError: It has colours instead of numbers.
    """
    with _opened(path, "a PNG of numbers") as image:
        if image.mode == "1":
            return np.asarray(image).astype(np.uint8)
        if image.mode not in ("L", "P", "I", "I;16", "I;16B"):
            raise UsageError(
                f"{str(path)!r} holds colours ({image.mode}), not one number a pixel: a grey, palette or 16-bit PNG is "
                "expected."
            )
        return np.asarray(image)


def read_npy(path: Path) -> np.ndarray:
    """Read an array of a ``.npy`` file; one that holds Python objects is refused."""
    with reading(path, "a .npy array"):
        return np.load(path, allow_pickle=False)


def read_npz(path: Path, key: str) -> np.ndarray:
    """Read one array of a ``.npz`` file."""
    with reading(path, "a .npz archive"), np.load(path, allow_pickle=False) as archive:
        return archive[_key(path, key, archive.files)]


def read_mat(path: Path, key: str) -> Any:
    """Read one variable of a MATLAB file: an array, or nested structures as scipy gives them."""
    from scipy.io import loadmat

    with reading(path, "a MATLAB file"):
        try:
            content = loadmat(path)
        except NotImplementedError:
            return read_hdf5(path, key).T  # MATLAB 7.3 files are HDF5, with the axes the other way round
    return content[_key(path, key, [name for name in content if not name.startswith("__")])]


def read_hdf5(path: Path, key: str) -> np.ndarray:
    """Read one data set of an HDF5 file."""
    try:
        import h5py
    except ImportError:
        raise UsageError(f"{str(path)!r} needs h5py.\nType: pip install 'petl-bench[data]'") from None
    with reading(path, "an HDF5 file"), h5py.File(path, "r") as file:
        return np.asarray(file[_key(path, key, list(file))])


WITH_KEY: Mapping[str, Callable[[Path, str], Any]] = {"npz": read_npz, "mat": read_mat, "hdf5": read_hdf5}
SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "png": (".png",),
    "npy": (".npy",),
    "npz": (".npz",),
    "mat": (".mat",),
    "hdf5": (".hdf5", ".h5"),
    "jpg": (".jpg", ".jpeg"),
}
"""Suffixes of the files of an encoding."""


@contextmanager
def reading(path: Path, what: str) -> Generator[None, None, None]:
    """Turn whatever goes wrong while a file is read into one clear answer."""
    import zipfile
    import zlib

    try:
        yield
    except UsageError:
        raise
    # A broken PNG is a SyntaxError to PIL; a broken MATLAB file can be any of these to scipy.
    except (OSError, ValueError, TypeError, SyntaxError, EOFError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        raise UnreadableError(f"{str(path)!r} cannot be read as {what}: {_reason(error)}.") from None


@contextmanager
def _opened(path: Path, what: str) -> Generator[Image.Image, None, None]:
    with reading(path, what), Image.open(path) as image:
        image.load()
        yield image


def _key(path: Path, key: str, there: list[str]) -> str:
    if key not in there:
        raise UsageError(f"{str(path)!r} has no {key!r}; it has {', '.join(map(repr, there)) or 'nothing'}.")
    return key


def _reason(error: BaseException) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
