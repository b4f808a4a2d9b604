"""The Swin V2 family (Liu et al., 2022, https://arxiv.org/abs/2111.09883), through timm.

It differs from Swin where methods look: norms stand behind attention and MLP, the scores are cosines with a trained
temperature, biases of positions come from a network and not from a table, and merged patches are normalised last.
timm adds the biases of queries and values beside the projection here, so that what replaces ``attn.qkv`` is called.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from petl_bench.backbones.swin import SwinBackbone, mixed
from petl_bench.backbones.transformer import PLAIN, heads_of, keys_and_values
from petl_bench.geometry import Geometry

LARGEST_SCALE = math.log(100)


class SwinV2Backbone(SwinBackbone):
    """A Swin V2 trunk; tokens are [B, H, W, C]."""

    family = "swinv2"
    beside_tokens = ("logit_scale", "cpb_mlp")
    has = (*PLAIN, "attention-values", "patch-merging")

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__(trunk, mean, std)
        for site in self.sites("attn"):
            site.module.qkv_bias_separate = True

    def geometry(self) -> Geometry | None:
        """Return None: no closed form is stated."""
        return None

    def attention_input(self, block: Any, x: Tensor) -> Tensor:
        """Return the tokens: the norm stands behind."""
        return x

    def mlp_input(self, block: Any, x: Tensor) -> Tensor:
        """Return the tokens: the norm stands behind."""
        return x

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + norm1(window attention(x)), [B, H, W, C]."""
        return x + block.drop_path1(block.norm1(block._attn(x)))

    def attention_branch(self, block: Any, context: Tensor) -> Tensor:
        """Apply the output projection, the norm and the drop path to [B, ..., C]."""
        return block.drop_path1(block.norm1(block.attn.proj_drop(block.attn.proj(context))))

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply the norm and the drop path."""
        return block.drop_path2(block.norm2(hidden))

    def position_bias(self, attention: Any) -> Tensor:
        """Return what the network of positions adds to the scores inside a window, [1, heads, N, N]."""
        table = attention.cpb_mlp(attention.relative_coords_table).flatten(0, 2)  # [entries, heads]
        index = attention.relative_position_index
        return 16 * torch.sigmoid(table[index.flatten()].unflatten(0, index.shape).permute(2, 0, 1).unsqueeze(0))

    def projected(self, attention: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return scaled unit queries, unit keys and values of tokens [n, N, C]."""
        qkv = attention.qkv(tokens)
        if attention.q_bias is not None:
            qkv = qkv + torch.cat([attention.q_bias, attention.k_bias, attention.v_bias])
        query, key, value = heads_of(qkv, 3, attention.num_heads)
        scale = attention.logit_scale.clamp(max=LARGEST_SCALE).exp()
        return F.normalize(query, dim=-1) * scale, F.normalize(key, dim=-1), value

    def attended_to(self, attention: Any, tokens: Tensor) -> tuple[Tensor, ...]:
        """Return unit keys, and values, of tokens [n, p, C] that attend to nothing."""
        kv = keys_and_values(attention.qkv, tokens)
        if attention.q_bias is not None:
            kv = kv + torch.cat([attention.k_bias, attention.v_bias])
        key, value = heads_of(kv, 2, attention.num_heads)
        return F.normalize(key, dim=-1), value

    def mixed(self, attention: Any, bias: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Mix values [n, heads, N, C / heads] to [n, N, C] by cosines."""
        return mixed(attention, bias, query, key, value, scale=1.0)

    def carry_over(self, prompts: Tensor, stage: int) -> Tensor:
        """Put each prompt in the place of all four merged tokens: [B, p, C] to [B, p, 2C]."""
        merging = self.trunk.layers[stage].downsample
        return merging.norm(merging.reduction(prompts.repeat(1, 1, 4)))
