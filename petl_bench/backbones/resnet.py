"""The ResNet family (He et al., 2016, https://arxiv.org/abs/1512.03385), through timm.

Tokens are [B, H, W, C] between blocks. Batch norms keep the statistics of pre-training, in training too, as is usual
where a network is adapted: they would otherwise move with every batch, trained or not. Scale and shift are parameters.
"""

from collections.abc import Callable
from typing import Any

from timm.models.resnet import BasicBlock, Bottleneck
from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Block, StageInfo
from petl_bench.backbones.pyramid import channels_first, channels_last

LAYERS = ("layer1", "layer2", "layer3", "layer4")


class ResNetBackbone(Backbone):
    """A ResNet trunk; tokens are [B, H, W, C]."""

    family = "resnet"
    takes_image_size = False
    size_multiple = 32

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        trunk.reset_classifier(0, "")
        super().__init__(trunk, mean, std)
        self.stages = tuple(StageInfo(info["num_chs"], info["reduction"]) for info in trunk.feature_info[1:])
        depths = [len(getattr(trunk, layer)) for layer in LAYERS]
        self.blocks = tuple(
            Block(f"{layer}.{b}", s, b, self.stages[s].channels, b == depths[s] - 1)
            for s, layer in enumerate(LAYERS)
            for b in range(depths[s])
        )
        self.train(self.training)

    def train(self, mode: bool = True) -> "ResNetBackbone":
        """Set the mode of everything but the batch norms, which stay in evaluation mode."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def stem(self, image: Tensor) -> Tensor:
        """Convolve and pool images [B, 3, H, W] to [B, H / 4, W / 4, C]."""
        for module in self.stem_modules():
            image = module(image)
        return channels_last(image)

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return what stands in front of the first stage."""
        trunk = self.trunk
        return (trunk.conv1, trunk.bn1, trunk.act1, trunk.maxpool)

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Return the tokens: the first block of a stage halves height and width."""
        return tokens

    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return nothing."""
        return ()

    def run(self, block: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run a block on tokens [B, H, W, C]; timm's own take maps."""
        return channels_last(block(channels_first(x))) if isinstance(block, BasicBlock | Bottleneck) else block(x)

    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Map tokens [B, H, W, C] to [B, C, H, W]."""
        return channels_first(tokens)

    def over_map(self, tokens: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on maps to tokens [B, H, W, C]."""
        return channels_last(operation(channels_first(tokens)))
