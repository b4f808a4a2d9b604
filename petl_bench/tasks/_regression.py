"""Tasks with one real number, or three, for every pixel: L1 distance and errors over all pixels."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable

import numpy as np
from torch import Tensor

from petl_bench.tasks.base import Statistics, TaskSpec, image_sums, mean_map, no_values


class RegressionTask(TaskSpec):
    """Real numbers, the raw output. Labels: [B, H, W] with one channel, else [B, C, H, W]; NaN where there is no truth.

    Metrics over all channels of all valid pixels of the set: ``rmse``, root of the mean squared error, which is not the
    mean of the images' own values; ``mean_absolute_error``. An image's score is its own value of the primary metric.
    """

    fixed_channels = 1

    def is_valid(self, label: Tensor) -> Tensor:
        """Return where [B, H, W] labels [B, C, H, W] are a truth."""
        return label.isfinite().all(dim=1)

    def distance(self, error: Tensor) -> Tensor:
        """Return what the loss is the mean of, from errors of the same shape."""
        return error.abs()

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the mean ``distance`` over channels of the batch's valid pixels."""
        error, valid = self._errors(prediction, label)
        valid = valid if whole is None else self.is_valid(_with_channels(whole))
        return self.distance(error).sum() / (self.channels * valid.sum()).clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return ``absolute_sum`` and ``square_sum`` over channels and valid pixels, and ``valid``, [B] each."""
        error, valid = self._errors(prediction, label)
        return {
            "absolute_sum": image_sums(error.abs().sum(1)),
            "square_sum": image_sums(error.square().sum(1)),
            "valid": valid.sum(dim=(1, 2)),
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from sums over pixels."""
        total = {name: each.sum(axis=0, keepdims=True) for name, each in statistics.items()}
        if not total["valid"][0]:
            return no_values(self)
        return {metric: float(self._of(metric, total)[0]) for metric in self.metrics}

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own value of the primary metric."""
        return self._of(self.primary, statistics)

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, C, H, W] to what is drawn: [B, H, W] of one channel."""
        return prediction[:, 0].float() if self.channels == 1 else prediction.float()

    @abstractmethod
    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw values [H, W] or [H, W, C] on a fixed scale, [H, W, 3]."""

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the mean [C, H, W] at each pixel, of all fixed maps the one with the least ``rmse``."""
        pairs = ((label, self.is_valid(label)) for label in map(_with_channels, labels))
        return mean_map(pairs).float()

    def _errors(self, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
        """Return errors [B, C, H, W] in float32, 0 without truth, and where [B, H, W] there is a truth."""
        truth = _with_channels(label)
        if prediction.shape != truth.shape or truth.shape[1] != self.channels:
            raise ValueError(
                f"Expected a prediction [B, {self.channels}, H, W] and a label of its size, got "
                f"{list(prediction.shape)} and {list(label.shape)}."
            )
        valid = self.is_valid(truth)
        # A label that is no number times a mask of 0 would still be none.
        where = valid.unsqueeze(1)
        return (prediction.float() - truth.where(where, 0)) * where, valid

    def _of(self, metric: str, statistics: Statistics) -> np.ndarray:
        numbers = self.channels * statistics["valid"]
        with np.errstate(invalid="ignore"):  # 0 / 0 is NaN
            if metric == "rmse":
                return (statistics["square_sum"] / numbers) ** 0.5
            return statistics["absolute_sum"] / numbers


def _with_channels(label: Tensor) -> Tensor:
    return label.unsqueeze(1) if label.dim() == 3 else label


def is_missing(value: np.ndarray) -> np.ndarray:
    """Return where [H, W] a value is no number."""
    return ~np.isfinite(value)
