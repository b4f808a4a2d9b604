"""What trunks of four stages with blocks in them share: their levels, and a down-sampling in front of a stage."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Block, StageInfo


class Pyramidal(Backbone):
    """A trunk with ``stages``, each with ``downsample`` and ``blocks``; tokens are [B, H, W, C] between blocks.

    Attributes:
        block_types: timm's blocks, which take maps [B, C, H, W].
    """

    takes_image_size = False
    size_multiple = 32
    block_types: ClassVar[tuple[type[nn.Module], ...]] = ()

    def __init__(self, trunk: Any, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        self.prune(trunk)
        super().__init__(trunk, mean, std)
        self.stages = tuple(StageInfo(info["num_chs"], info["reduction"]) for info in trunk.feature_info)
        paths = [[path for path, _ in self.named_blocks(stage)] for stage in trunk.stages]
        self.blocks = tuple(
            Block(f"stages.{s}.blocks.{path}", s, b, stage.channels, b == len(paths[s]) - 1)
            for s, stage in enumerate(self.stages)
            for b, path in enumerate(paths[s])
        )

    def prune(self, trunk: Any) -> None:
        """Take away what stands behind the last stage."""
        trunk.prune_intermediate_layers(indices=[3], prune_norm=True, prune_head=True)

    def named_blocks(self, stage: Any) -> list[tuple[str, nn.Module]]:
        """Return the blocks of a stage with their paths below its ``blocks``."""
        return list(stage.blocks.named_children())

    def stem(self, image: Tensor) -> Tensor:
        """Run the stem: [B, 3, H, W] to [B, H / 4, W / 4, C]."""
        return channels_last(self.trunk.stem(image))

    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the stem."""
        return (self.trunk.stem,)

    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Halve height and width of tokens [B, H, W, C]; nothing in front of the first stage."""
        return channels_last(self.trunk.stages[stage].downsample(channels_first(tokens))) if stage else tokens

    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the down-sampling in front of ``stage``."""
        return (self.trunk.stages[stage].downsample,) if stage else ()

    def run(self, block: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run a block on tokens [B, H, W, C]; timm's own take maps."""
        return channels_last(block(channels_first(x))) if isinstance(block, self.block_types) else block(x)

    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Map tokens [B, H, W, C] to [B, C, H, W]."""
        return channels_first(tokens)

    def over_map(self, tokens: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on maps to tokens [B, H, W, C]."""
        return channels_last(operation(channels_first(tokens)))


def channels_first(tokens: Tensor) -> Tensor:
    """View tokens [B, H, W, C] as a map [B, C, H, W]."""
    return tokens.permute(0, 3, 1, 2)


def channels_last(level: Tensor) -> Tensor:
    """View a map [B, C, H, W] as tokens [B, H, W, C]."""
    return level.permute(0, 2, 3, 1)
