"""The guard of parameter counts: every method's numbers in a committed file, and what differs from it now."""

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from petl_bench import plan, plugins
from petl_bench.backbones.build import build_backbone
from petl_bench.engine.progress import bar
from petl_bench.errors import UsageError, unknown_name
from petl_bench.measure.explain import OWNERS
from petl_bench.measure.parameters import held_parameters

TASKS = (1, 4, 16)
IMAGE_SIZES = {
    "embedded": (64, 96),
    "swin_tiny_patch4_window7_224": (224, 448),
    "swin_base_patch4_window7_224": (224, 448),
    "vit_small_patch16_224": (224, 448),
    "vit_base_patch16_224": (224, 448),
}

CHANGELOG = 'A count that is moved on purpose needs a line in CHANGELOG.md under "Results affected".'

Cell = dict[str, int | str]
# Counts by method, backbone, image size and number of tasks; None where a method is not defined on a backbone.
Golden = dict[str, dict[str, dict[str, dict[str, Cell]] | None]]


def check_golden(path: Path, method: str) -> tuple[bool, str]:
    """Count again what ``path`` holds and return whether all is equal, and what to tell.

    Args:
        path: What ``update_golden`` wrote.
        method: The method to look at, or ``all``.

    Raises:
        UsageError: The file cannot be read, or an unknown method.
    """
    old, known = read_golden(path), list(plugins.listings("methods"))
    if method != "all":
        if method not in known:
            raise unknown_name("method", method, known, command="petl-bench list methods")
        old, known = {name: counts for name, counts in old.items() if name == method}, [method]
    new = count_all(known)
    moved = differences(old, new)
    if not moved:
        return True, f"{path}: {len(list(_cells(new)))} counts of {len(new)} methods are equal"
    summary = f"{path}: {len(moved)} differences. If they are on purpose, type: petl-bench params --write {path}"
    return False, "\n".join([*moved, summary, CHANGELOG])


def update_golden(path: Path) -> str:
    """Count everything, write it to ``path``, and return what to tell."""
    golden = count_all(list(plugins.listings("methods")))
    write_golden(path, golden)
    return f"{path}: {len(list(_cells(golden)))} counts of {len(golden)} methods written. {CHANGELOG}"


def count_all(methods: Sequence[str]) -> Golden:
    """Count methods with their default settings on every backbone, size and number of tasks of the guard."""
    golden: Golden = {method: {} for method in methods}
    with bar(Console(stderr=True)) as shown:
        job = shown.add_task("count", total=len(methods) * len(IMAGE_SIZES), state="")
        for name, sizes in IMAGE_SIZES.items():
            backbones = {size: _pickled(name, size) for size in sizes}
            for method in methods:
                shown.update(job, state=f"{method} on {name}")
                golden[method][name] = _count_on(method, name, backbones)
                shown.advance(job)
    return golden


def _pickled(name: str, image_size: int) -> tuple[str, bytes]:
    """Return the family of a backbone and the backbone, which unpickles three times faster than it is copied."""
    with torch.device("meta"):
        backbone = build_backbone(name, weights="random", image_size=image_size, seed=0)
    return backbone.family, pickle.dumps(backbone)


def _count_on(method: str, name: str, backbones: Mapping[int, tuple[str, bytes]]) -> dict[str, dict[str, Cell]] | None:
    made = plugins.load("methods", method)
    config = plan.plan({"method": {"name": method}, "backbone": {"name": name}}, plugins.vocabulary).method
    counted: dict[str, dict[str, Cell]] = {}
    for size, (family, pickled) in backbones.items():
        if family not in made.families:
            return None
        counted[str(size)] = {}
        for number in TASKS:
            with torch.device("meta"):
                built = made(pickle.loads(pickled), tuple(f"task_{i}" for i in range(number)), config, 0)
            held = held_parameters(built)
            owners = {owner: getattr(held, owner) for owner in OWNERS}
            counted[str(size)][str(number)] = {"execution": built.execution, **owners}
    return counted


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
        UsageError: The file is missing or holds something else.
    """
    try:
        golden = json.loads(path.read_text(encoding="utf-8"))
        list(_cells(golden))
    except OSError as error:
        reason = f"the file cannot be read: {error.strerror}"
    except (ValueError, AttributeError, TypeError) as error:
        reason = f"the file holds no counts: {error}"
    else:
        return golden
    raise UsageError(f"--check {path}: {reason}.\nType: petl-bench params --write {path}")


def differences(old: Golden, new: Golden) -> list[str]:
    """Say, one line each, which counts moved: method, backbone, image size, T, and every owner's old and new number."""
    lines = [f"{method}: in the file, but there is no such method now" for method in sorted(old.keys() - new.keys())]
    lines += [f"{method}: a method that is not in the file" for method in sorted(new.keys() - old.keys())]
    both = old.keys() & new.keys()
    was, now = ({at: cell for at, cell in _cells(golden) if at[0] in both} for golden in (old, new))
    for at in [*was, *(at for at in now if at not in was)]:
        before, after = was.get(at, {}), now.get(at, {})
        moved = [key for key in ("execution", *OWNERS) if before.get(key) != after.get(key)]
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
