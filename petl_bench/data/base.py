"""The DenseDataset contract: images with a label map for every task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch

from petl_bench.config import DatasetConfig
from petl_bench.data.batch import Batch, Sample, to_batch
from petl_bench.data.transforms import flip
from petl_bench.registry import Registry

__all__ = ["DATASETS", "Batch", "DataTask", "DenseDataset", "Sample", "Split", "to_batch"]

Split = Literal["train", "val", "test"]


class DataTask(NamedTuple):
    """What a task of a data set is: the registered task that its labels are of, and the number of output channels."""

    kind: str
    channels: int


class DenseDataset(ABC):
    """One split of a dataset.

    Attributes:
        tasks: Every task of the dataset in its order, with the number of output channels. A literal; empty where the
            files say it (see ``tasks_in``).
        guide: Where the data come from, their licence, the expected tree, known traps. A literal.
        primary: By task, the metric that stands for it where that is not the task's own choice.
    """

    name: ClassVar[str]
    tasks: ClassVar[Mapping[str, int]]
    primary: ClassVar[Mapping[str, str]] = {}
    guide: ClassVar[str] = ""
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
    def tasks_in(cls, root: Path | None) -> Mapping[str, DataTask]:
        """Return the tasks that the files in ``root`` have labels for: ``tasks``, unless the data set looks there.

        Raises:
            UsageError: The files are needed to say it, and are not there.
        """
        return {name: DataTask(name, channels) for name, channels in cls.tasks.items()}

    @classmethod
    def caveats(cls, config: DatasetConfig) -> tuple[str, ...]:
        """Return what a reader of a table has to know about how pictures and labels were treated, a phrase each."""
        return ()

    @classmethod
    def count_train_images(cls, config: DatasetConfig, root: Path | None) -> int:
        """Return how many images are trained on.

        Raises:
            UsageError: The files are needed to say it, and are not there.
        """
        return config.train_images

    @classmethod
    @abstractmethod
    def content_hash(cls, config: DatasetConfig, *, root: Path | None = None, tasks: Sequence[str] = ()) -> str:
        """Return what identifies the content of all splits: images, and labels of ``tasks``. No path enters."""

    @property
    def unreadable(self) -> frozenset[str]:
        """The names of images of which a file could not be read so far, where that does not stop the run."""
        return frozenset()

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

    def augmented(self, indices: Sequence[int], keys: Sequence[int], config: DatasetConfig) -> Batch:
        """Return a training batch: images mirrored by a coin each.

        Args:
            indices: Which images.
            keys: One an image; everything random about an image follows from its key alone.
            config: Of the data set.
        """
        batch = self.batch(indices)
        return flip(batch, torch.tensor([bool(key & 1) for key in keys])) if config.flip else batch


DATASETS: Registry[type[DenseDataset]] = Registry("dataset")
