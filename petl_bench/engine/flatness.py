"""How flat the loss of every task is at the end of a training: a line through all steps of its last fifth."""

import math
from collections.abc import Mapping
from typing import Any

from petl_bench.records.run import EndSlope

LAST = 5
"""The line goes through the last one of so many parts of the steps."""
FEWEST = 10
"""Fewer steps have a scatter that tells nothing."""


class EndSlopes:
    """Least squares in running sums: no loss is kept, and a resumed training goes on bitwise.

    Args:
        steps: Of the whole training.
    """

    def __init__(self, steps: int) -> None:
        self._start = steps - steps // LAST
        self._sums: dict[str, list[float]] = {}

    def add(self, step: int, losses: Mapping[str, float]) -> None:
        """Take the losses of a step, the first of which is 1."""
        x = float(step - self._start)
        if x <= 0:
            return
        for task, y in losses.items():
            sums = self._sums.setdefault(task, [0.0] * 6)
            for place, term in enumerate((1.0, x, y, x * x, x * y, y * y)):
                sums[place] += term

    def slopes(self) -> dict[str, EndSlope]:
        """Return the slope of every task, in % of its mean loss for 100 steps; none of a task with too few steps."""
        found = {task: _line(*sums) for task, sums in self._sums.items()}
        return {task: one for task, one in found.items() if one is not None}

    def state_dict(self) -> dict[str, Any]:
        """Return the sums."""
        return {task: list(sums) for task, sums in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from the sums of a training of the same length."""
        self._sums = {task: list(sums) for task, sums in state.items()}


def _line(n: float, x: float, y: float, xx: float, xy: float, yy: float) -> EndSlope | None:
    if n < FEWEST or y <= 0 or not math.isfinite(yy):
        return None
    spread = xx - x * x / n
    slope = (xy - x * y / n) / spread
    left = max(0.0, yy - y * y / n - slope * slope * spread)
    error = math.sqrt(left / (n - 2) / spread)
    in_percent = 100 * 100 / (y / n)
    return EndSlope(percent=in_percent * slope, error=in_percent * error, steps=int(n))
