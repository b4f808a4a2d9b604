"""Disparity: inverse depth, in no unit."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks.base import TASKS, Statistics, image_sums, no_values, single_channel
from petl_bench.tasks.depth import Depth, is_valid


@TASKS.register("disparity")
class Disparity(Depth):
    """The inverse of the distance of every pixel, the raw output. Labels: [B, H, W], <= 0 or not finite without truth.

    ``absolute_error``: mean over all valid pixels of the set; ``relative_error``: likewise, divided by the truth.
    LibMTL prints both, averaged over batches. An image's score is its own mean absolute error.
    """

    loss_weight = 1.0
    metrics = {"absolute_error": ("", False, "1"), "relative_error": ("", False, "1")}
    primary = "absolute_error"
    fixed_channels = 1

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return sums over valid pixels, [B] each: ``absolute_sum``, ``relative_sum`` and ``valid``."""
        values, valid = single_channel(prediction, label), is_valid(label)
        truth = label.float().where(valid, 1)
        error = (values - truth).where(valid, 0).abs()
        return {
            "absolute_sum": image_sums(error),
            "relative_sum": image_sums(error / truth),
            "valid": valid.sum(dim=(1, 2)),
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from sums over pixels."""
        valid = int(statistics["valid"].sum())
        if not valid:
            return no_values(self)
        return {
            "absolute_error": float(statistics["absolute_sum"].sum() / valid),
            "relative_error": float(statistics["relative_sum"].sum() / valid),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own mean absolute error."""
        with np.errstate(invalid="ignore"):
            return statistics["absolute_sum"] / statistics["valid"]  # 0 / 0 is NaN

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw values [H, W] on a fixed scale from 0 to 1, [H, W, 3]."""
        return draw_scalar(value, ~(value > 0))
