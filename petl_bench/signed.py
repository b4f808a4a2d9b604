"""Folders of results that a command may replace: those it wrote itself, as a list in the folder says."""

import json
from collections.abc import Iterable
from pathlib import Path

from petl_bench.errors import UsageError

LIST = ".petl-bench.json"
"""The list of a folder's files that were written by a command of ours."""


def sign(folder: Path, names: Iterable[str]) -> None:
    """Add files, by their paths in the folder, to its list."""
    listed = sorted({*(listed_in(folder) or ()), *names})
    (folder / LIST).write_text(json.dumps({"written": listed}, indent=1) + "\n", encoding="utf-8")


def sign_all(folder: Path) -> None:
    """Add every file that lies in a folder to its list."""
    sign(folder, _files(folder))


def listed_in(folder: Path) -> set[str] | None:
    """Return what a folder's list names; None if there is none."""
    try:
        written = json.loads((folder / LIST).read_text(encoding="utf-8"))["written"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return {str(name) for name in written} if isinstance(written, list) else None


def require_replaceable(folder: Path, names: Iterable[str] | None = None) -> None:
    """Ask whether a folder, or some files of it, may be written over: they are new, or were written by us.

    Args:
        folder: Of the results.
        names: The files that will be written; None: the whole folder will be replaced.

    Raises:
        UsageError: A file would be lost that no command of ours wrote, or the folder is a link to another one.
    """
    if folder.is_symlink():
        raise _refused(folder, f"it is a symbolic link, to {str(folder.resolve())!r}")
    if not folder.exists():
        return
    if not folder.is_dir():
        raise _refused(folder, "it is a file")
    there = _files(folder)
    at_risk = there if names is None else there & set(names)
    foreign = sorted(at_risk - (listed_in(folder) or set()))
    if foreign:
        more = f" and {len(foreign) - 1} more" if len(foreign) > 1 else ""
        raise _refused(folder, f"it holds {foreign[0]!r}{more}, which no command here wrote, and which would be lost")


def _files(folder: Path) -> set[str]:
    """Return everything in a folder that is not a folder, by path; links are what they are, wherever they lead."""
    inner = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    return {path.relative_to(folder).as_posix() for path in inner} - {LIST}


def _refused(folder: Path, why: str) -> UsageError:
    return UsageError(
        f"Nothing is written to {str(folder)!r}: {why}.\n"
        "Type: the same command with --out FOLDER, one that is new, empty or was written by this command"
    )
