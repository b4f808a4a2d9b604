"""LoRA: a trained low-rank update beside the frozen query and value projections.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685 (section 4.1, equation 3); the multi-task setting, rank 4 on
query and value with one trained LayerNorm pair a block, reproduces the parameter count 0.32 M of Liu et al., 2022
(Polyhistor), https://arxiv.org/abs/2210.03265.
Differs from the paper: which LayerNorm is trained is our reading of that count (norm2 of each block, a copy per task);
``norm = "none"`` is LoRA alone. alpha = rank, so the scale is 1.
"""

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from methods._layers import PerTaskLayerNorm
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import PerTask, split
from petl_bench.method import Counts, Method
from petl_bench.registry import METHODS


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
        query, value = self.up.unbind(1)  # [T, C, r] each
        zero = torch.zeros_like(query)
        up = torch.cat([torch.cat([query, zero], 2), torch.cat([zero, zero], 2), torch.cat([zero, value], 2)], 1)
        frozen = self.qkv(x)
        return torch.baddbmm(split(frozen, self.num_rows), hidden, up.mT).view_as(frozen)


@METHODS.register("lora")
class LoRA(Method):
    """Low-rank updates of query and value in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.09685"
    executions = ("forked", "shared")

    class Config(MethodConfig):
        """``scope``: one set per task or one for all; ``norm``: which norm of a block is trained beside."""

        scope: Literal["per-task", "shared"] = "per-task"
        rank: Positive = 4
        norm: Literal["norm2", "none"] = "norm2"

    config: Config

    def adapt(self) -> None:
        """Wrap every qkv, and replace every norm2 by a trained copy."""
        tasks = self.tasks if self.config.scope == "per-task" else None
        for site in self.backbone.sites("attn.qkv"):
            self.backbone.replace(site, LoRAQueryValue(site.module, self.config.rank, tasks))
        for site in self.backbone.sites("norm2") if self.config.norm == "norm2" else ():
            self.backbone.replace(site, PerTaskLayerNorm(site.module, tasks))

    def expected_parameters(self) -> Counts:
        """2 projections x (A + B) = 4 r C a block, and the norm's 2C."""
        norm = 2 if self.config.norm == "norm2" else 0
        one = sum((4 * self.config.rank + norm) * block.width for block in self.backbone.blocks)
        return Counts(per_task=len(self.tasks) * one) if self.config.scope == "per-task" else Counts(shared=one)
