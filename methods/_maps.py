"""Convolutions of token maps, stacked per task: one grouped convolution for all tasks."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from methods._layers import Start, Tasks, begin
from petl_bench.features import PerTask


def stacked_conv(x: Tensor, weight: Tensor, bias: Tensor, groups: int = 1) -> Tensor:
    """Map [T * B, in, H, W] to [T * B, out, H, W] by kernels [T, out, in / groups, k, k] and b [T, out], k odd."""
    rows, pad = len(weight), weight.shape[-1] // 2
    if rows == 1:
        return F.conv2d(x, weight[0], bias[0], padding=pad, groups=groups)
    beside = x.unflatten(0, (rows, -1)).transpose(0, 1).flatten(1, 2)  # [B, T * in, H, W]
    out = F.conv2d(beside, weight.flatten(0, 1), bias.flatten(), padding=pad, groups=rows * groups)
    return out.unflatten(1, (rows, -1)).transpose(0, 1).flatten(0, 1)


class PerTaskConv(PerTask):
    """y[t] = K[t] * x[t] + b[t], K: [T, C, C, k, k], b: [T, C] from zero; zeros around the map.

    K begins as the identity, or as ``begin`` says.
    """

    vectors = ("bias",)

    def __init__(self, channels: int, size: int, tasks: Tasks, *, start: Start | None) -> None:
        super().__init__(tasks)
        self.start: Start | None = start
        self.weight = self.stack(channels, channels, size, size)
        self.bias = self.stack(channels)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw K, one generator a row, or put ones in its middle."""
        if self.start is None:
            centre = self.weight.shape[-1] // 2
            self.weight[..., centre, centre].diagonal(dim1=1, dim2=2).fill_(1.0)
            return
        for row, weight in zip(self.rows, self.weight, strict=True):
            begin(weight, self.start, draw("weight", row))

    def forward(self, x: Tensor) -> Tensor:
        """Map [T * B, C, H, W] to the same shape."""
        return stacked_conv(x, self.weight, self.bias)
