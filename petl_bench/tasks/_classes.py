"""Tasks that give every pixel one of several classes: cross-entropy and dataset-level intersection over union."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench.tasks._draw import draw_classes
from petl_bench.tasks.base import IGNORED, Statistics, TaskSpec, different_sizes, mean_map, no_values


class ClassTask(TaskSpec):
    """One class for every pixel. Labels: integers [B, H, W], 255 where there is no truth.

    Metrics, from the counts of the whole set, in percent:
    ``miou``: intersection over union per class, mean over the classes, background included, with TP + FP + FN > 0, as
    defined by torchmetrics' ``MulticlassJaccardIndex(average="macro")``. It is not the mean of the images' own values.
    ``miou_all``: the same with 0 for a class that occurs neither in truth nor in prediction.
    ``pixel_accuracy``: share of valid pixels whose class is right.
    An image's score is the mean intersection over union of the classes that it holds in truth or prediction.
    """

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the cross-entropy, mean over the valid pixels of the batch."""
        # The fused sum over a 2-D map is not deterministic on CUDA, the unreduced map is.
        losses = F.cross_entropy(prediction.float(), label.long(), ignore_index=IGNORED, reduction="none")
        return losses.sum() / ((label if whole is None else whole) != IGNORED).sum().clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return ``confusion`` [B, C, C], pixels by true and by predicted class, of logits [B, C, H, W]."""
        expected = (label.shape[0], self.channels, *label.shape[1:])
        if prediction.shape != expected:
            raise ValueError(f"Expected a prediction {list(expected)} for this label, got {list(prediction.shape)}.")
        truth, classes = classes_of(label, self.channels), best_class(prediction)
        image = torch.arange(len(label), device=label.device)[:, None, None]
        shape = (len(label), self.channels + 1, self.channels)
        cells = (image * shape[1] + truth) * shape[2] + classes  # [B, H, W]
        confusion = torch.bincount(cells.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape)
        return {"confusion": confusion[:, :-1].to(torch.int32)}

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from its confusion counts."""
        confusion = statistics["confusion"].sum(axis=0, dtype=np.int64)
        if not confusion.any():
            return no_values(self)
        hits, union = _hits_and_union(confusion)
        overlaps = 100 * hits / union.clip(min=1)
        return {
            "miou": float(overlaps[union > 0].mean()),
            "miou_all": float(overlaps.mean()),
            "pixel_accuracy": float(100 * hits.sum() / confusion.sum()),
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's mean intersection over union."""
        hits, union = _hits_and_union(statistics["confusion"].astype(np.int64))
        with np.errstate(invalid="ignore"):
            return 100 * (hits / union.clip(min=1)).sum(axis=1) / (union > 0).sum(axis=1)  # 0 / 0 is NaN

    def decode(self, prediction: Tensor) -> Tensor:
        """Map logits [B, C, H, W] to class numbers [B, H, W], int64."""
        return best_class(prediction)

    def as_label(self, prediction: Tensor) -> Tensor:
        """Return the classes [B, H, W] that logits [B, C, H, W] would be right about, one byte each."""
        return self.decode(prediction).to(torch.uint8)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw class numbers [H, W] in fixed colours [H, W, 3]."""
        return draw_classes(value, IGNORED)

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return logits [C, H, W] of the most frequent class everywhere (class 0 if no pixel is valid)."""
        counts = torch.zeros(self.channels, dtype=torch.int64)
        size = None
        for label in labels:
            if size is not None and size != label.shape[-2:]:
                raise different_sizes(size, label.shape[-2:])
            size = label.shape[-2:]
            classes = classes_of(label, self.channels).flatten()
            counts += torch.bincount(classes, minlength=self.channels + 1)[:-1].cpu()
        if size is None:
            raise ValueError("The trivial predictor needs at least one batch of training labels, got none.")
        logits = F.one_hot(counts.argmax(), self.channels).float()
        return logits[:, None, None].repeat(1, *size)  # [C, H, W]


class PlacedClassTask(ClassTask):
    """Classes that depend on the place in the picture: floors lie below, ceilings above."""

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the frequency [C, H, W] of every class at each pixel: the most frequent one there is predicted."""

        def counted(label: Tensor) -> tuple[Tensor, Tensor]:
            classes = classes_of(label, self.channels)
            each = F.one_hot(classes, self.channels + 1)[..., :-1].movedim(-1, 1)
            return each.double(), classes < self.channels

        return mean_map(map(counted, labels)).float()


def best_class(prediction: Tensor) -> Tensor:
    """Return the number of the largest logit, the first one of equals: [B, C, H, W] to [B, H, W], int64."""
    # On the CPU ``argmax`` over this dimension takes four times as long.
    return prediction.max(dim=1).indices


def classes_of(label: Tensor, num_classes: int) -> Tensor:
    """Return the class of each pixel [B, H, W], int64, with ``num_classes`` where there is no truth.

    Raises:
        ValueError: A label is neither a class nor 255.
    """
    valid = label != IGNORED
    wrong = valid & ((label < 0) | (label >= num_classes))
    if bool(wrong.any()):
        got = label[wrong].unique().tolist()[:10]
        raise ValueError(f"Class labels are 0 to {num_classes - 1}, or {IGNORED} for none; got {got}.")
    return label.long().where(valid, num_classes)


def _hits_and_union(confusion: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return true positives and TP + FP + FN [..., C] of confusion counts [..., C, C]."""
    hits = confusion.diagonal(axis1=-2, axis2=-1)
    return hits, confusion.sum(axis=-1) + confusion.sum(axis=-2) - hits
