"""Convpass: a narrow convolution of the token map beside the attention and beside the MLP of every block.

Paper: Jie, Deng, 2022, https://arxiv.org/abs/2207.07039 (section 3.2), and the authors' released code. With
q(h) = h sigmoid(1.702 h) and * a 3 x 3 convolution from r to r channels, zeros around the map,
    x' = x + attention(norm1(x)) + s P(norm1(x)),   block output = x' + MLP(norm2(x')) + s P'(norm2(x'))
    P(n) = W_up q(K * q(W_down n + b_down) + b) + b_up
Differs from the paper: one set per task is our extension; no dropout in front of W_up (0.1 as released), so that a run
repeats bit for bit. As released a prefix token is a map of one pixel, the norms are the block's own, frozen, r = 8 at
every width, W_down is Xavier-uniform, K begins as the identity (``start = "xavier"``: drawn) and W_up at zero. s is
searched for each data set there (0.01 to 100); 1 is the code's default. In a ViT with layer scale the branch stands
outside of it.
"""

from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from methods._layers import PerTaskLinear, Tasks
from methods._maps import PerTaskConv
from petl_bench.backbones.base import Backbone, Block
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.config import Positive
from petl_bench.features import Keyed
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


def quick_gelu(x: Tensor) -> Tensor:
    """Return x sigmoid(1.702 x)."""
    return x * torch.sigmoid(1.702 * x)


class ConvolutionalBypass(nn.Module):
    """s W_up q(K * q(W_down n + b_down) + b) + s b_up on tokens in the trunk's layout."""

    def __init__(
        self, backbone: Backbone, width: int, rank: int, tasks: Tasks, scale: float, start: Literal["xavier"] | None
    ) -> None:
        super().__init__()
        self.down = PerTaskLinear(width, rank, tasks, start="xavier")
        self.conv = PerTaskConv(rank, 3, tasks, start=start)
        self.up = PerTaskLinear(rank, width, tasks, start="zero")
        self.over_map = backbone.over_map
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape."""
        hidden = self.over_map(quick_gelu(self.down(x)), self.conv)
        return self.scale * self.up(quick_gelu(hidden))


class BypassedBlock(Keyed):
    """A frozen block with branches that read its two norms; None where there is no branch."""

    def __init__(
        self, backbone: TransformerBackbone, block: Block, attention: nn.Module, mlp: nn.Module | None
    ) -> None:
        super().__init__()
        self.block: Any = backbone.block_module(block)  # timm's, which no stub describes
        self.attend, self.attention_branch = backbone.attend, backbone.attention_branch
        self.mlp_branch = backbone.mlp_branch
        self.beside_attention, self.beside_mlp = attention, mlp

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape."""
        normed = self.block.norm1(x)
        values, _ = self.attend(self.block, normed)
        x = x + self.attention_branch(self.block, values) + self.beside_attention(normed)
        normed = self.block.norm2(x)
        out = x + self.mlp_branch(self.block, self.block.mlp(normed))
        return out if self.beside_mlp is None else out + self.beside_mlp(normed)


@METHODS.register("convpass")
class Convpass(Method):
    """Convolutional bypasses beside attention and MLP, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2207.07039"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("norm1", "norm2", "mlp", "attention-halves", "attention-values", "input-norms")

    class Config(ScopedConfig):
        """``rank``: r; ``scale``: s; ``place``: beside both or, Convpass-attn, the attention; ``start`` of K."""

        rank: Positive = 8
        scale: Annotated[float, Field(gt=0)] = 1.0
        place: Literal["both", "attention"] = "both"
        start: Literal["identity", "xavier"] = "identity"

    config: Config

    @property
    def places(self) -> int:
        """How many bypasses a block has."""
        return 2 if self.config.place == "both" else 1

    def adapt(self) -> None:
        """Wrap every block."""
        backbone, config = self.transformer, self.config
        start = "xavier" if config.start == "xavier" else None
        for block in backbone.blocks:
            attention, mlp = (
                ConvolutionalBypass(backbone, block.width, config.rank, self.scope_tasks, config.scale, start)
                if place < self.places
                else None
                for place in range(2)
            )
            assert attention is not None, "beside the attention there is always one"
            backbone.replace(block, BypassedBlock(backbone, block, attention, mlp))

    def expected_parameters(self) -> Counts:
        """W_down and W_up 2 C r, a kernel 9 r^2, biases 2 r + C, at every place of each of L blocks."""
        formula = "places * (2*r*sum_C + L*(9*r*r + 2*r) + sum_C)"
        sums = {"L": len(self.widths), "sum_C": sum(self.widths)}
        return self.scoped(formula, places=self.places, r=self.config.rank, **sums)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r and a kernel 9 r^2 a token, at every place."""
        rank = self.config.rank
        return self.macs_of_passes(geometry, self.places * geometry.per_token(lambda c: 2 * c * rank + 9 * rank**2))
