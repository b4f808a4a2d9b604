"""Albedo: the colour of a surface without light and shade."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from petl_bench.tasks._draw import hatched, to_uint8
from petl_bench.tasks.base import TASKS, Statistics, TaskSpec, image_sums, mean_map, no_values


@TASKS.register("albedo")
class Albedo(TaskSpec):
    """Red, green and blue reflectance, the raw output. Labels: [B, 3, H, W], 0 to 1, all zero without truth.

    ``mean_absolute_error`` over all channels of all valid pixels of the set; ``rmse`` likewise. An image's score is its
    own mean absolute error.
    """

    loss_weight = 1.0
    metrics = {"mean_absolute_error": ("", False, "1"), "rmse": ("", False, "1")}
    primary = "mean_absolute_error"
    fixed_channels = 3

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the L1 distance, mean over channels of the batch's valid pixels."""
        distance = (prediction.float() - label).abs() * is_valid(label).unsqueeze(1)
        return distance.sum() / (3 * is_valid(label if whole is None else whole).sum()).clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return ``absolute_sum`` and ``square_sum`` over channels and valid pixels, and ``valid``, [B] each."""
        if prediction.shape != label.shape:
            raise ValueError(f"Expected one shape, got {list(prediction.shape)} and {list(label.shape)}.")
        valid = is_valid(label)
        error = (prediction.float() - label) * valid.unsqueeze(1)
        return {
            "absolute_sum": image_sums(error.abs().sum(1)),
            "square_sum": image_sums(error.square().sum(1)),
            "valid": valid.sum(dim=(1, 2)),
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from sums over pixels."""
        numbers = 3 * int(statistics["valid"].sum())
        if not numbers:
            return no_values(self)
        return {
            "mean_absolute_error": float(statistics["absolute_sum"].sum() / numbers),
            "rmse": float((statistics["square_sum"].sum() / numbers) ** 0.5),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own mean absolute error."""
        with np.errstate(invalid="ignore"):
            return statistics["absolute_sum"] / (3 * statistics["valid"])  # 0 / 0 is NaN

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output to reflectance of the same shape [B, 3, H, W], 0 to 1."""
        return prediction.float().clamp(0, 1)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw reflectance [H, W, 3] as colours [H, W, 3]."""
        return hatched(to_uint8(value), (value == 0).all(axis=-1))

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean reflectance [3, H, W] at each pixel."""
        return mean_map((label, is_valid(label)) for label in labels).float()


def is_valid(label: Tensor) -> Tensor:
    """Return where [B, H, W] a label [B, 3, H, W] is a reflectance: finite and not all zero."""
    return (label != 0).any(dim=1) & label.isfinite().all(dim=1)
