"""AdaptFormer: a scaled bottleneck beside the MLP of every block.

Paper: Chen et al., 2022, https://arxiv.org/abs/2205.13535 (section 3.2). With x' the input of norm2,
    block output = x' + MLP(norm2(x')) + s (W_up ReLU(W_down LN(x') + b_down) + b_up)
Differs from the paper: no dropout in the bottleneck (the released code drops 0.1). The equation has the LayerNorm
(``norm = "own"``); the released default has none (``norm = "none"``). r = 64 and s = 0.1 are the settings on ViT-B,
used here at every width of a Swin too; one set per task is our extension.
"""

from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from methods._layers import ParallelBlock, adapter, input_norm
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("adaptformer")
class AdaptFormer(Method):
    """Parallel adapters of one width in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2205.13535"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("mlp", "attention-halves")

    class Config(ScopedConfig):
        """``rank``: width of the bottleneck, r; ``scale``: s; ``norm``: whether a LayerNorm is trained in front."""

        rank: Positive = 64
        scale: Annotated[float, Field(gt=0)] = 0.1
        norm: Literal["own", "none"] = "own"

    config: Config

    def adapt(self) -> None:
        """Wrap every block."""
        tasks, rank, scale = self.scope_tasks, self.config.rank, self.config.scale
        for block in self.backbone.blocks:
            norm = input_norm(block.width, tasks) if self.config.norm == "own" else nn.Identity()
            branch = adapter(block.width, rank, tasks, "relu", norm=norm, scale=scale)
            self.backbone.replace(block, ParallelBlock(self.transformer, block, branch))

    def expected_parameters(self) -> Counts:
        """W_down and W_up 2 C r, biases r + C, the norm's 2C, in each of L blocks."""
        norm = " + 2*sum_C" if self.config.norm == "own" else ""
        formula = f"2*r*sum_C + L*r + sum_C{norm}"
        return self.scoped(formula, r=self.config.rank, L=len(self.widths), sum_C=sum(self.widths))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token of every block."""
        return self.macs_of_passes(geometry, geometry.per_token(lambda c: 2 * c * self.config.rank))
