"""Albedo: the colour of a surface without light and shade."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from petl_bench.tasks._draw import hatched, to_uint8
from petl_bench.tasks._regression import RegressionTask
from petl_bench.tasks.base import TASKS


@TASKS.register("albedo")
class Albedo(RegressionTask):
    """Red, green and blue reflectance, the raw output. Labels: [B, 3, H, W], 0 to 1, all zero without truth.

    ``mean_absolute_error`` over all channels of all valid pixels of the set; ``rmse`` likewise. An image's score is its
    own mean absolute error.
    """

    loss_weight = 1.0
    metrics = {"mean_absolute_error": ("", False, "1"), "rmse": ("", False, "1")}
    primary = "mean_absolute_error"
    fixed_channels = 3

    def is_valid(self, label: Tensor) -> Tensor:
        """Return where [B, H, W] a label [B, 3, H, W] is a reflectance: finite and not all zero."""
        return (label != 0).any(dim=1) & label.isfinite().all(dim=1)

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output to reflectance of the same shape [B, 3, H, W], 0 to 1."""
        return prediction.float().clamp(0, 1)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw reflectance [H, W, 3] as colours [H, W, 3]."""
        return hatched(to_uint8(value), (value == 0).all(axis=-1))
