"""Edges: the pixels on the boundary between regions."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from petl_bench.tasks._binary import BinaryTask, overlap
from petl_bench.tasks.base import TASKS, Statistics, no_values

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@TASKS.register("edges")
class Edges(BinaryTask):
    """Whether a pixel is on a boundary; BCE with 0.95 for positive and 0.05 for negative terms.

    ``pixel_f``: F = 2 * TP / (predicted + positives), in percent, of the counts pooled over all images, at the best of
    the thresholds 0.01, 0.02 ... 0.99; a pixel is predicted if its probability is above. A predicted pixel is right
    only if that very pixel is labelled: no tolerance, no thinning, no one-to-one matching. It is therefore lower than
    the ODS-F of boundary benchmarks, which is another convention and not computed here.
    An image's score is its own F at threshold 0.5; an empty prediction of an empty truth counts as 1.
    """

    loss_weight = 50.0
    metrics = {"pixel_f": ("%", True, "1[0.01:0.99:99]")}
    primary = "pixel_f"
    thresholds = THRESHOLDS

    def positive_weight(self, label: Tensor) -> float:
        """Return 0.95 for every batch."""
        return 0.95

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return ``pixel_f`` of a set of images from counts over thresholds."""
        if not statistics["valid"].any():
            return no_values(self)
        hits, predicted = (statistics[name].sum(axis=0, dtype=np.int64) for name in ("hits", "predicted"))
        positives = statistics["positives"].sum(dtype=np.int64)
        return {"pixel_f": 100 * float(overlap(2 * hits, predicted + positives).max())}

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own F at threshold 0.5."""
        at = THRESHOLDS.index(0.5)
        hits, predicted = statistics["hits"][:, at], statistics["predicted"][:, at]
        f = overlap(2 * hits, predicted + statistics["positives"])
        return np.where(statistics["valid"] > 0, 100 * f, np.nan)
