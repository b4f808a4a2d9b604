"""The PVTv2 family (Wang et al., 2022, https://arxiv.org/abs/2106.13797), through timm.

Its attention projects queries apart from keys and values, which come from a reduced map; its MLP convolves between its
two layers. Both are told the height and width. The levels are the outputs of the stages' norms, which the next stage
reads.
"""

from typing import Any

from timm.models.pvt_v2 import Block as PVTBlock
from torch import Tensor, nn

from petl_bench.backbones.pyramid import Pyramidal, channels_first
from petl_bench.backbones.transformer import TransformerBackbone


class PVTv2Backbone(Pyramidal, TransformerBackbone):
    """A PVTv2 trunk; tokens are [B, H, W, C] between blocks, and [B, N, C] for what is inside one."""

    family = "pvtv2"
    has = ("attn", "attn.proj", "mlp", "mlp.fc1", "mlp.fc2", "norm1", "norm2", "attention-halves", "input-norms")

    def stem(self, image: Tensor) -> Tensor:
        """Embed overlapping patches: [B, 3, H, W] to [B, H / 4, W / 4, C]."""
        return self.trunk.patch_embed(image)

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the patch embedding."""
        return (self.trunk.patch_embed,)

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Embed overlapping patches of the map: [B, H, W, C] to [B, H / 2, W / 2, C']."""
        return self.trunk.stages[stage].downsample(channels_first(tokens)) if stage else tokens

    def leave_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Apply the norm of the stage."""
        return self.trunk.stages[stage].norm(tokens)

    def exit_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the norm of the stage."""
        return (self.trunk.stages[stage].norm,)

    def run(self, block: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run a block on tokens [B, H, W, C]; timm's own takes [B, N, C] with height and width."""
        if not isinstance(block, PVTBlock):
            return block(x)
        return block(x.flatten(1, 2), list(x.shape[1:3])).view_as(x)

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = x + attention(norm1(x)), [B, H, W, C]."""
        added = block.drop_path1(block.attn(block.norm1(x).flatten(1, 2), list(x.shape[1:3])))
        return x + added.view_as(x)

    def mlp_hidden(self, block: Any, x: Tensor) -> Tensor:
        """Return MLP(norm2(x')), [B, H, W, C]."""
        return block.mlp(block.norm2(x).flatten(1, 2), list(x.shape[1:3])).view_as(x)

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply the drop path."""
        return block.drop_path2(hidden)
