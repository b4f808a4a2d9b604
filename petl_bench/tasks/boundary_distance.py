"""Boundary distance: how far a pixel lies from the boundary of its object."""

from __future__ import annotations

import numpy as np

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks._regression import RegressionTask, is_missing
from petl_bench.tasks.base import TASKS


@TASKS.register("boundary_distance")
class BoundaryDistance(RegressionTask):
    """The truncated distance to the nearest boundary of an instance, the raw output: 0 there, 1 where it is far.

    Labels: [B, H, W], not finite without truth. ``rmse`` and ``mean_absolute_error`` over all valid pixels of the set.
    An image's score is its own ``rmse``.
    """

    loss_weight = 5.0
    metrics = {"rmse": ("", False, "1"), "mean_absolute_error": ("", False, "1")}
    primary = "rmse"
    fixed_channels = 1

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw distances [H, W] from 0 to 1, [H, W, 3]."""
        return draw_scalar(value, is_missing(value))
