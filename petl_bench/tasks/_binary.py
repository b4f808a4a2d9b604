"""Tasks with one yes-or-no answer for every pixel: weighted cross-entropy and counts over thresholds."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench.tasks._draw import draw_grey
from petl_bench.tasks.base import IGNORED, TaskSpec, mean_map, single_channel


class BinaryTask(TaskSpec):
    """One logit for every pixel. Labels: 0 or 1 [B, H, W], 255 where there is no truth."""

    fixed_channels = 1
    thresholds: ClassVar[tuple[float, ...]]
    """Probabilities, ascending, at which the prediction is cut."""

    @property
    def fitted_range(self) -> tuple[float, float]:
        """The lowest and the highest threshold of the primary metric."""
        return self.thresholds[0], self.thresholds[-1]

    @abstractmethod
    def positive_weight(self, label: Tensor) -> Tensor | float:
        """Return the weight w of the positive terms of the loss; the negative ones have 1 - w."""

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return w * (positive terms) + (1 - w) * (negative terms) of the BCE, mean over the batch's valid pixels."""
        logits = single_channel(prediction, label)
        whole = label if whole is None else whole
        weight = self.positive_weight(whole)
        positive, valid = label == 1, label != IGNORED
        terms = F.binary_cross_entropy_with_logits(logits, positive.float(), reduction="none")
        weights = torch.where(positive, weight, 1 - weight) * valid
        return (weights * terms).sum() / (whole != IGNORED).sum().clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Count what is predicted above each threshold, for logits [B, 1, H, W] and labels [B, H, W].

        Returns:
            ``hits`` [B, T], true positives at each threshold, ``predicted`` [B, T], ``positives`` [B], ``valid`` [B].
        """
        return counts_over_thresholds(single_channel(prediction, label), label, self.thresholds)

    def decode(self, prediction: Tensor) -> Tensor:
        """Map logits [B, 1, H, W] to probabilities [B, H, W] in float32."""
        return prediction[:, 0].float().sigmoid()

    def as_label(self, prediction: Tensor) -> Tensor:
        """Return the answers [B, H, W] that logits [B, 1, H, W] would be right about, 0 or 1, one byte each."""
        return (self.decode(prediction) > 0.5).to(torch.uint8)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw a label or probabilities [H, W] in grey [H, W, 3]."""
        return draw_grey(value, value == IGNORED)

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return logits [1, H, W] that rise with the frequency of the positive label at each pixel.

        The metric takes the best of its thresholds, so the frequencies are stretched linearly into their range: the
        lowest cut keeps every pixel, the highest none, those between keep the more frequent ones. Like a network,
        the trivial predictor thus gets the best of "everywhere", "nowhere" and the maps between.
        """
        frequency = mean_map(((label == 1).unsqueeze(1).float(), label != IGNORED) for label in labels)
        low, high = self.fitted_range
        spread = frequency.max() - frequency.min()
        level = (frequency - frequency.min()) / spread if spread > 0 else torch.full_like(frequency, 0.5)
        margin = (high - low) / 100
        return (low + margin + level * (high - low - 2 * margin)).logit().float()


def counts_over_thresholds(logits: Tensor, label: Tensor, thresholds: tuple[float, ...]) -> dict[str, Tensor]:
    """Count what ``sigmoid(logits) > threshold`` finds, for all thresholds in one pass.

    Probabilities and thresholds are compared in float32; a NaN is above no threshold.

    Args:
        logits: [B, H, W].
        label: 0 or 1 [B, H, W], 255 where there is no truth.
        thresholds: T probabilities in ascending order.

    Raises:
        ValueError: A label is not 0, 1 or 255.
    """
    valid = label != IGNORED
    wrong = valid & (label != 0) & (label != 1)
    if bool(wrong.any()):
        raise ValueError(f"Labels are 0, 1 or {IGNORED} for none, got {label[wrong].unique().tolist()[:10]}.")
    cuts = torch.tensor(thresholds, dtype=torch.float32, device=logits.device)
    exceeded = torch.bucketize(logits.float().sigmoid().nan_to_num(nan=0.0), cuts)  # how many cuts are below [B, H, W]
    image = torch.arange(len(label), device=label.device)[:, None, None]
    shape = (len(label), len(cuts) + 1, 3)
    kind = label.clamp(max=2)  # 0, 1, or 2 without truth
    cells = (image * shape[1] + exceeded) * shape[2] + kind
    histogram = torch.bincount(cells.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape).to(torch.int32)
    above = histogram.flip(1).cumsum(1).flip(1)  # [B, T + 1, 3]: pixels that exceed at least so many cuts
    return {
        "hits": above[:, 1:, 1],
        "predicted": above[:, 1:, 0] + above[:, 1:, 1],
        "positives": above[:, 0, 1],
        "valid": above[:, 0, 0] + above[:, 0, 1],
    }


def overlap(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divide, with 1 where the denominator is 0: nothing predicted where nothing is."""
    return np.where(denominator > 0, numerator / np.where(denominator > 0, denominator, 1), 1.0)
