"""Edges where ODS-F is what the literature prints: the same task, scored with a tolerance and one-to-one matching."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._binary import overlap
from petl_bench.tasks._boundary import THIN99, boundary_counts, ods_f
from petl_bench.tasks.base import IGNORED, Statistics, no_values, single_channel
from petl_bench.tasks.edges import Edges

READERS = ("thin99", "nms_thin101")


class Boundaries(Edges):
    """Edges with ODS-F: F = 2 P R / (P + R), in percent, of counts pooled over all images, at the best threshold.

    Predictions and labels are thinned and their pixels matched one to one, the nearest pairs first, up to a tolerance
    that is a share of the picture's diagonal. ``ods_f_thin99`` cuts at 0.01, 0.02 ... 0.99 and thins, as
    Multi-Task-Learning-PyTorch does; ``ods_f_nms_thin101`` keeps the crests of lines first and adds the thresholds
    0.001 and 0.999, as ATRC and InvPT do. Neither stands beside the other in one column. The truth is the label of the
    data set at the size of the prediction, where SEISM takes boundaries of the original maps at native size; its
    matching is an assignment of least cost, which finds one to three percent more pairs on lines that are a pixel or
    two off. So figures that SEISM printed are another convention, and somewhat higher.
    An image's score is its own F of ``thin99`` at threshold 0.5; an empty prediction of an empty truth counts as 1.
    """

    tolerance: ClassVar[float]

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Add ``thin99`` [B, 99, 3] and ``nms_thin101`` [B, 101, 3]: matched, predicted and true pixels."""
        probability = single_channel(prediction, label).sigmoid().masked_fill(label == IGNORED, 0).cpu().double()
        counts = [
            boundary_counts(one.numpy(), (truth == 1).cpu().numpy(), tolerance=self.tolerance)
            for one, truth in zip(probability, label, strict=True)
        ]
        return super().statistics(prediction, label) | {
            reader: torch.from_numpy(np.stack([one[reader] for one in counts])) for reader in counts[0]
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from their counts."""
        if not statistics["valid"].any():
            return no_values(self)
        return super().values(statistics) | {f"ods_f_{reader}": ods_f(statistics[reader]) for reader in READERS}

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own F of ``thin99`` at threshold 0.5."""
        matched, predicted, true = statistics["thin99"][:, THIN99.index(0.5)].astype(np.int64).T
        return np.where(statistics["valid"] > 0, 100 * overlap(2 * matched, predicted + true), np.nan)
