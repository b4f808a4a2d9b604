"""The curve of a training: losses averaged over equal stretches of it."""

from collections.abc import Mapping
from typing import Any

from petl_bench.records.run import HistoryPoint

HISTORY_POINTS = 50


class History:
    """Averages the losses over equal stretches of the run; ``HISTORY_POINTS`` of them, or one a step."""

    def __init__(self, steps: int) -> None:
        self.points: list[HistoryPoint] = []
        self._every = max(1, steps // HISTORY_POINTS)
        self._steps = steps
        self._pending: list[tuple[float, Mapping[str, float]]] = []

    def add(self, step: int, loss: float, losses: Mapping[str, float]) -> None:
        """Note the total loss of a step, and those by task."""
        self._pending.append((loss, losses))
        self.skip(step)

    def skip(self, step: int) -> None:
        """Count a step without losses; a stretch of such steps alone has no point."""
        if not self._pending:
            return
        if step % self._every and step != self._steps:
            return
        number = len(self._pending)
        losses = self._pending[0][1]
        means = {task: sum(point[task] for _, point in self._pending) / number for task in losses}
        self.points.append(
            HistoryPoint(step=step, loss=sum(total for total, _ in self._pending) / number, losses=means)
        )
        self._pending = []

    def state_dict(self) -> dict[str, Any]:
        """Return the points and the stretch that has begun, as plain values."""
        return {"points": [point.model_dump() for point in self.points], "pending": list(self._pending)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
        self.points = [HistoryPoint.model_validate(point) for point in state["points"]]
        self._pending = list(state["pending"])
