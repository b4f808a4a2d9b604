"""Shadow: the pixels that the main light does not reach."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from petl_bench.tasks._binary import BinaryTask, overlap
from petl_bench.tasks.base import TASKS, Statistics, no_values

THRESHOLDS = tuple(percent / 100 for percent in range(5, 96, 5))


@TASKS.register("shadow")
class Shadow(BinaryTask):
    """Whether a pixel lies in shadow, cast or attached; BCE, both kinds of pixels alike.

    Metrics in percent, of the counts pooled over all images, each at its best of the thresholds 0.05, 0.10 ... 0.95; a
    pixel is predicted if its probability is above:
    ``ber``: balanced error rate, the mean of the share of shadow that is missed and the share of what is lit that is
    taken for shadow, as benchmarks of shadow detection have it at one threshold; a share of no pixels is 0.
    ``iou``: intersection over union of the shadow alone.
    An image's score is its own balanced error rate at threshold 0.5.
    """

    loss_weight = 2.0
    metrics = {"ber": ("%", False, "1[0.05:0.95:19]"), "iou": ("%", True, "1[0.05:0.95:19]")}
    primary = "ber"
    thresholds = THRESHOLDS

    def positive_weight(self, label: Tensor) -> float:
        """Return one half: the loss is half of the plain BCE."""
        return 0.5

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from counts over thresholds."""
        if not statistics["valid"].any():
            return no_values(self)
        hits, predicted, positives, valid = (
            statistics[name].sum(axis=0, dtype=np.int64) for name in ("hits", "predicted", "positives", "valid")
        )
        return {
            "ber": float(_error_rate(hits, predicted, positives, valid).min()),
            "iou": 100 * float(overlap(hits, predicted + positives - hits).max()),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own balanced error rate at threshold 0.5."""
        at = THRESHOLDS.index(0.5)
        hits, predicted = statistics["hits"][:, at], statistics["predicted"][:, at]
        rate = _error_rate(hits, predicted, statistics["positives"], statistics["valid"])
        return np.where(statistics["valid"] > 0, rate, np.nan)


def _error_rate(hits: np.ndarray, predicted: np.ndarray, positives: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the mean, in percent, of the shares of positives that are missed and of negatives that are predicted."""
    missed = (positives - hits) / np.maximum(positives, 1)
    wrong = (predicted - hits) / np.maximum(valid - positives, 1)
    return 50 * (missed + wrong)
