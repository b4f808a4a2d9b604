"""A task without meaning, for counting and timing with more tasks than a dataset has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks.base import TASKS, Statistics, TaskSpec, image_sums, mean_map, single_channel


@TASKS.register("synthetic")
class Synthetic(TaskSpec):
    """Regression of one number per pixel. Labels: float [B, H, W], all valid. Its values say nothing about a method."""

    loss_weight = 1.0
    metrics = {"mean_absolute_error": ("", False, "1")}
    primary = "mean_absolute_error"
    fixed_channels = 1

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the L1 distance, mean over the pixels of the batch."""
        return (single_channel(prediction, label) - label).abs().sum() / (label if whole is None else whole).numel()

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return ``error_sum`` and ``pixels``, [B] each."""
        sums = image_sums((single_channel(prediction, label) - label).abs())
        return {"error_sum": sums, "pixels": torch.full(sums.shape, label.shape[-1] * label.shape[-2])}

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return ``mean_absolute_error`` over all pixels."""
        return {"mean_absolute_error": float(statistics["error_sum"].sum() / statistics["pixels"].sum())}

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own mean absolute error."""
        return statistics["error_sum"] / statistics["pixels"]

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, 1, H, W] to values [B, H, W]."""
        return prediction[:, 0].float()

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw values [H, W] on a fixed scale from 0 to 1, [H, W, 3]."""
        return draw_scalar(value, np.zeros(value.shape, dtype=bool))

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean value [1, H, W] at each pixel."""
        return mean_map((label.unsqueeze(1), torch.ones_like(label, dtype=torch.bool)) for label in labels).float()
