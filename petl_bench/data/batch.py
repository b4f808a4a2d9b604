"""What a data set gives: one image with its labels, and a stack of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image and its labels.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        labels: By task: [H, W], or [H, W, 3] for normals (x right, y up, z towards the camera). Classes and binary maps
            are integers with 255 for no truth; depth is in metres, 0 without truth, normals are all zero without.
        id: Name of the image in its split.
    """

    image: np.ndarray
    labels: Mapping[str, np.ndarray]
    id: str


@dataclass(frozen=True)
class Batch:
    """Images float32 [B, 3, H, W] in 0..1 and labels by task, [B, H, W] or [B, 3, H, W]."""

    images: Tensor
    labels: Mapping[str, Tensor]

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        labels = {task: label.to(device, non_blocking=True) for task, label in self.labels.items()}
        return Batch(self.images.to(device, non_blocking=True), labels)

    def split(self, parts: int) -> "tuple[Batch, ...]":
        """Cut the batch into so many parts of nearly equal size; one with fewer images than parts, into its images."""
        if parts == 1:
            return (self,)
        images = self.images.tensor_split(min(parts, len(self.images)))
        labels = {task: label.tensor_split(len(images)) for task, label in self.labels.items()}
        return tuple(
            Batch(part, {task: cut[number] for task, cut in labels.items()}) for number, part in enumerate(images)
        )

    def pin_memory(self) -> "Batch":
        """Copy the batch into pinned memory, from where an accelerator reads without waiting."""
        return Batch(self.images.pin_memory(), {task: label.pin_memory() for task, label in self.labels.items()})


def to_batch(images: np.ndarray, labels: Mapping[str, np.ndarray]) -> Batch:
    """Turn stored arrays [B, H, W, ...] into a batch: images in 0..1, class maps int64, the rest float32."""
    tensors: dict[str, Tensor] = {}
    for task, label in labels.items():
        if label.dtype.kind in "ui":
            tensors[task] = torch.from_numpy(label.astype(np.int64))
        else:
            tensor = torch.from_numpy(label.astype(np.float32))
            tensors[task] = tensor.movedim(-1, 1).contiguous() if tensor.dim() == 4 else tensor
    pixels = torch.from_numpy(images.astype(np.float32)).movedim(-1, 1).contiguous()
    return Batch(pixels / 255.0, tensors)
