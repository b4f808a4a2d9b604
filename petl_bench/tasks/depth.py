"""Depth."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks.base import TASKS, Statistics, TaskSpec, image_sums, mean_map, no_values, single_channel

DRAWN_METRES = 10.0
"""End of the colour scale: about the farthest depth in rooms, and the same for all pictures."""


@TASKS.register("depth")
class Depth(TaskSpec):
    """The distance of every pixel in metres, the raw output. Labels: [B, H, W], <= 0 or not finite without truth.

    ``rmse``: root of the mean squared error in metres over all valid pixels of the set; it is not the mean of the
    images' own values, which is ``image_rmse``. ``abs_rel``: mean of absolute error / truth. ``delta_1_25``: percentage
    of pixels with max(prediction / truth, truth / prediction) < 1.25; a prediction <= 0 never counts.
    An image's score is its own root mean squared error.
    """

    loss_weight = 1.0
    metrics = {
        "rmse": ("m", False, "1"),
        "image_rmse": ("m", False, "1"),
        "abs_rel": ("", False, "1"),
        "delta_1_25": ("%", True, "1"),
    }
    primary = "rmse"
    fixed_channels = 1

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the L1 distance in metres, mean over the batch's valid pixels."""
        metres = single_channel(prediction, label)
        valid = is_valid(label)
        # A label that is no number times a mask of 0 would still be none.
        distance = (metres - label.where(valid, 0)).abs() * valid
        return distance.sum() / (valid if whole is None else is_valid(whole)).sum().clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return sums over valid pixels, [B] each: ``square_sum``, ``relative_sum``, ``close`` and ``valid``."""
        metres = single_channel(prediction, label)
        valid = is_valid(label)
        truth = label.float().where(valid, 1)
        error = (metres - truth).where(valid, 0)
        # As products, so that a prediction of 0 divides nothing.
        close = (metres < 1.25 * truth) & (truth < 1.25 * metres) & valid
        return {
            "square_sum": image_sums(error.square()),
            "relative_sum": image_sums(error.abs() / truth),
            "close": close.sum(dim=(1, 2)),
            "valid": valid.sum(dim=(1, 2)),
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from sums over pixels."""
        valid = int(statistics["valid"].sum())
        if not valid:
            return no_values(self)
        return {
            "rmse": float((statistics["square_sum"].sum() / valid) ** 0.5),
            "image_rmse": float(np.nanmean(self.scores(statistics))),
            "abs_rel": float(statistics["relative_sum"].sum() / valid),
            "delta_1_25": float(100 * statistics["close"].sum() / valid),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own root mean squared error in metres."""
        with np.errstate(invalid="ignore"):
            return (statistics["square_sum"] / statistics["valid"]) ** 0.5  # 0 / 0 is NaN

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, 1, H, W] to metres [B, H, W]."""
        return prediction[:, 0].float()

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw metres [H, W] on a fixed scale from 0 to 10 m, [H, W, 3]."""
        return draw_scalar(value / DRAWN_METRES, ~(value > 0))

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean depth [1, H, W] at each pixel, of all fixed maps the one with the least ``rmse``."""
        return mean_map((label.unsqueeze(1), is_valid(label)) for label in labels).float()


def is_valid(label: Tensor) -> Tensor:
    """Return where ``label`` is a depth: above 0 and finite."""
    return (label > 0) & label.isfinite()
