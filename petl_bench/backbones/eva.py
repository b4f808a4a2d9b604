"""timm's Eva family: ViTs with rotary positions, DINOv3 (Siméoni et al., 2025, https://arxiv.org/abs/2508.10104) first.

Taps and maps are those of the plain ViT. Every attention is told the rotary positions of the image tokens, for one
image size. timm adds the biases of queries and values beside the projection here, so that what replaces ``attn.qkv`` is
called.
"""

from typing import Any

import torch
from timm.layers.pos_embed_sincos import apply_rot_embed_cat
from timm.models.eva import EvaAttention, EvaBlock
from torch import Tensor, nn
from torch.nn import functional as F

from petl_bench.backbones.transformer import heads_of, keys_and_values
from petl_bench.backbones.vit import VitBackbone
from petl_bench.errors import UsageError


class EvaBackbone(VitBackbone):
    """An Eva trunk; tokens are [B, N, C] with the prefix tokens first."""

    family = "eva"
    creation = {"dynamic_img_size": False}
    attention = EvaAttention
    block_type = EvaBlock

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        if trunk.rope_mixed:
            raise UsageError(
                "This network has rotary positions of each block's own, which no backbone here walks.\n"
                "Type: petl-bench list backbones"
            )
        _fix_image_size(trunk)
        super().__init__(trunk, mean, std)
        for site in self.sites("attn"):
            site.module.qkv_bias_separate = True

    def stem(self, image: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to tokens [B, N, C], prefix tokens first."""
        trunk = self.trunk
        return trunk.norm_pre(trunk._pos_embed(trunk.patch_embed(image))[0])

    def rope(self) -> Tensor | None:
        """Return the rotary positions of the image tokens."""
        return None if self.trunk.rope is None else self.trunk.rope.get_embed()

    def run(self, block: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run a block on tokens [B, N, C]; timm's own is told the positions."""
        return block(x, rope=self.rope()) if isinstance(block, EvaBlock) else block(x)

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + attention(norm1(x)), [B, N, C]."""
        return x + block.drop_path1(_scaled(block.gamma_1, block.attn(block.norm1(x), rope=self.rope())))

    def attend(
        self, block: Any, x: Tensor, prompts: Tensor | None = None, *, prompts_attend: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend among tokens [B, N, C] and prompts, which stand last and have no position."""
        attention, number = block.attn, x.shape[1]
        heads = attention.num_heads
        biases = [] if attention.q_bias is None else [attention.q_bias, attention.k_bias, attention.v_bias]
        attending = torch.cat([x, prompts], 1) if prompts is not None and prompts_attend else x
        qkv = attention.qkv(attending)
        query, key, value = heads_of(qkv + torch.cat(biases) if biases else qkv, 3, heads)
        if prompts is not None and not prompts_attend:
            kv = keys_and_values(attention.qkv, prompts)
            more_keys, more_values = heads_of(kv + torch.cat(biases[1:]) if biases else kv, 2, heads)
            key, value = torch.cat([key, more_keys], 2), torch.cat([value, more_values], 2)
        query, key = (
            self._turned(attention, norm(part), number)
            for norm, part in ((attention.q_norm, query), (attention.k_norm, key))
        )
        dropout = attention.attn_drop.p if attention.training else 0.0
        values = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout).transpose(1, 2).flatten(2)
        return values[:, :number], values[:, number:] if prompts_attend else None

    def _turned(self, attention: Any, part: Tensor, number: int) -> Tensor:
        """Turn queries or keys [B, heads, N + p, C / heads] of image tokens by their positions."""
        rope, first = self.rope(), attention.num_prefix_tokens
        if rope is None:
            return part
        turned = apply_rot_embed_cat(part[:, :, first:number], rope, half=attention.rotate_half)
        return torch.cat([part[:, :, :first], turned, part[:, :, number:]], 2).type_as(part)

    def attention_branch(self, block: Any, context: Tensor) -> Tensor:
        """Apply norm, output projection, layer scale and drop path to [B, ..., C]."""
        attention = block.attn
        projected = attention.proj_drop(attention.proj(attention.norm(context)))
        return block.drop_path1(_scaled(block.gamma_1, projected))

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply layer scale and drop path."""
        return block.drop_path2(_scaled(block.gamma_2, hidden))


def _scaled(gamma: Tensor | None, x: Tensor) -> Tensor:
    return x if gamma is None else x * gamma


def _fix_image_size(trunk: Any) -> None:
    """Keep a network that takes images of any size to the one that it was created for, whose positions it can keep."""
    if not trunk.dynamic_img_size:
        return
    embed = trunk.patch_embed
    trunk.dynamic_img_size, embed.flatten, embed.strict_img_size = False, True, True
    embed.output_fmt = type(embed.output_fmt)("NCHW")
    if trunk.rope is not None:
        trunk.rope.feat_shape = list(embed.grid_size)
        vars(trunk.rope).pop("pos_embed_cached", None)  # a plain None, where a buffer is to stand
        trunk.rope.register_buffer("pos_embed_cached", None, persistent=False)
        trunk.rope._cache_embed(trunk.rope.feat_shape)
