"""Augmentation of whole batches, geometry of the labels included."""

import torch
from torch import Tensor

from petl_bench.data.batch import Batch


def flip(batch: Batch, mirrored: Tensor) -> Batch:
    """Mirror the images where ``mirrored`` [B] is true, and the labels with them; normals negate their x component."""
    labels = {task: _mirror(label, mirrored) for task, label in batch.labels.items()}
    if "normals" in labels:
        sign = torch.where(mirrored, -1.0, 1.0).to(labels["normals"])
        labels["normals"] = labels["normals"] * torch.stack([sign, sign.abs(), sign.abs()], 1)[:, :, None, None]
    return Batch(_mirror(batch.images, mirrored), labels)


def _mirror(x: Tensor, mirrored: Tensor) -> Tensor:
    return torch.where(mirrored.view(-1, *[1] * (x.dim() - 1)), x.flip(-1), x)
