"""Saliency: the pixels of the objects that stand out."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._binary import BinaryTask, counts_over_thresholds, overlap
from petl_bench.tasks.base import IGNORED, TASKS, Statistics, no_values, single_channel

THRESHOLDS = tuple(percent / 100 for percent in range(5, 96, 5))
OF_IMAGES = slice(THRESHOLDS.index(0.2), THRESHOLDS.index(0.9) + 1)
SQUASHED = tuple(math.log(t / (1 - t)) for t in (0.55, 0.6, 0.65, 0.7))
"""What ``sigmoid(probability)`` > t cuts a probability at: a second sigmoid, which InvPT's evaluation applies."""
BETA_SQUARED = 0.3
"""Weighs precision above recall, as saliency benchmarks do (Achanta et al., 2009)."""


@TASKS.register("saliency")
class Saliency(BinaryTask):
    """Whether a pixel is salient.

    Metrics, in percent; a pixel is predicted if its probability is above the threshold, an image without any valid
    pixel is left out, and an empty prediction of an empty truth counts as 1:
    ``max_miou``: each image's intersection over union of the foreground alone, mean over images, best of the thresholds
    0.20, 0.25 ... 0.90. It is neither the mean of foreground and background nor the overlap of pooled counts.
    ``max_f``: likewise, of each image's F = (1 + b) * TP / (predicted + b * positives) with b = beta squared = 0.3. It
    is not the F of mean precision and mean recall, and its best threshold may be another than that of ``max_miou``.
    ``max_f_pooled``: F of the counts pooled over all images, best of the thresholds 0.05, 0.10 ... 0.95: the measure
    that ATRC and InvPT print as maxF. Never to be put beside ``max_miou``, from which it is some twenty points apart.
    ``max_f_invpt``: the same where probabilities go through a sigmoid once more, as in InvPT's evaluation, so that only
    the cuts 0, 0.20, 0.41, 0.62 and 0.85 act. A flaw, for comparison with what it printed alone.
    An image's score is its foreground intersection over union at threshold 0.5.

    The loss is the class-balanced BCE of Xie and Tu, 2015, https://arxiv.org/abs/1504.06375 (equation 2), balanced over
    the whole batch and not image by image.
    """

    loss_weight = 5.0
    metrics = {
        "max_miou": ("%", True, "1[0.20:0.90:15]"),
        "max_f": ("%", True, "1[0.20:0.90:15]"),
        "max_f_pooled": ("%", True, "1[0.05:0.95:19]"),
        "max_f_invpt": ("%", True, "1[0.05:0.95:19]"),
    }
    primary = "max_miou"
    thresholds = THRESHOLDS

    @property
    def fitted_range(self) -> tuple[float, float]:
        """The lowest and the highest threshold of ``max_miou``."""
        return 0.2, 0.9

    def positive_weight(self, label: Tensor) -> Tensor:
        """Return the fraction of negatives among the valid pixels of the whole batch."""
        return (label == 0).sum() / (label != IGNORED).sum().clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Add ``squashed_hits`` and ``squashed_predicted`` [B, 5]: below all cuts of a second sigmoid, and at each."""
        logits = single_channel(prediction, label)
        squashed = counts_over_thresholds(logits, label, SQUASHED)
        everything = ~logits.isnan() & (label != IGNORED)  # a second sigmoid lifts everything above 0.45
        below = {"hits": everything & (label == 1), "predicted": everything}
        extra = {
            f"squashed_{name}": torch.cat([found.sum(dim=(1, 2))[:, None], squashed[name]], dim=1)
            for name, found in below.items()
        }
        return super().statistics(prediction, label) | extra

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from counts over thresholds."""
        labelled = statistics["valid"] > 0
        if not labelled.any():
            return no_values(self)
        hits, predicted = (statistics[name][labelled].astype(np.int64) for name in ("hits", "predicted"))
        positives = statistics["positives"][labelled, None].astype(np.int64)
        pooled = _f(hits.sum(0), predicted.sum(0), positives.sum())
        cut = [statistics[f"squashed_{name}"][labelled].sum(0, dtype=np.int64) for name in ("hits", "predicted")]
        return {
            "max_miou": 100 * float(_iou(hits, predicted, positives).mean(axis=0)[OF_IMAGES].max()),
            "max_f": 100 * float(_f(hits, predicted, positives).mean(axis=0)[OF_IMAGES].max()),
            "max_f_pooled": 100 * float(pooled.max()),
            "max_f_invpt": 100 * float(_f(cut[0], cut[1], positives.sum()).max()),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's foreground intersection over union at threshold 0.5."""
        at = THRESHOLDS.index(0.5)
        iou = _iou(statistics["hits"][:, at], statistics["predicted"][:, at], statistics["positives"])
        return np.where(statistics["valid"] > 0, 100 * iou, np.nan)


def _iou(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    return overlap(hits, predicted + positives - hits)


def _f(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray) -> np.ndarray:
    return overlap((1 + BETA_SQUARED) * hits, predicted + BETA_SQUARED * positives)
