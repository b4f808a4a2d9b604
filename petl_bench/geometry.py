"""The geometry of a transformer trunk at one image size, and what it costs: multiply-adds for one image.

    stem + passes over the blocks x (the blocks of the trunk + what a method adds)

What a method adds is given by what it costs a token of width C, and beside it by what a block pays whatever the number
of tokens, for weights that are generated. Norms, activations, biases and softmax have no multiply-adds.
"""

from collections.abc import Callable
from dataclasses import dataclass

OfWidth = Callable[[int], int]


@dataclass(frozen=True)
class StageGeometry:
    """Blocks of one shape.

    Attributes:
        width: C.
        depth: Number of blocks.
        tokens: Of an image.
        window: Tokens that each of them attends to.
        hidden: Width of the MLP.
        merging: Multiply-adds of what stands in front of the stage.
    """

    width: int
    depth: int
    tokens: int
    window: int
    hidden: int
    merging: int = 0

    @property
    def macs(self) -> int:
        """Merging; in every block qkv, proj and MLP, C (4 C + 2 H) a token, and two products of attention."""
        token = self.width * (4 * self.width + 2 * self.hidden + 2 * self.window)
        return self.merging + self.depth * self.tokens * token


@dataclass(frozen=True)
class Geometry:
    """A trunk: multiply-adds of the patch embedding, and the stages."""

    stem: int
    stages: tuple[StageGeometry, ...]

    @property
    def blocks(self) -> int:
        """Of all stages, what stands in front of them included."""
        return sum(stage.macs for stage in self.stages)

    def per_token(self, of_width: OfWidth) -> int:
        """Sum a cost per token over all blocks."""
        return sum(stage.depth * stage.tokens * of_width(stage.width) for stage in self.stages)

    def per_last_token(self, of_width: OfWidth) -> int:
        """Sum a cost per token over the last block of every stage."""
        return sum(stage.tokens * of_width(stage.width) for stage in self.stages)

    def per_block(self, of_width: OfWidth) -> int:
        """Sum a cost per block, whatever its tokens."""
        return sum(stage.depth * of_width(stage.width) for stage in self.stages)
