"""Height: how far above the camera a surface lies."""

from __future__ import annotations

import numpy as np

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks._regression import RegressionTask, is_missing
from petl_bench.tasks.base import TASKS

DRAWN_METRES = 2.0
"""Both ends of the colour scale: about the largest heights in rooms, and the same for all pictures."""


@TASKS.register("height")
class Height(RegressionTask):
    """Metres above the camera along the vertical, below it negative, the raw output.

    Labels: [B, H, W], not finite without truth. ``rmse`` and ``mean_absolute_error`` in metres over all valid pixels of
    the set. An image's score is its own ``rmse``.
    """

    loss_weight = 2.0
    metrics = {"rmse": ("m", False, "1"), "mean_absolute_error": ("m", False, "1")}
    primary = "rmse"
    fixed_channels = 1

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw metres [H, W] on a fixed scale from -2 to 2 m, [H, W, 3]."""
        return draw_scalar((value / DRAWN_METRES + 1) / 2, is_missing(value))
