"""The guard of counts: every method's parameters and costs in a committed file, and what differs from it now."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from petl_bench import plugins
from petl_bench.errors import UsageError, unknown_name
from petl_bench.measure.count.guard import Cell, Golden, count_all

CHANGELOG = 'A count that is moved on purpose needs a line in CHANGELOG.md under "Results affected".'


def check_golden(path: Path, method: str) -> tuple[bool, str]:
    """Count again what ``path`` holds and return whether all is equal, and what to tell.

    Args:
        path: What ``update_golden`` wrote.
        method: The method to look at, or ``all``.

    Raises:
        UsageError: The file cannot be read or holds no counts, an unknown method, or nothing to count.
    """
    old, known = read_golden(path), list(plugins.listings("methods"))
    if method != "all":
        if method not in known:
            raise unknown_name("method", method, known, command="petl-bench list methods")
        old, known = {name: counts for name, counts in old.items() if name == method}, [method]
    new = _counted(known)
    moved = differences(old, new)
    if not moved:
        return True, f"{path}: {_size(new)} are equal"
    summary = f"{path}: {len(moved)} differences. If they are on purpose, type: petl-bench params --write {path}"
    return False, "\n".join([*moved, summary, CHANGELOG])


def update_golden(path: Path) -> str:
    """Count everything, write it to ``path``, and return what to tell.

    Raises:
        UsageError: The file cannot be written, or there is nothing to count.
    """
    golden = _counted(list(plugins.listings("methods")))
    write_golden(path, golden)
    return f"{path}: {_size(golden)} written. {CHANGELOG}"


def _counted(methods: list[str]) -> Golden:
    """Count, and refuse to call nothing a result."""
    golden = count_all(methods)
    if not any(_cells(golden)):
        raise UsageError("Nothing was counted: there is no method.\nType: petl-bench list methods")
    return golden


def _size(golden: Golden) -> str:
    cells = [cell for _, cell in _cells(golden)]
    return f"{len(cells)} counts of {len(golden)} methods, {sum('infer_macs' in cell for cell in cells)} with costs,"


def write_golden(path: Path, golden: Golden) -> None:
    """Write counts as JSON with one line per method and backbone.

    Raises:
        UsageError: The file cannot be written.
    """
    methods = [
        f"{json.dumps(method)}: {{\n"
        + ",\n".join(f" {json.dumps(backbone)}: {json.dumps(counted)}" for backbone, counted in backbones.items())
        + "\n}"
        for method, backbones in sorted(golden.items())
    ]
    try:
        path.write_text("{\n" + ",\n".join(methods) + "\n}\n", encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--write {path}: the file cannot be written: {error.strerror}.") from None


def read_golden(path: Path) -> Golden:
    """Read counts that ``write_golden`` wrote.

    Raises:
        UsageError: The file is missing, empty, or holds something else.
    """
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        if not any(_cells(golden)):
            raise ValueError("it is empty")
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
    except (ValueError, AttributeError, TypeError) as error:
        reason = f"the file holds no counts: {error}"
    else:
        return golden
    raise UsageError(f"--check {path}: {reason}.\nType: petl-bench params --write {path}")


def differences(old: Golden, new: Golden) -> list[str]:
    """Say, one line each, which cells moved: method, backbone, image size, T, and old and new number of what did."""
    lines = [f"{method}: in the file, but there is no such method now" for method in sorted(old.keys() - new.keys())]
    lines += [f"{method}: a method that is not in the file" for method in sorted(new.keys() - old.keys())]
    both = old.keys() & new.keys()
    was, now = ({at: cell for at, cell in _cells(golden) if at[0] in both} for golden in (old, new))
    for at in [*was, *(at for at in now if at not in was)]:
        before, after = was.get(at, {}), now.get(at, {})
        moved = [key for key in dict.fromkeys([*before, *after]) if before.get(key) != after.get(key)]
        if moved:
            method, backbone, size, tasks = at
            told = ", ".join(f"{key} {_said(before.get(key))} -> {_said(after.get(key))}" for key in moved)
            lines.append(f"{method} on {backbone}, {size} px, T = {tasks}: {told}")
    return lines


def _cells(golden: Golden) -> Iterator[tuple[tuple[str, str, str, str], Cell]]:
    for method, backbones in golden.items():
        for backbone, sizes in backbones.items():
            for size, numbers in (sizes or {}).items():
                for tasks, cell in numbers.items():
                    yield (method, backbone, size, tasks), dict(cell)


def _said(value: Any) -> str:
    return "none" if value is None else f"{value:,}" if isinstance(value, int) else str(value)
