"""What a data set gives: one image with its labels, and a stack of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """One image and its labels.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        labels: By task: [H, W], or [H, W, 3] for normals (x right, y up, z towards the camera) and albedo. Classes and
            binary maps are integers with 255 for no truth; the others are real numbers, with ``REAL_WITHOUT_TRUTH`` of
            ``geometry.py`` where there is none.
        id: Name of the image in its split.
    """

    image: np.ndarray
    labels: Mapping[str, np.ndarray]
    id: str


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class Native:
    """An image of a batch at its own size: its labels, [1, H, W] or [1, 3, H, W], and where in the input it lies."""

    labels: Mapping[str, Tensor]
    box: Box


@dataclass(frozen=True)
class Batch:
    """Images float32 [B, 3, H, W] in 0..1 and labels by task, [B, H, W] or [B, 3, H, W].

    Attributes:
        native: One element an image where predictions are scored at the images' own sizes; else empty.
        unreadable: Names of images that stand in the batch without picture or label, since a file cannot be read.
    """

    images: Tensor
    labels: Mapping[str, Tensor]
    native: tuple[Native, ...] = ()
    unreadable: tuple[str, ...] = ()

    def to(self, device: torch.device) -> "Batch":
        """Copy the batch to a device."""
        labels = {task: label.to(device, non_blocking=True) for task, label in self.labels.items()}
        return replace(self, images=self.images.to(device, non_blocking=True), labels=labels)

    def scored(self, task: str, prediction: Tensor) -> "Iterator[tuple[Tensor, Tensor]]":
        """Yield pairs of prediction and label of one size, given what a network says [B, C, H, W] of this batch."""
        if not self.native:
            yield prediction, self.labels[task]
        for one, image in zip(prediction.split(1), self.native, strict=False):
            box, label = image.box, image.labels[task].to(prediction.device)
            inside = one[..., box.top : box.top + box.height, box.left : box.left + box.width]
            yield F.interpolate(inside, label.shape[-2:], mode="bilinear", align_corners=False), label

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
        labels = {task: label.pin_memory() for task, label in self.labels.items()}
        return replace(self, images=self.images.pin_memory(), labels=labels)


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
