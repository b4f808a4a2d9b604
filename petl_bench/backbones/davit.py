"""The DaViT family (Ding et al., 2022, https://arxiv.org/abs/2204.03645), through timm.

Blocks of attention in windows and of attention among channels alternate. Either convolves its tokens in front of the
attention and in front of the MLP, so x' is what the attention half hands to the MLP half, convolution included.
"""

from typing import Any

from timm.models.davit import ChannelBlock, SpatialBlock, window_partition, window_reverse
from torch import Tensor, nn
from torch.nn import functional as F

from petl_bench.backbones.pyramid import Pyramidal, channels_first, channels_last
from petl_bench.backbones.transformer import PLAIN, TransformerBackbone


class DaViTBackbone(Pyramidal, TransformerBackbone):
    """A DaViT trunk."""

    family = "davit"
    block_types = (SpatialBlock, ChannelBlock)
    has = (*PLAIN, "input-norms")

    def named_blocks(self, stage: Any) -> list[tuple[str, nn.Module]]:
        """Return the blocks of both kinds, which timm keeps in pairs."""
        return [
            (f"{pair}.{name}", block)
            for pair, two in stage.blocks.named_children()
            for name, block in two.named_children()
        ]

    def stem(self, image: Tensor) -> Tensor:
        """Embed patches: [B, 3, H, W] to [B, H / 4, W / 4, C]; nothing is padded, see ``size_multiple``."""
        stem = self.trunk.stem
        return channels_last(stem.norm(stem.conv(image)))

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Halve height and width of [B, H, W, C]; nothing in front of the first stage."""
        if not stage:
            return tokens
        down = self.trunk.stages[stage].downsample
        return channels_last(down.conv(down.norm(channels_first(tokens))))

    def attention_half(self, block: Any, x: Tensor) -> Tensor:
        """Return x' = convolve(y + attention(norm1(y))), y = convolve(x), [B, H, W, C]."""
        y = _convolved(block.cpe1, x)
        normed = block.norm1(y)
        if hasattr(block, "window_size"):
            attended = _in_windows(block, normed)
        else:
            attended = block.attn(normed.flatten(1, 2)).view_as(y)
        return _convolved(block.cpe2, y + block.drop_path1(attended))

    def mlp_branch(self, block: Any, hidden: Tensor) -> Tensor:
        """Apply the drop path."""
        return block.drop_path2(hidden)


def _convolved(convolution: nn.Module, x: Tensor) -> Tensor:
    return channels_last(convolution(channels_first(x)))


def _in_windows(block: Any, x: Tensor) -> Tensor:
    """Attend within windows of tokens [B, H, W, C], padded to whole ones."""
    (rows, columns), (height, width) = block.window_size, x.shape[1:3]
    padded = F.pad(x, (0, 0, 0, -width % columns, 0, -height % rows))
    windows = block.attn(window_partition(padded, (rows, columns)).flatten(1, 2))
    merged = window_reverse(windows.unflatten(1, (rows, columns)), (rows, columns), *padded.shape[1:3])
    return merged[:, :height, :width]
