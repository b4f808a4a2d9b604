"""Adapter+: a narrow bottleneck behind every block, without a norm, scaled channel by channel.

Paper: Steitz, Roth, CVPR 2024, https://arxiv.org/abs/2406.06820 (section 3), and the authors' released code. With x the
output of a block,
    block output = x + s * (W_up GELU(W_down x + b_down) + b_up),   s: [C]
Differs from the paper: one set per task is our extension; no drop path on the adapter (0.1 in the released settings),
so that a run repeats bit for bit. s starts at one and both matrices near zero, with a standard deviation of 0.01 (the
paper's reading of Houlsby et al.), so the start is near the frozen backbone, and not on it.
"""

import torch
from torch import Tensor, nn

from methods._layers import BehindBlock, Bottleneck, PerTaskLinear, Tasks
from petl_bench.config import Positive
from petl_bench.features import PerTask, split
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


class ChannelScale(PerTask):
    """y[t] = s[t] * x[t], s: [T, C], which starts at one."""

    vectors = ("scale",)

    def __init__(self, width: int, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.scale = nn.Parameter(torch.ones(self.num_rows, width))

    def forward(self, x: Tensor) -> Tensor:
        """Scale tokens [T * B, ..., C]."""
        return (split(x, self.num_rows) * self.scale.unsqueeze(1)).view_as(x)


@METHODS.register("adapter-plus")
class AdapterPlus(Method):
    """Post-adapters of one width with a scale for every channel, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2406.06820"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    identity_at_start = False

    class Config(ScopedConfig):
        """``rank``: width of the bottleneck, r."""

        rank: Positive = 8

    config: Config

    def adapt(self) -> None:
        """Put an adapter behind every block."""
        tasks, rank = self.scope_tasks, self.config.rank
        for block in self.backbone.blocks:
            down = PerTaskLinear(block.width, rank, tasks, start="houlsby")
            up = PerTaskLinear(rank, block.width, tasks, start="houlsby")
            branch = nn.Sequential(Bottleneck(nn.Identity(), down, "gelu", up), ChannelScale(block.width, tasks))
            self.backbone.replace(block, BehindBlock(self.backbone, block, branch))

    def expected_parameters(self) -> Counts:
        """W_down and W_up 2 C r, biases r + C, the scale's C, in each of L blocks."""
        return self.scoped("2*r*sum_C + L*r + 2*sum_C", r=self.config.rank, L=len(self.widths), sum_C=sum(self.widths))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token of every block."""
        return self.macs_of_passes(geometry, geometry.per_token(lambda c: 2 * c * self.config.rank))
