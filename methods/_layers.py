"""Layers that several methods share."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.features import PerTask, split


class PerTaskLayerNorm(PerTask):
    """LayerNorm whose scale and shift [T, C] belong to a task each; starts as a copy of ``norm``.

    y[t] = (x[t] - mean) / sqrt(var + eps) * weight[t] + bias[t].
    """

    def __init__(self, norm: nn.LayerNorm, tasks: tuple[str, ...] | None) -> None:
        super().__init__(tasks)
        self.eps = norm.eps
        self.weight = nn.Parameter(norm.weight.detach().repeat(self.num_rows, 1))
        self.bias = nn.Parameter(norm.bias.detach().repeat(self.num_rows, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise tokens [T * B, ..., C]."""
        if self.num_rows == 1:
            return F.layer_norm(x, x.shape[-1:], self.weight[0], self.bias[0], self.eps)
        rows = split(F.layer_norm(x, x.shape[-1:], eps=self.eps), self.num_rows)
        return torch.addcmul(self.bias.unsqueeze(1), rows, self.weight.unsqueeze(1)).view_as(x)
