"""Centres: a heat map with a bump at the middle of every object."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from petl_bench.tasks._draw import draw_grey
from petl_bench.tasks._regression import RegressionTask, is_missing
from petl_bench.tasks.base import TASKS


@TASKS.register("centres")
class Centres(RegressionTask):
    """The height of the bump of an object's centre, the raw output: 1 in its middle, 0 away from all of them.

    Labels: [B, H, W], not finite without truth. The loss is the squared error, as for heat maps of key points: most
    pixels are 0, and an L1 distance would be content with 0 everywhere. ``rmse`` and ``mean_absolute_error`` over all
    valid pixels of the set. An image's score is its own ``rmse``.
    """

    loss_weight = 20.0
    metrics = {"rmse": ("", False, "1"), "mean_absolute_error": ("", False, "1")}
    primary = "rmse"
    fixed_channels = 1

    def distance(self, error: Tensor) -> Tensor:
        """Return the squared error."""
        return error.square()

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw bumps [H, W] in grey from 0 to 1, [H, W, 3]."""
        return draw_grey(value, is_missing(value))
