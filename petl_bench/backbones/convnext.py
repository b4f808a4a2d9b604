"""The ConvNeXt family (Liu et al., 2022, https://arxiv.org/abs/2201.03545; V2: 2301.00808), through timm.

A block has no attention; its MLP works on [B, H, W, C], where adapters can stand. In the small variants it is a pair of
1 x 1 convolutions on maps instead, and they have no such place.
"""

from collections.abc import Iterable

from timm.models.convnext import ConvNeXtBlock

from petl_bench.backbones.pyramid import Pyramidal


class ConvNeXtBackbone(Pyramidal):
    """A ConvNeXt trunk."""

    family = "convnext"
    block_types = (ConvNeXtBlock,)
    has = ("mlp", "mlp.fc1", "mlp.fc2")

    def missing(self, needs: Iterable[str]) -> list[str]:
        """Return what of ``needs`` this network lacks: convolutions on maps are no MLP on tokens."""
        convolutional = any(getattr(self.block_module(block), "use_conv_mlp", False) for block in self.blocks)
        lacking = super().missing(needs)
        return [need for need in needs if need in lacking or (convolutional and need in self.has)]
