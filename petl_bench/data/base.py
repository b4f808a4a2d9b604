"""The DenseDataset contract: images with a label map for every task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from petl_bench.config import DatasetConfig
from petl_bench.registry import Registry

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Sample:
    """One image and its labels.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        labels: By task: [H, W], or [H, W, 3] for normals.
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

    def pin_memory(self) -> "Batch":
        """Copy the batch into pinned memory, from where an accelerator reads without waiting."""
        return Batch(self.images.pin_memory(), {task: label.pin_memory() for task, label in self.labels.items()})


class DenseDataset(ABC):
    """One split of a dataset.

    Attributes:
        tasks: Every task of the dataset in its order, with the number of output channels. A literal.
        primary: By task, the metric that stands for it where that is not the task's own choice.
    """

    name: ClassVar[str]
    tasks: ClassVar[Mapping[str, int]]
    primary: ClassVar[Mapping[str, str]] = {}
    Config: ClassVar[type[DatasetConfig]] = DatasetConfig

    @abstractmethod
    def __init__(
        self,
        config: DatasetConfig,
        split: Split,
        tasks: Sequence[str],
        *,
        root: Path | None = None,
        progress: bool = True,
    ) -> None:
        """Open a split for some of the tasks; files of the others are not needed.

        Args:
            config: Which images, at which size.
            split: Of the images.
            tasks: Whose labels are read.
            root: Folder of the data set's files, if it has any.
            progress: Whether to show how long work takes.
        """

    @classmethod
    @abstractmethod
    def content_hash(cls, config: DatasetConfig) -> str:
        """Return what identifies the content of all splits."""

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of images."""

    @abstractmethod
    def __getitem__(self, index: int) -> Sample:
        """Return one image with its labels."""

    def batch(self, indices: Sequence[int]) -> Batch:
        """Stack images and labels."""
        samples = [self[int(index)] for index in indices]
        labels = {task: np.stack([sample.labels[task] for sample in samples]) for task in samples[0].labels}
        return to_batch(np.stack([sample.image for sample in samples]), labels)


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


DATASETS: Registry[type[DenseDataset]] = Registry("dataset")
