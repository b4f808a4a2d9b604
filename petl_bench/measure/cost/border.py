"""Tells on which side of the features a backward pass is, so that its work is the encoder's or the decoders'."""

from collections.abc import Mapping

from torch import Tensor
from torch.autograd.graph import register_multi_grad_hook

from petl_bench.features import Features
from petl_bench.measure.cost.laps import Lap


class Border:
    """Ends a lap wherever a backward pass crosses the features.

    autograd runs what was made last first, so that all decoders are done before the encoder begins. A balancer may go
    backwards several times, and whenever a loss is reached again, the encoder was left.
    """

    def __init__(self, lap: Lap) -> None:
        self._lap = lap
        self._is_inside = False

    def around(self, features: Features) -> Features:
        """Return the same features, watched; what needs no gradient is never crossed."""
        watched: list[Tensor] = []

        def alias(level: Tensor) -> Tensor:
            if not level.requires_grad:
                return level
            watched.append(level.view_as(level))  # whose gradient comes from the decoders alone
            return watched[-1]

        shared = None if features.shared is None else tuple(map(alias, features.shared))
        seen = Features(shared, {task: tuple(map(alias, pyramid)) for task, pyramid in features.per_task.items()})
        if watched:
            register_multi_grad_hook(watched, lambda _: self._enter())
        return seen

    def behind(self, losses: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the same losses, watched."""
        for loss in losses.values():
            if loss.requires_grad:
                loss.register_hook(lambda _: self._leave())
        return dict(losses)

    def close(self) -> None:
        """End the last backward pass on the side where it came to."""
        self._lap("encoder" if self._is_inside else "decoders")
        self._is_inside = False

    def _enter(self) -> None:
        self._lap("decoders")
        self._is_inside = True

    def _leave(self) -> None:
        if self._is_inside:
            self.close()
