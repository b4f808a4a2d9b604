"""The Swin family (Liu et al., 2021, https://arxiv.org/abs/2103.14030), through timm.

The four levels are the stage outputs before patch merging, without the final norm. timm merges patches at the start of
the next stage.
"""

from typing import Any

from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Block, StageInfo


class SwinBackbone(Backbone):
    """A Swin trunk; tokens are [B, H, W, C]."""

    family = "swin"

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        trunk.prune_intermediate_layers(indices=list(range(len(trunk.layers))), prune_norm=True, prune_head=True)
        super().__init__(trunk, mean, std)
        self.stages = tuple(StageInfo(info["num_chs"], info["reduction"]) for info in trunk.feature_info)
        self.blocks = tuple(
            Block(f"layers.{s}.blocks.{b}", s, b, stage.channels, b == len(trunk.layers[s].blocks) - 1)
            for s, stage in enumerate(self.stages)
            for b in range(len(trunk.layers[s].blocks))
        )

    def stem(self, image: Tensor) -> Tensor:
        """Map images [B, 3, H, W] to tokens [B, H / p, W / p, C]."""
        return self.trunk.patch_embed(image)

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Merge 2 x 2 patches: [B, H, W, C] to [B, H / 2, W / 2, 2C]; nothing in front of the first stage."""
        return self.trunk.layers[stage].downsample(tokens)

    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Map tokens [B, H, W, C] to [B, C, H, W]."""
        return tokens.permute(0, 3, 1, 2)

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the patch embedding."""
        return (self.trunk.patch_embed,)

    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the patch merging in front of ``stage``."""
        return (self.trunk.layers[stage].downsample,)

    @staticmethod
    def attention_half(block: Any, x: Tensor) -> Tensor:
        """Return x' = x + window attention(norm1(x)), [B, H, W, C]."""
        return x + block.drop_path1(block._attn(block.norm1(x)))

    @staticmethod
    def mlp_half(block: Any, x: Tensor) -> Tensor:
        """Return MLP(norm2(x')), [B, H, W, C]."""
        return block.drop_path2(block.mlp(block.norm2(x)))
