"""The plain ViT family (Dosovitskiy et al., 2021, https://arxiv.org/abs/2010.11929), through timm.

Taps after blocks L/4, L/2, 3L/4 and L, without the final norm. Prefix tokens take part in the trunk and are dropped at
the taps. The maps are resampled to strides 4, 8, 16 and 32 without parameters, so that every decoder sees one shape.
"""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from timm.layers.attention import Attention
from timm.layers.mlp import Mlp
from timm.models.vision_transformer import Block as VitBlock
from torch import Tensor, nn

from petl_bench.backbones.base import Block, StageInfo
from petl_bench.backbones.transformer import PLAIN, TransformerBackbone, heads_of, keys_and_values
from petl_bench.errors import UsageError
from petl_bench.geometry import Geometry, StageGeometry

STRIDES = (4, 8, 16, 32)


class VitBackbone(TransformerBackbone):
    """A plain ViT trunk; tokens are [B, N, C] with the prefix tokens first."""

    family = "vit"
    has = (*PLAIN, "attention-values", "input-norms")

    attention: ClassVar[type[nn.Module]] = Attention
    block_type: ClassVar[type[nn.Module]] = VitBlock

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        others = {type(block).__name__ for block in trunk.blocks if type(block) is not self.block_type}
        if others:
            raise UsageError(
                f"The blocks of this network are of the kind {', '.join(sorted(others))}; the family {self.family} "
                f"knows {self.block_type.__name__} alone.\nType: petl-bench list backbones"
            )
        depth = len(trunk.blocks)
        trunk.prune_intermediate_layers(indices=[depth - 1], prune_norm=True, prune_head=True)
        super().__init__(trunk, mean, std)
        width = trunk.embed_dim
        ends = [depth * (s + 1) // len(STRIDES) for s in range(len(STRIDES))]
        starts = [0, *ends[:-1]]
        self.stages = tuple(StageInfo(width, stride) for stride in STRIDES)
        self.blocks = tuple(
            Block(f"blocks.{number}", s, number - start, width, number == end - 1)
            for s, (start, end) in enumerate(zip(starts, ends, strict=True))
            for number in range(start, end)
        )
        self.grid = trunk.patch_embed.grid_size
        self.patch = trunk.patch_embed.patch_size

    def stem(self, image: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to tokens [B, N, C], prefix tokens first."""
        trunk = self.trunk
        return trunk.norm_pre(trunk.patch_drop(trunk._pos_embed(trunk.patch_embed(image))))

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Return the tokens: nothing stands between the groups of a plain ViT."""
        return tokens

    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Map tokens [B, N, C] to [B, C, H / stride, W / stride]."""
        height, width = self.grid
        spatial = tokens[:, self.trunk.num_prefix_tokens :]
        level = spatial.transpose(1, 2).unflatten(2, (height, width))
        stride = self.stages[stage].stride
        size = (max(1, height * self.patch[0] // stride), max(1, width * self.patch[1] // stride))
        if size[0] < height:
            return F.adaptive_avg_pool2d(level, size)
        return level if size[0] == height else F.interpolate(level, size, mode="bilinear", align_corners=False)

    def over_map(self, tokens: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on maps to the patches in tokens [B, N, C], and to every prefix token by itself."""
        prefix, patches = tokens.split([self.trunk.num_prefix_tokens, self.grid[0] * self.grid[1]], 1)
        out = operation(patches.transpose(1, 2).unflatten(2, tuple(self.grid))).flatten(2).transpose(1, 2)
        if not prefix.shape[1]:
            return out
        alone = operation(prefix.flatten(0, 1)[:, :, None, None]).flatten(1)
        return torch.cat([alone.unflatten(0, prefix.shape[:2]), out], 1)

    def geometry(self) -> Geometry | None:
        """Return the groups of blocks of a plain ViT: every token attends to all."""
        embed, blocks = self.trunk.patch_embed, list(self.trunk.blocks)
        tokens = embed.num_patches + self.trunk.num_prefix_tokens
        plain = all(type(block.attn) is self.attention and type(block.mlp) is Mlp for block in blocks)
        if not plain or type(embed.proj) is not nn.Conv2d:
            return None
        depths = [sum(block.stage == s for block in self.blocks) for s in range(len(self.stages))]
        hidden, width = blocks[0].mlp.fc1.out_features, self.trunk.embed_dim
        stages = tuple(StageGeometry(width, depth, tokens, tokens, hidden) for depth in depths)
        return Geometry(embed.num_patches * embed.proj.weight.numel(), stages)

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the patch embedding, the dropout of the positions and the norm in front of the blocks."""
        return (self.trunk.patch_embed, self.trunk.pos_drop, self.trunk.norm_pre)

    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return nothing."""
        return ()

    def missing(self, needs: Iterable[str]) -> list[str]:
        """Return what of ``needs`` this network lacks: its attention may be of another form than the plain one."""
        modules = [site.module for site in self.sites("attn")]
        plain = all(type(module) is self.attention and getattr(module, "gate", None) is None for module in modules)
        lacking = super().missing(needs)
        return [need for need in needs if need in lacking or (need == "attention-values" and not plain)]

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + attention(norm1(x)), [B, N, C]."""
        return x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))

    def attend(
        self, block: Any, x: Tensor, prompts: Tensor | None = None, *, prompts_attend: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Attend among tokens [B, N, C] and prompts, which stand last."""
        attention = block.attn
        heads = attention.num_heads
        attending = torch.cat([x, prompts], 1) if prompts is not None and prompts_attend else x
        query, key, value = heads_of(attention.qkv(attending), 3, heads)
        if prompts is not None and not prompts_attend:
            more_keys, more_values = heads_of(keys_and_values(attention.qkv, prompts), 2, heads)
            key, value = torch.cat([key, more_keys], 2), torch.cat([value, more_values], 2)
        dropout = attention.attn_drop.p if attention.training else 0.0
        values = F.scaled_dot_product_attention(
            attention.q_norm(query), attention.k_norm(key), value, dropout_p=dropout
        )
        values = values.transpose(1, 2).flatten(2)
        return values[:, : x.shape[1]], values[:, x.shape[1] :] if prompts_attend else None

    def attention_branch(self, block: Any, context: Tensor) -> Tensor:
        """Apply norm, output projection, layer scale and drop path to [B, ..., C]."""
        attention = block.attn
        return block.drop_path1(block.ls1(attention.proj_drop(attention.proj(attention.norm(context)))))

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply layer scale and drop path."""
        return block.drop_path2(block.ls2(hidden))
