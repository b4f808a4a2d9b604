"""Saliency: the pixels of the objects that stand out."""

from __future__ import annotations

import torch
from torch import Tensor

from petl_bench.tasks._binary import BinaryTask, counts_over_thresholds, overlap
from petl_bench.tasks.base import IGNORED, TASKS, Metric, single_channel

THRESHOLDS = tuple(percent / 100 for percent in range(20, 91, 5))
BETA_SQUARED = 0.3
"""Weighs precision above recall, as saliency benchmarks do (Achanta et al., 2009)."""


@TASKS.register("saliency")
class Saliency(BinaryTask):
    """Whether a pixel is salient.

    The loss is the class-balanced BCE of Xie and Tu, 2015, https://arxiv.org/abs/1504.06375 (equation 2), balanced over
    the whole batch and not image by image.
    """

    loss_weight = 5.0
    label_resize = "nearest"
    ignore = 255
    convention = "max_miou"
    convention_version = 1
    primary = "max_miou"
    unit = "%"
    higher_is_better = True
    thresholds = THRESHOLDS

    def positive_weight(self, label: Tensor) -> Tensor:
        """Return the fraction of negatives among the valid pixels of the whole batch."""
        return (label == 0).sum() / (label != IGNORED).sum().clamp(min=1)

    def metric(self) -> SaliencyMetric:
        """Return an empty ``SaliencyMetric``."""
        return SaliencyMetric()


class SaliencyMetric(Metric):
    """Convention ``max_miou``: each image's foreground overlap, mean over images, best of 15 thresholds.

    The thresholds are 0.20, 0.25 ... 0.90 and a pixel is predicted if its probability is above. An image without
    any valid pixel is left out; an empty prediction of an empty truth counts as 1.

    ``max_miou``: the overlap is the intersection over union of the foreground alone. It is neither the mean of
    foreground and background nor the overlap of counts pooled over images.
    ``max_f``: the overlap is F = (1 + b) * TP / (predicted + b * positives) with b = beta squared = 0.3. It is the mean
    of the images' F at one threshold, not the F of their mean precision and mean recall, and its best threshold may be
    another one than that of ``max_miou``.

    Both in percent. An image's score is its foreground intersection over union at threshold 0.5.
    """

    def __init__(self) -> None:
        self._iou = torch.zeros(len(THRESHOLDS), dtype=torch.float64)
        self._f = torch.zeros(len(THRESHOLDS), dtype=torch.float64)
        self._images = 0

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add logits [B, 1, H, W] and labels [B, H, W]; return each image's foreground overlap at 0.5 [B]."""
        counts = counts_over_thresholds(single_channel(prediction, label), label, THRESHOLDS)
        iou = overlap(counts.hits, counts.predicted + counts.positives - counts.hits)  # [B, T]
        f = overlap((1 + BETA_SQUARED) * counts.hits, counts.predicted + BETA_SQUARED * counts.positives)
        labelled = counts.valid > 0
        self._iou += iou[labelled].sum(dim=0)
        self._f += f[labelled].sum(dim=0)
        self._images += int(labelled.sum())
        return (100 * iou[:, THRESHOLDS.index(0.5)]).where(labelled, torch.nan)

    def compute(self) -> dict[str, float]:
        """Return ``max_miou`` and ``max_f`` in percent."""
        if not self._images:
            return dict.fromkeys(("max_miou", "max_f"), float("nan"))
        return {
            "max_miou": 100 * float(self._iou.max()) / self._images,
            "max_f": 100 * float(self._f.max()) / self._images,
        }
