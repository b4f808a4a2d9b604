"""Tasks that give every pixel one of several classes: cross-entropy and dataset-level intersection over union."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench.tasks._draw import draw_classes
from petl_bench.tasks.base import IGNORED, Metric, TaskSpec, different_sizes


class ClassTask(TaskSpec):
    """One class for every pixel. Labels: integers [B, H, W], 255 where there is no truth."""

    def loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the cross-entropy, mean over the valid pixels of the batch."""
        # The fused sum over a 2-D map is not deterministic on CUDA, the unreduced map is.
        losses = F.cross_entropy(prediction.float(), label.long(), ignore_index=IGNORED, reduction="none")
        return losses.sum() / (label != IGNORED).sum().clamp(min=1)

    def metric(self) -> ClassMetric:
        """Return an empty ``ClassMetric``."""
        return ClassMetric(self.channels)

    def decode(self, prediction: Tensor) -> Tensor:
        """Map logits [B, C, H, W] to class numbers [B, H, W], int64."""
        return best_class(prediction)

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


class ClassMetric(Metric):
    """Convention ``miou``: counts of the whole set, then intersection over union per class, then their mean.

    ``miou``: mean over the classes, background included, with TP + FP + FN > 0, as defined by torchmetrics'
    ``MulticlassJaccardIndex(average="macro")``. It is not the mean of the images' own values.
    ``miou_all``: the same with 0 for a class that occurs neither in truth nor in prediction.
    ``pixel_accuracy``: share of valid pixels whose class is right.

    All in percent. An image's score is the mean over the classes that it holds in truth or prediction.
    """

    def __init__(self, num_classes: int) -> None:
        # Importing torchmetrics takes seconds that a listing of tasks should not pay.
        from torchmetrics.classification import MulticlassJaccardIndex

        self.num_classes = num_classes
        self._jaccard = MulticlassJaccardIndex(
            num_classes, average="macro", ignore_index=IGNORED, validate_args=False, sync_on_compute=False
        )

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add logits [B, C, H, W] and labels [B, H, W]; return each image's mean intersection over union [B]."""
        expected = (label.shape[0], self.num_classes, *label.shape[1:])
        if prediction.shape != expected:
            raise ValueError(f"Expected a prediction {list(expected)} for this label, got {list(prediction.shape)}.")
        truth = classes_of(label, self.num_classes)
        classes = best_class(prediction)
        self._jaccard.to(label.device).update(classes, label)

        image = torch.arange(len(label), device=label.device)[:, None, None]
        shape = (len(label), self.num_classes + 1, self.num_classes)
        cells = (image * shape[1] + truth) * shape[2] + classes  # [B, H, W]
        confusion = torch.bincount(cells.flatten(), minlength=shape[0] * shape[1] * shape[2]).view(shape)
        hits, union = _hits_and_union(confusion[:, :-1].cpu())
        return 100 * (hits / union.clamp(min=1)).sum(dim=1) / (union > 0).sum(dim=1)

    def compute(self) -> dict[str, float]:
        """Return ``miou``, ``miou_all`` and ``pixel_accuracy`` in percent."""
        confusion = self._jaccard.confmat.cpu()
        if not confusion.any():
            return dict.fromkeys(("miou", "miou_all", "pixel_accuracy"), float("nan"))
        hits, union = _hits_and_union(confusion)
        return {
            "miou": 100 * float(self._jaccard.compute()),
            "miou_all": 100 * float((hits / union.clamp(min=1)).mean()),
            "pixel_accuracy": 100 * float(hits.sum() / confusion.sum()),
        }


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


def _hits_and_union(confusion: Tensor) -> tuple[Tensor, Tensor]:
    """Return TP and TP + FP + FN per class [..., C] in float64 of counts [..., truth, prediction]."""
    confusion = confusion.double()
    hits = confusion.diagonal(dim1=-2, dim2=-1)
    return hits, confusion.sum(dim=-1) + confusion.sum(dim=-2) - hits
