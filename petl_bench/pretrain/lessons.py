"""What the student is shown at a step: changed pictures, what the teacher saw in them, and exact labels."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from petl_bench import draws
from petl_bench.data.base import Batch, to_batch
from petl_bench.data.transforms import flip
from petl_bench.pretrain.recipe import Recipe

BLOCK = 8
"""Pixels on a side of what is hidden together."""


@dataclass(frozen=True)
class Lesson:
    """Images [B, 3, H, W], what the teacher saw in them, and their labels by task."""

    images: Tensor
    features: list[Tensor]
    labels: Mapping[str, Tensor]


def lessons(
    arrays: Mapping[str, np.ndarray], features: Sequence[np.ndarray], recipe: Recipe, first: int
) -> Iterator[Lesson]:
    """Give the lesson of every step from ``first`` (0 is the first one) on; each follows from seed and step alone."""
    for step in range(first, recipe.steps):
        generator = draws.generator(recipe.seed, "pretrain", "batch", str(step))
        rows = torch.randint(len(arrays["image"]), (recipe.batch_size,), generator=generator).tolist()
        mirrored = torch.rand(len(rows), generator=generator) < recipe.mirror_share
        batch = to_batch(arrays["image"][rows], {task: arrays[task][rows] for task in recipe.labels})
        levels = {str(level): torch.from_numpy(each[rows]).float() for level, each in enumerate(features)}
        batch = flip(Batch(batch.images, {**batch.labels, **levels}), mirrored)
        images = _hide(_jitter(batch.images, recipe.jitter, generator), recipe.hidden_share, generator)
        yield Lesson(images, [batch.labels[name] for name in levels], batch.labels)


def _jitter(images: Tensor, most: float, generator: torch.Generator) -> Tensor:
    number = len(images)
    gain, contrast, shift = (
        most * (2 * torch.rand(number, channels, 1, 1, generator=generator) - 1) for channels in (3, 1, 1)
    )
    middle = images.mean((1, 2, 3), keepdim=True)
    return (((images - middle) * (1 + contrast) + middle + shift / 2) * (1 + gain / 2)).clamp(0, 1)


def _hide(images: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Make a share of the blocks of every second picture grey."""
    number, _, height, width = images.shape
    blocks = torch.rand(number, 1, height // BLOCK, width // BLOCK, generator=generator) < share
    blocks[1::2] = False
    return images.masked_fill(F.interpolate(blocks.float(), (height, width)).bool(), 0.5)
