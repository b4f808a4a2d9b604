"""Augmentation of whole batches, geometry of the labels included."""

import torch
from torch import Tensor

from petl_bench.data.batch import Batch
from petl_bench.data.geometry import mirrored


def flip(batch: Batch, turned: Tensor) -> Batch:
    """Mirror the images where ``turned`` [B] is true, and the labels with them."""

    def chosen(mirror: Tensor, x: Tensor) -> Tensor:
        return torch.where(turned.view(-1, *[1] * (x.dim() - 1)), mirror, x)

    labels = {task: chosen(mirrored(label, task), label) for task, label in batch.labels.items()}
    return Batch(chosen(batch.images.flip(-1), batch.images), labels)
