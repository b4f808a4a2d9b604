"""What a dense task is: its loss, its metrics, how its labels are drawn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from petl_bench.registry import Registry

IGNORED = 255
"""Label of a pixel without truth in maps of integers."""


Statistics = Mapping[str, np.ndarray]
"""By name, one row an image: all that the values of a metric are made of, [N, ...]."""


class Metric:
    """Collects what the values are made of, image by image, then gives the values of the whole set.

    Statistics are integers or float64 on the CPU, so the batches may lie on any device and their grouping does not
    change the result. Nothing is synchronised between processes.
    """

    def __init__(self, spec: TaskSpec) -> None:
        self._spec = spec
        self._parts: list[Statistics] = []

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add a batch.

        Args:
            prediction: Raw network output [B, C, H, W] at the resolution of the label.
            label: Labels as stored, [B, H, W] or [B, C, H, W].

        Returns:
            One score per image [B], float64 on the CPU, in the unit of the task's own primary value; NaN for an image
            without any valid pixel.
        """
        part = {name: tensor.cpu().numpy() for name, tensor in self._spec.statistics(prediction, label).items()}
        self._parts.append(part)
        return torch.from_numpy(self._spec.scores(part))

    def statistics(self) -> Statistics:
        """Return what every image contributes, in the order in which they were added."""
        return {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}

    def compute(self) -> dict[str, float]:
        """Return the values of everything added so far by name, all NaN if no pixel was valid."""
        if not self._parts:
            return dict.fromkeys(self._spec.metrics, math.nan)
        return self._spec.values(self.statistics())


class TaskSpec(ABC):
    """A dense prediction task. The class attributes are literals, readable without importing the file."""

    name: ClassVar[str]
    """Set by the registry."""
    loss_weight: ClassVar[float]
    """Weight of the loss in the sum over tasks, as in Maninis et al., 2019, https://arxiv.org/abs/1904.08918."""
    metrics: ClassVar[Mapping[str, tuple[str, bool, str]]]
    """By name: unit ("%", "deg", "m", or "" for a plain number), whether higher is better, and the version of the
    definition, thresholds included. Values of different versions are not comparable."""
    primary: ClassVar[str]
    """The metric that stands for the task unless the data set says another."""
    fixed_channels: ClassVar[int | None] = None
    """Output channels that the task always has; None where the dataset says it."""

    def __init__(self, channels: int) -> None:
        """Describe the task for a network with ``channels`` output channels.

        Raises:
            ValueError: The task has another number of output channels.
        """
        if channels < 1 or self.fixed_channels not in (None, channels):
            raise ValueError(
                f"Task {self.name!r} has {self.fixed_channels or 'one or more'} output channels, got {channels}."
            )
        self.channels = channels

    @abstractmethod
    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the unweighted training loss.

        Args:
            prediction: Raw network output [B, C, H, W].
            label: Labels as stored, [B, H, W] or [B, C, H, W].
            whole: Labels of the batch that this is a part of: the losses of its parts add up to that of the batch.

        Returns:
            A scalar in float32; 0, with a graph, if no pixel is valid.
        """

    @abstractmethod
    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return, for every image, what the values are made of: [B, ...] by name, integers or float64.

        Args:
            prediction: Raw network output [B, C, H, W] at the resolution of the label.
            label: Labels as stored, [B, H, W] or [B, C, H, W].

        Raises:
            ValueError: The shapes do not belong together, or a label is none.
        """

    @abstractmethod
    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return every metric of a set of images from their statistics [N, ...], all NaN if no pixel was valid.

        The rows may be any resample of the images.
        """

    @abstractmethod
    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return one score per image [N], float64, in the unit of the primary value; NaN without any valid pixel."""

    def metric(self) -> Metric:
        """Return an empty accumulator."""
        return Metric(self)

    def convention(self, metric: str, size: tuple[int, int] | None, images: str) -> str:
        """Return the convention of a value: definition and version, resolution, list of images.

        Args:
            metric: A name of ``metrics``.
            size: Height and width in pixels at which it was scored; None: each image at its own.
            images: Which images were scored: ``test:300``.
        """
        resolution = "native" if size is None else f"{size[0]}x{size[1]}"
        return f"{metric}/{self.metrics[metric][2]}@{resolution}/{images}"

    @abstractmethod
    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw output [B, C, H, W] to what is drawn: [B, H, W], or [B, 3, H, W] for normals."""

    def as_label(self, prediction: Tensor) -> Tensor:
        """Return the label, as it is stored, that raw output [B, C, H, W] would be right about."""
        return self.decode(prediction)

    @abstractmethod
    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw one label or decoded prediction [H, W] or [H, W, 3] as RGB [H, W, 3], uint8; no truth is hatched."""

    @abstractmethod
    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Fit the predictor that ignores its input.

        Args:
            labels: Batches of training labels, all of one image size; read once.

        Returns:
            The raw output [C, H, W], float32 on the CPU, that it gives for every image.

        Raises:
            ValueError: There is no label, or they differ in size.
        """


def single_channel(prediction: Tensor, label: Tensor) -> Tensor:
    """Return the only channel [B, H, W] of ``prediction`` [B, 1, H, W] in float32.

    Raises:
        ValueError: The shapes do not belong together; without this check they would broadcast.
    """
    if prediction.ndim != 4 or prediction.shape[1] != 1 or prediction[:, 0].shape != label.shape:
        raise ValueError(
            f"Expected a prediction [B, 1, H, W] and a label [B, H, W], "
            f"got {list(prediction.shape)} and {list(label.shape)}."
        )
    return prediction[:, 0].float()


def no_values(spec: TaskSpec) -> dict[str, float]:
    """Return the values of a set without any valid pixel."""
    return dict.fromkeys(spec.metrics, math.nan)


def image_sums(values: Tensor) -> Tensor:
    """Sum ``values`` [B, H, W] over each image to [B], float64 on the CPU; rows in their own precision."""
    return values.sum(dim=-1).cpu().double().sum(dim=-1)


def mean_map(batches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Average maps over images, pixel by pixel.

    Args:
        batches: Pairs of values [B, C, H, W] and of validity [B, H, W]; read once.

    Returns:
        Means [C, H, W] in float64 on the CPU. A pixel that is valid in no image has the mean over all valid pixels,
        or 0 if there is none.

    Raises:
        ValueError: There is no batch, or the maps differ in size.
    """
    total = count = None
    for values, valid in batches:
        kept = torch.where(valid.unsqueeze(1), values, 0).cpu().double().sum(dim=0)  # [C, H, W]
        seen = valid.cpu().sum(dim=0)  # [H, W]
        if total is None or count is None:
            total, count = kept, seen
        elif total.shape != kept.shape:
            raise different_sizes(total.shape[-2:], kept.shape[-2:])
        else:
            total, count = total + kept, count + seen
    if total is None or count is None:
        raise ValueError("The trivial predictor needs at least one batch of training labels, got none.")
    overall = total.sum(dim=(1, 2), keepdim=True) / count.sum().clamp(min=1)
    return torch.where(count > 0, total / count.clamp(min=1), overall)


def different_sizes(first: Iterable[int], other: Iterable[int]) -> ValueError:
    """Build the error for training labels [H, W] of two sizes."""
    return ValueError(f"The trivial predictor needs labels of one size, got {list(first)} and {list(other)}.")


TASKS: Registry[type[TaskSpec]] = Registry("task")
