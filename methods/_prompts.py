"""Prompt tokens beside the stream of a frozen trunk, and the block that attends to them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from petl_bench.backbones.base import Block, Carrying
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.features import PerTask


class Prompts(PerTask):
    """Prompts [T, p, C], uniform within +-bound at the start."""

    def __init__(self, number: int, width: int, bound: float, tasks: tuple[str, ...] | None) -> None:
        super().__init__(tasks)
        self.bound = bound
        self.tokens = self.stack(number, width)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw the prompts, one generator a row."""
        for row, tokens in zip(self.rows, self.tokens, strict=True):
            tokens.uniform_(-self.bound, self.bound, generator=draw("tokens", row))

    def forward(self, batch: int) -> Tensor:
        """Return the prompts of every image of a forked batch of that size: [T * B, p, C]."""
        return self.tokens.repeat_interleave(batch // self.num_rows, 0)


class PromptedBlock(Carrying):
    """A frozen block whose attention sees prompts: its own ones, or those that the block before it handed on."""

    def __init__(self, backbone: TransformerBackbone, block: Block, own: Prompts | None, *, hands_on: bool) -> None:
        super().__init__()
        self.block: Any = backbone.block_module(block)
        self.own = own
        self.hands_on = hands_on
        self.attend, self.attention_branch = backbone.attend, backbone.attention_branch
        self.attention_input, self.mlp_half = backbone.attention_input, backbone.mlp_half
        self.carry_over = backbone.carry_over
        self.stage, self.begins_stage = block.stage, block.index == 0

    def forward(self, x: Tensor, carried: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Map tokens [B, ..., C] and carried prompts to the block's tokens and, if it hands them on, its prompts."""
        prompts = self.entering(len(x), carried)
        read = self.attention_input(self.block, x), self.attention_input(self.block, prompts)
        values, own_values = self.attend(self.block, *read, prompts_attend=self.hands_on)
        x = x + self.attention_branch(self.block, values)
        x = x + self.mlp_half(self.block, x)
        if not self.hands_on:
            return x, None
        assert own_values is not None
        prompts = prompts + self.attention_branch(self.block, own_values)
        return x, prompts + self.mlp_half(self.block, prompts)

    def entering(self, batch: int, carried: Tensor | None) -> Tensor:
        """Return the prompts [B, p, C] that enter this block."""
        if self.own is not None:
            return self.own(batch)
        assert carried is not None, "the block before hands no prompts on"
        return self.carry_over(carried, self.stage) if self.begins_stage else carried
