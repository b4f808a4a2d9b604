"""One method for each way to run: CI asks these for what costs much, and the slow command asks every one."""

from collections.abc import Iterable
from typing import Any

import pytest

EXECUTIONS: dict[str, tuple[str, dict[str, object]]] = {
    "shared": ("bitfit", {"scope": "shared"}),
    "tapped": ("vmt", {}),
    "side": ("side", {}),
    "streamed": ("mtlora", {}),
    "forked": ("lora", {}),
    "branched": ("branched-lora", {"groups": "first+second"}),
    "replicated": ("single", {}),
}
"""Execution: a method, with settings that make it run so."""
ONE_OF_EACH = frozenset(name for name, _ in EXECUTIONS.values())


def daily(names: Iterable[str], chosen: Iterable[str] = ONE_OF_EACH) -> list[Any]:
    """Return names as cases of a test, those that were not chosen marked as slow."""
    kept = frozenset(chosen)
    return [name if name in kept else pytest.param(name, marks=pytest.mark.slow) for name in names]
