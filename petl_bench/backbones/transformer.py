"""What transformers alone have: blocks that divide into an attention half and an MLP half, and attention to enter.

    x' = x + attention_branch(attend(attention_input(x))),   block output = x' + mlp_branch(mlp(mlp_input(x')))
Where the norms stand in front, they are the inputs; where they stand behind (Swin v2), they are part of the branches.
"""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.backbones.base import SITES, Backbone

# What a block of the usual kind has, and so what the families share.
PLAIN = (*SITES, "attention-halves", "plain-mlps")


def keys_and_values(qkv: nn.Module, tokens: Tensor) -> Tensor:
    """Project tokens [B, p, C] that are only attended to, and so need no queries, to keys and values [B, p, 2C]."""
    width = tokens.shape[-1]
    if not isinstance(qkv, nn.Linear):
        return qkv(tokens)[..., width:]
    bias = cast(Tensor | None, qkv.bias)  # None without one, whatever the stub says
    return F.linear(tokens, qkv.weight[width:], bias if bias is None else bias[width:])


def heads_of(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split a fused projection [B, N, parts * C] into ``parts`` tensors [B, heads, N, C / heads]."""
    return projected.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class TransformerBackbone(Backbone):
    """A trunk of transformer blocks; ``block`` is always timm's own, whose modules may have been replaced."""

    @abstractmethod
    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + attention(x): what enters the MLP half."""

    def attention_input(self, block: Any, x: Tensor) -> Tensor:
        """Return what the attention reads."""
        return block.norm1(x)

    def mlp_input(self, block: Any, x: Tensor) -> Tensor:
        """Return what the MLP reads."""
        return block.norm2(x)

    def mlp_hidden(self, block: Any, x: Tensor) -> Tensor:
        """Return the output of the MLP on x'."""
        return block.mlp(self.mlp_input(block, x))

    @abstractmethod
    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Turn the MLP's output into what is added to the stream: scale and drop path."""

    def mlp_half(self, block: Any, x: Tensor) -> Tensor:
        """Return what the MLP adds to x', without the residual."""
        return self.mlp_branch(block, self.mlp_hidden(block, x))

    def attend(
        self, block: Any, x: Tensor, prompts: Tensor | None = None, *, prompts_attend: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the values of attention before the output projection, in the layout of the tokens ``x``.

        Families with the ability ``attention-values`` have it.

        Args:
            block: A block whose ``attn`` is timm's; its ``qkv`` may have been replaced.
            x: What ``attention_input`` returns, in the trunk's layout.
            prompts: Extra tokens [B, p, C] that the tokens attend to, likewise, or None.
            prompts_attend: The prompts attend too, to the tokens and to each other.

        Returns:
            The values for ``x``, and for prompts that attend [B, p, C] (averaged over windows), or None.
        """
        raise NotImplementedError

    def attend_scored(self, block: Any, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend as ``attend`` does where prompts attend, and return how prompts and tokens score.

        Families with the ability ``scores-in-windows`` have it.

        Returns:
            Values for ``x``, values for the prompts [B, p, C], and the products of the prompts' queries with the
            tokens' keys [B, heads, p, H, W], neither scaled nor biased.
        """
        raise NotImplementedError

    def over_windows(self, block: Any, x: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation to the windows in which a block attends, [B * nW, rows, columns, C].

        Families with the ability ``scores-in-windows`` have it.
        """
        raise NotImplementedError

    def attention_branch(self, block: Any, context: Tensor) -> Tensor:
        """Turn the values that ``attend`` returns into what is added to the stream: output projection and scale.

        Families with the ability ``attention-values`` have it.
        """
        raise NotImplementedError

    def carry_over(self, prompts: Tensor, stage: int) -> Tensor:
        """Take prompts [B, p, C] through what stands in front of ``stage``: each stands for all tokens merged."""
        return prompts

    def position_attention(self, attention: Any, tables: nn.Module) -> nn.Module:
        """Return the attention with relative-position biases of its own per task.

        Families with the ability ``relative-position-tables`` have it.

        Args:
            attention: The frozen attention.
            tables: A module whose call returns what is added to its table, [rows, entries, heads]; one row for all
                tasks, or one a task for a forked batch.
        """
        raise NotImplementedError
