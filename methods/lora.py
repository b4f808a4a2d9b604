"""LoRA: a trained low-rank update beside the frozen query and value projections.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685 (section 4.1, equation 3); the multi-task setting, rank 4 on
query and value with one trained LayerNorm pair a block, reproduces the parameter count 0.32 M of Liu et al., 2022
(Polyhistor), https://arxiv.org/abs/2210.03265.
Differs from the paper: which LayerNorm is trained is our reading of that count (norm2 of each block, a copy per task);
``norm = "none"`` is LoRA alone. alpha = rank, so the scale is 1.
"""

import copy
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from methods._layers import PerTaskLayerNorm
from petl_bench.config import Positive
from petl_bench.features import PerTask, split
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


class LoRAQueryValue(PerTask):
    """qkv(x) = W x + b + [B_q A_q x, 0, B_v A_v x], A: [r, C], B: [C, r], one pair per task or one for all."""

    def __init__(self, qkv: nn.Linear, rank: int, tasks: tuple[str, ...] | None) -> None:
        super().__init__(tasks)
        self.qkv = qkv
        self.rank = rank
        width = qkv.in_features
        self.down = self.stack(2, rank, width)
        self.up = self.stack(2, width, rank)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """A is Kaiming-uniform(sqrt 5) as in the released code, B stays zero."""
        bound = 1 / math.sqrt(self.qkv.in_features)
        for row, down in zip(self.rows, self.down, strict=True):
            down.uniform_(-bound, bound, generator=draw("down", row))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, N, C] to queries, keys and values [T * B, N, 3C]."""
        rows = split(x, self.num_rows)  # [T, M, C]
        hidden = rows @ self.down.flatten(1, 2).mT  # [T, M, 2r]
        frozen = self.qkv(x)
        return torch.baddbmm(split(frozen, self.num_rows), hidden, self.block_diagonal().mT).view_as(frozen)

    def block_diagonal(self) -> Tensor:
        """Return B for the fused projection: [T, 3C, 2r] with zero rows for the keys."""
        query, value = self.up.unbind(1)  # [T, C, r] each
        zero = torch.zeros_like(query)
        return torch.cat([torch.cat([query, zero], 2), torch.cat([zero, zero], 2), torch.cat([zero, value], 2)], 1)

    def merged(self, t: int) -> nn.Module:
        """Return the plain projection W + B A of task number ``t``."""
        plain = copy.deepcopy(self.qkv)
        update = self.block_diagonal()[self.row(t)] @ self.down[self.row(t)].flatten(0, 1)
        plain.weight = nn.Parameter(self.qkv.weight + update)
        return plain


@METHODS.register("lora")
class LoRA(Method):
    """Low-rank updates of query and value in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.09685"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")

    class Config(ScopedConfig):
        """``rank``: r; ``norm``: which norm of a block is trained beside."""

        rank: Positive = 4
        norm: Literal["norm2", "none"] = "norm2"

    config: Config

    def adapt(self) -> None:
        """Wrap every qkv, and replace every norm2 by a trained copy."""
        for site in self.backbone.sites("attn.qkv"):
            self.backbone.replace(site, LoRAQueryValue(site.module, self.config.rank, self.scope_tasks))
        for site in self.backbone.sites("norm2") if self.config.norm == "norm2" else ():
            self.backbone.replace(site, PerTaskLayerNorm(site.module, self.scope_tasks))

    def expected_parameters(self) -> Counts:
        """2 projections x (A + B) = 4 r C a block, and the norm's 2C."""
        norm = " + 2*sum_C" if self.config.norm == "norm2" else ""
        return self.scoped(f"4*r*sum_C{norm}", r=self.config.rank, sum_C=sum(self.widths))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """A of both, 2 r C, and B as it is computed: one matrix [3C, 2r] with zeros for the keys."""
        return self.macs_of_passes(geometry, geometry.per_token(lambda c: 2 * self.config.rank * (c + 3 * c)))
