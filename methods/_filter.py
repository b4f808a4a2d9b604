"""Depth-wise 3 x 3 filters of low-rank features: made from the features themselves, or one per task."""

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.features import Keyed, PerTask

TAPS = 9
EPSILON = 1e-10


class DynamicFilter(Keyed):
    """Every map is filtered by kernels made from its own mean: the dynamic task filter of TADFormer, shared by tasks.

    raw = W mean(x) + b [r, 9],   kernel = (raw - mean(raw)) / (std(raw) + eps) * gain + offset, over the nine taps.
    The normalisation is that of Zhou et al., 2021, Decoupled Dynamic Filter Networks, https://arxiv.org/abs/2104.14107.
    """

    def __init__(self, rank: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(TAPS * rank, rank))
        self.bias, self.gain, self.offset = (nn.Parameter(torch.zeros(TAPS * rank)) for _ in range(3))

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw W and b as torch does those of a convolution, gains by ReLU's rule for three taps, offsets normal."""
        bound = 1 / math.sqrt(self.weight.shape[-1])
        self.weight.uniform_(-bound, bound, generator=draw("weight", ""))
        self.bias.uniform_(-bound, bound, generator=draw("bias", ""))
        self.gain.normal_(0, math.sqrt(2) / 3, generator=draw("gain", ""))
        self.offset.normal_(generator=draw("offset", ""))

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps [N, H, W, r], each by its own kernels."""
        number, height, width, rank = x.shape
        raw = F.linear(x.mean((1, 2)), self.weight, self.bias).unflatten(1, (rank, TAPS))
        normed = (raw - raw.mean(-1, keepdim=True)) / (raw.std(-1, keepdim=True) + EPSILON)
        kernels = (normed.flatten(1) * self.gain + self.offset).view(-1, 1, 3, 3)
        maps = x.permute(0, 3, 1, 2).reshape(1, -1, height, width)
        out = F.conv2d(maps, kernels, padding=1, groups=number * rank)
        return out.view(number, rank, height, width).permute(0, 2, 3, 1)


class StaticFilter(PerTask):
    """Kernels [T, r, 1, 3, 3] and biases [T, r] of every task's own."""

    def __init__(self, rank: int, tasks: tuple[str, ...]) -> None:
        super().__init__(tasks)
        self.weight, self.bias = self.stack(rank, 1, 3, 3), self.stack(rank)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw as torch does for a depth-wise convolution, one generator a row."""
        for name, parameter in (("weight", self.weight), ("bias", self.bias)):
            for row, values in zip(self.rows, parameter, strict=True):
                values.uniform_(-1 / 3, 1 / 3, generator=draw(name, row))

    def forward(self, x: Tensor) -> Tensor:
        """Filter maps [T * N, H, W, r], those of a task by its kernels."""
        tasks, (height, width, rank) = self.num_rows, x.shape[1:]
        maps = x.unflatten(0, (tasks, -1)).permute(1, 0, 4, 2, 3).reshape(-1, tasks * rank, height, width)
        out = F.conv2d(maps, self.weight.flatten(0, 1), self.bias.flatten(), padding=1, groups=tasks * rank)
        return out.unflatten(1, (tasks, rank)).permute(1, 0, 3, 4, 2).flatten(0, 1)
