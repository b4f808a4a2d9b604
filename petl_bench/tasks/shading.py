"""Shading: the light that arrives at a surface."""

from __future__ import annotations

import numpy as np

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks._regression import RegressionTask, is_missing
from petl_bench.tasks.base import TASKS

DRAWN = 2.0
"""End of the colour scale: twice the light of a lamp at the middle of the floor."""


@TASKS.register("shading")
class Shading(RegressionTask):
    """The irradiance of every pixel, in no unit, the raw output. Labels: [B, H, W], not finite without truth.

    ``rmse`` and ``mean_absolute_error`` over all valid pixels of the set, without a fit of scale. An image's score is
    its own ``rmse``.
    """

    loss_weight = 5.0
    metrics = {"rmse": ("", False, "1"), "mean_absolute_error": ("", False, "1")}
    primary = "rmse"
    fixed_channels = 1

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw irradiance [H, W] on a fixed scale from 0 to 2, [H, W, 3]."""
        return draw_scalar(value / DRAWN, is_missing(value))
