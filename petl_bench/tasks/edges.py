"""Edges: the pixels on the boundary between regions."""

from __future__ import annotations

import torch
from torch import Tensor

from petl_bench.tasks._binary import BinaryTask, counts_over_thresholds, overlap
from petl_bench.tasks.base import TASKS, Metric, single_channel

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@TASKS.register("edges")
class Edges(BinaryTask):
    """Whether a pixel is on a boundary; BCE with 0.95 for positive and 0.05 for negative terms."""

    loss_weight = 50.0
    label_resize = "nearest"
    ignore = 255
    convention = "pixel_f"
    convention_version = 1
    primary = "pixel_f"
    unit = "%"
    higher_is_better = True
    thresholds = THRESHOLDS

    def positive_weight(self, label: Tensor) -> float:
        """Return 0.95 for every batch."""
        return 0.95

    def metric(self) -> EdgesMetric:
        """Return an empty ``EdgesMetric``."""
        return EdgesMetric()


class EdgesMetric(Metric):
    """Convention ``pixel_f``: F of the pixels at the best of 99 thresholds for the whole set, in percent.

    F = 2 * TP / (predicted + positives) of the counts pooled over all images, at thresholds 0.01, 0.02 ... 0.99; a
    pixel is predicted if its probability is above. A predicted pixel is right only if that very pixel is labelled:
    no tolerance, no thinning, no one-to-one matching. It is therefore lower than the ODS-F of boundary benchmarks,
    which is another convention and not computed here.

    An image's score is its own F at threshold 0.5; an empty prediction of an empty truth counts as 1.
    """

    def __init__(self) -> None:
        self._hits = torch.zeros(len(THRESHOLDS), dtype=torch.float64)
        self._predicted = torch.zeros(len(THRESHOLDS), dtype=torch.float64)
        self._positives = 0.0
        self._valid = 0.0

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add logits [B, 1, H, W] and labels [B, H, W]; return each image's F at 0.5 [B]."""
        counts = counts_over_thresholds(single_channel(prediction, label), label, THRESHOLDS)
        self._hits += counts.hits.sum(dim=0)
        self._predicted += counts.predicted.sum(dim=0)
        self._positives += float(counts.positives.sum())
        self._valid += float(counts.valid.sum())
        f = overlap(2 * counts.hits, counts.predicted + counts.positives)  # [B, T]
        return (100 * f[:, THRESHOLDS.index(0.5)]).where(counts.valid > 0, torch.nan)

    def compute(self) -> dict[str, float]:
        """Return ``pixel_f`` in percent."""
        if not self._valid:
            return {"pixel_f": float("nan")}
        return {"pixel_f": 100 * float(overlap(2 * self._hits, self._predicted + self._positives).max())}
