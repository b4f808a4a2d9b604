"""Depth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks.base import TASKS, Metric, TaskSpec, image_sums, mean_map, single_channel

DRAWN_METRES = 10.0
"""End of the colour scale: about the farthest depth in rooms, and the same for all pictures."""


@TASKS.register("depth")
class Depth(TaskSpec):
    """The distance of every pixel in metres, the raw output. Labels: [B, H, W], <= 0 where there is no truth."""

    loss_weight = 1.0
    label_resize = "depth"
    ignore = None
    convention = "rmse"
    convention_version = 1
    primary = "rmse"
    unit = "m"
    higher_is_better = False
    fixed_channels = 1

    def loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the L1 distance in metres, mean over the batch's valid pixels."""
        metres = single_channel(prediction, label)
        valid = is_valid(label)
        # A label that is no number times a mask of 0 would still be none.
        distance = (metres - label.where(valid, 0)).abs() * valid
        return distance.sum() / valid.sum().clamp(min=1)

    def metric(self) -> DepthMetric:
        """Return an empty ``DepthMetric``."""
        return DepthMetric()

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, 1, H, W] to metres [B, H, W]."""
        return prediction[:, 0].float()

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw metres [H, W] on a fixed scale from 0 to 10 m, [H, W, 3]."""
        return draw_scalar(value / DRAWN_METRES, ~(value > 0))

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean depth [1, H, W] at each pixel, of all fixed maps the one with the least ``rmse``."""
        return mean_map((label.unsqueeze(1), is_valid(label)) for label in labels).float()


class DepthMetric(Metric):
    """Convention ``rmse``: root of the mean squared error in metres over all valid pixels of the set.

    It is not the mean of the images' own values. Also ``abs_rel``, the mean of absolute error / truth, and
    ``delta_1_25``, the percentage of pixels with max(prediction / truth, truth / prediction) < 1.25; a prediction
    <= 0 never counts. An image's score is its own root mean squared error.
    """

    def __init__(self) -> None:
        self._squares = 0.0
        self._relative = 0.0
        self._close = 0
        self._valid = 0

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add raw output [B, 1, H, W] and labels [B, H, W]; return each image's rmse [B] in metres."""
        metres = single_channel(prediction, label)
        valid = is_valid(label)
        truth = label.float().where(valid, 1)
        error = (metres - truth).where(valid, 0)
        squares = image_sums(error.square())
        counts = valid.sum(dim=(1, 2)).cpu()
        self._squares += float(squares.sum())
        self._relative += float(image_sums(error.abs() / truth).sum())
        # As products, so that a prediction of 0 divides nothing.
        close = (metres < 1.25 * truth) & (truth < 1.25 * metres) & valid
        self._close += int(close.sum())
        self._valid += int(counts.sum())
        return (squares / counts).sqrt()  # 0 / 0 is NaN

    def compute(self) -> dict[str, float]:
        """Return ``rmse`` in metres, ``abs_rel`` as a plain ratio, ``delta_1_25`` in percent."""
        if not self._valid:
            return dict.fromkeys(("rmse", "abs_rel", "delta_1_25"), float("nan"))
        return {
            "rmse": (self._squares / self._valid) ** 0.5,
            "abs_rel": self._relative / self._valid,
            "delta_1_25": 100 * self._close / self._valid,
        }


def is_valid(label: Tensor) -> Tensor:
    """Return where ``label`` is a depth: above 0 and finite."""
    return (label > 0) & label.isfinite()
