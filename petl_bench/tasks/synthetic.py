"""A task without meaning, for counting and timing with more tasks than a dataset has."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._draw import draw_scalar
from petl_bench.tasks.base import TASKS, Metric, TaskSpec, image_sums, mean_map, single_channel


@TASKS.register("synthetic")
class Synthetic(TaskSpec):
    """Regression of one number per pixel. Labels: float [B, H, W], all valid. Its values say nothing about a method."""

    loss_weight = 1.0
    label_resize = "nearest"
    ignore = None
    convention = "mean_absolute_error"
    convention_version = 1
    primary = "mean_absolute_error"
    unit = ""
    higher_is_better = False
    fixed_channels = 1

    def loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the L1 distance, mean over the pixels of the batch."""
        return (single_channel(prediction, label) - label).abs().mean()

    def metric(self) -> SyntheticMetric:
        """Return an empty ``SyntheticMetric``."""
        return SyntheticMetric()

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, 1, H, W] to values [B, H, W]."""
        return prediction[:, 0].float()

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw values [H, W] on a fixed scale from 0 to 1, [H, W, 3]."""
        return draw_scalar(value, np.zeros(value.shape, dtype=bool))

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean value [1, H, W] at each pixel."""
        return mean_map((label.unsqueeze(1), torch.ones_like(label, dtype=torch.bool)) for label in labels).float()


class SyntheticMetric(Metric):
    """Mean absolute error over all pixels of the set; an image's score is its own."""

    def __init__(self) -> None:
        self._sum = 0.0
        self._pixels = 0

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add raw output [B, 1, H, W] and labels [B, H, W]; return each image's mean absolute error [B]."""
        sums = image_sums((single_channel(prediction, label) - label).abs())
        self._sum += float(sums.sum())
        self._pixels += label.numel()
        return sums / (label.shape[-1] * label.shape[-2])

    def compute(self) -> dict[str, float]:
        """Return ``mean_absolute_error``."""
        return {"mean_absolute_error": self._sum / self._pixels if self._pixels else float("nan")}
