"""The base of data sets that lie in files: a subclass says where they lie; the rest is here.

One list of images serves every set of tasks: an image without a label of a task has no truth there. Nothing is written
into the folder.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from petl_bench.config import DatasetConfig
from petl_bench.data.augment import Pipeline
from petl_bench.data.base import Batch, DenseDataset, Sample, Split
from petl_bench.data.batch import Native
from petl_bench.data.geometry import View
from petl_bench.data.layout import Layout, no_truth
from petl_bench.data.protocols import PROTOCOLS, Protocol
from petl_bench.errors import UnreadableError, UsageError

READER_VERSION = 1
"""Raised when the same files give other pictures or labels."""


class FileConfig(DatasetConfig):
    """A data set in files.

    Attributes:
        val_images: Images taken from ``train``, evenly spaced, to tune on; none of them is trained on then.
        protocol: What is done to pictures: ``ours``, or one of the two published families (``data/protocols.py``).
        eval_at: Where predictions are scored: at the size of the ``input``, or at the ``native`` size of each image.
        on_unreadable: What happens at a damaged file: ``stop`` the run with its name, or ``skip`` it. A label is then
            without truth, an image is black and without truth in all tasks; the record names them.
    """

    val_images: Annotated[int, Field(ge=0)] = 0
    protocol: Literal["ours", "mtl", "atrc"] = "ours"
    eval_at: Literal["input", "native"] = "input"
    on_unreadable: Literal["stop", "skip"] = "stop"


class FileDataset(DenseDataset):
    """One split of a data set that lies in files.

    Attributes:
        protocols: Protocols that have other numbers on this data set.
        known_counts: Images of ``train`` and ``test`` of the whole data set, as published.
    """

    Config = FileConfig
    protocols: ClassVar[Mapping[str, Protocol]] = {}
    known_counts: ClassVar[Mapping[str, int]] = {}

    def __init__(
        self,
        config: DatasetConfig,
        split: Split,
        tasks: Sequence[str],
        *,
        root: Path | None = None,
        progress: bool = True,
    ) -> None:
        assert isinstance(config, FileConfig)
        self.layout = self.look(root)
        self._tasks = tuple(tasks)
        self.ids = _chosen(self.layout, split, config)
        _require_files(self.layout, self.ids, self._tasks, self.name)
        protocol = self.protocol_of(config)
        self._is_native = config.eval_at == "native"
        self._pipeline = Pipeline(protocol, config.size, flips=config.flip)
        self._size, self._skips, self._unreadable = config.size, config.on_unreadable == "skip", set[str]()

    @classmethod
    @abstractmethod
    def look(cls, root: Path | None) -> Layout:
        """Return what lies in a folder.

        Raises:
            UsageError: It is not this data set, or not whole.
        """

    @classmethod
    def protocol_of(cls, config: FileConfig) -> Protocol:
        """Return the protocol of a config, with the numbers of this data set."""
        return (PROTOCOLS | dict(cls.protocols))[config.protocol]

    @classmethod
    def caveats(cls, config: DatasetConfig) -> tuple[str, ...]:
        """Return the flaws of the protocol."""
        assert isinstance(config, FileConfig)
        return tuple(f"protocol {config.protocol}: {flaw}" for flaw in cls.protocol_of(config).flaws)

    @classmethod
    def count_train_images(cls, config: DatasetConfig, root: Path | None) -> int:
        """Return how many images of the folder are trained on; without one, of the whole data set as published."""
        assert isinstance(config, FileConfig)
        if root is None and cls.known_counts:
            return min(config.train_images, cls.known_counts["train"] - config.val_images)
        return len(_chosen(cls.look(root), "train", config))

    @classmethod
    def content_hash(cls, config: DatasetConfig, *, root: Path | None = None, tasks: Sequence[str] = ()) -> str:
        """Return a digest of the lists of images and of a sample of files."""
        layout = cls.look(root)
        parts = (cls.name, str(READER_VERSION), layout.packaging.partition(" ")[0], layout.digest(tasks))
        return "/".join(part for part in parts if part)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.ids)

    @property
    def unreadable(self) -> frozenset[str]:
        """The names of images of which a file could not be read so far, and was skipped."""
        return frozenset(self._unreadable)

    def native(self, index: int) -> Sample:
        """Return one image as it lies there.

        Raises:
            UnreadableError: A file is damaged, and none is to be skipped.
        """
        name = self.ids[index]
        image = self._read(name, lambda: self.layout.read_image(name))
        if image is None:
            nothing = {task: no_truth(self.layout.labels[task].kind, self._size) for task in self._tasks}
            return Sample(np.zeros((*self._size, 3), np.uint8), nothing, name)
        return Sample(image, {task: self._label(task, name, image.shape[:2]) for task in self._tasks}, name)

    def _label(self, task: str, name: str, size: tuple[int, ...]) -> np.ndarray:
        height, width = size
        label = self._read(name, lambda: self.layout.read_label(task, name, (height, width)))
        return no_truth(self.layout.labels[task].kind, (height, width)) if label is None else label

    def _read(self, name: str, read: Callable[[], np.ndarray]) -> np.ndarray | None:
        """Return what ``read`` gives of an image; None if its file is damaged and to be skipped."""
        try:
            return read()
        except UnreadableError:
            if not self._skips:
                raise
            self._unreadable.add(name)
            return None

    def __getitem__(self, index: int) -> Sample:
        """Return one image as a network sees it in evaluation."""
        view = self._pipeline.test(self._view(index))
        image = view.image.round().byte().movedim(0, -1).numpy()
        labels = {task: label.movedim(0, -1) if label.dim() == 3 else label for task, label in view.labels.items()}
        return Sample(image, {task: label.numpy() for task, label in labels.items()}, self.ids[index])

    def batch(self, indices: Sequence[int]) -> Batch:
        """Stack images and labels as a network sees them in evaluation."""
        views = [self._view(int(index)) for index in indices]
        seen = _stacked([self._pipeline.test(view) for view in views])
        return replace(seen, native=tuple(self._at_own_size(view) for view in views)) if self._is_native else seen

    def _at_own_size(self, view: View) -> Native:
        return Native(
            {task: _numbers(label)[None] for task, label in view.labels.items()}, self._pipeline.content(view.size)
        )

    def augmented(self, indices: Sequence[int], keys: Sequence[int], config: DatasetConfig) -> Batch:
        """Take images through the training steps of the protocol."""
        drawn = zip(indices, keys, strict=True)
        views = [self._pipeline.train(self._view(index), np.random.default_rng(key)) for index, key in drawn]
        names = (self.ids[index] for index in indices)
        return replace(_stacked(views), unreadable=tuple(name for name in names if name in self._unreadable))

    def _view(self, index: int) -> View:
        sample = self.native(index)
        labels = {task: torch.from_numpy(np.ascontiguousarray(label)) for task, label in sample.labels.items()}
        return View(
            torch.from_numpy(np.ascontiguousarray(sample.image.transpose(2, 0, 1), dtype=np.float32)),
            {task: label.movedim(-1, 0) if label.dim() == 3 else label for task, label in labels.items()},
            {task: self.layout.labels[task].kind for task in self._tasks},
        )


def require_root(name: str, root: Path | None) -> Path:
    """Return the folder of a data set.

    Raises:
        UsageError: None was given, or it is not there.
    """
    if root is None:
        raise UsageError(
            f"The data set {name!r} lies in files: which folder?\n"
            f"Type: --root DIR (or --set runtime.root=DIR)   or: petl-bench data guide {name}   or, for a miniature: "
            f"petl-bench data demo {name} DIR"
        )
    if not root.is_dir():
        raise UsageError(f"{str(root)!r} is not a folder.\nType: petl-bench data guide {name}")
    return root


def _chosen(layout: Layout, split: Split, config: FileConfig) -> tuple[str, ...]:
    if split == "test":
        return layout.splits["test"][: config.test_images]
    ids = layout.splits["train"]
    if config.val_images >= len(ids):
        raise UsageError(
            f"dataset.val_images = {config.val_images}: train has {len(ids)} images, and some must be left to train on."
        )
    apart = {ids[place * len(ids) // config.val_images] for place in range(config.val_images)}
    if split == "val" and not apart:
        raise UsageError(
            "No image is set apart to tune on: tuning on the test images would make their number worthless.\n"
            "Type: --set dataset.val_images=200"
        )
    if split == "val":
        return tuple(name for name in ids if name in apart)
    return tuple(name for name in ids if name not in apart)[: config.train_images]


def _require_files(layout: Layout, ids: Sequence[str], tasks: Sequence[str], dataset: str) -> None:
    missing = [name for name in ids if name not in layout.images.files]
    if missing:
        some = ", ".join(missing[:5]) + (" ..." if missing[5:] else "")
        raise UsageError(
            f"{len(missing)} of {len(ids)} images are missing: {some}\nType: petl-bench data check {dataset} --root DIR"
        )
    for task in tasks:
        if not any(name in layout.labels[task].files for name in ids):
            raise UsageError(
                f"Not one of {len(ids)} images has a label of {task!r}.\n"
                f"Type: petl-bench data guide {dataset}   or leave it out: --tasks "
                f"{','.join(other for other in tasks if other != task) or 'NAMES'}"
            )


def _stacked(views: Sequence[View]) -> Batch:
    labels = {task: torch.stack([view.labels[task] for view in views]) for task in views[0].labels}
    return Batch(
        torch.stack([view.image for view in views]) / 255.0,
        {task: _numbers(label) for task, label in labels.items()},
    )


def _numbers(label: Tensor) -> Tensor:
    """Return a label as tasks take it: float32, or int64."""
    return label.float() if label.is_floating_point() else label.long()
