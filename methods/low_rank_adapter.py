"""Low-rank adapter: an adapter whose two matrices are products of rank k.

Paper: a baseline of Karimi Mahabadi et al., 2021 (Compacter), https://arxiv.org/abs/2106.04647, and of Liu et al., 2022
(Polyhistor), https://arxiv.org/abs/2210.03265. As ``adapter``, with
    W_down = U_down V_down^T: [r, C],   W_up = U_up V_up^T: [C, r],   U and V of k columns
Differs from the paper: a reconstruction. The code released with Compacter has k = 1, rho = 32, adapters behind both
modules, and trains the network's own norms. The published 0.34 M on Swin-T for 4 tasks does not tell the setting: with
one adapter a block, biases and one LayerNorm pair, k = 8 and rho = 32 give 345,000, our default. There r = 3 and 6 are
below k in the first two stages, so that the products hold more parameters than the matrices. U_up starts at zero.
"""

from typing import Literal

from torch import nn

from methods._layers import (
    Activation,
    Bottleneck,
    PerTaskLinear,
    Tasks,
    append,
    bottleneck_sums,
    bottleneck_width,
    input_norm,
)
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


def low_rank(inputs: int, outputs: int, rank: int, tasks: Tasks, *, start: Literal["kaiming", "zero"]) -> nn.Module:
    """Return y[t] = U[t] V[t]^T x[t] + b[t]; V^T is Kaiming-uniform(sqrt 5), U likewise or zero, b zero."""
    inner = PerTaskLinear(inputs, rank, tasks, start="kaiming", bias=False)
    return nn.Sequential(inner, PerTaskLinear(rank, outputs, tasks, start=start))


@METHODS.register("low-rank-adapter")
class LowRankAdapter(Method):
    """Sequential low-rank adapters in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.04647"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("mlp",)

    class Config(ScopedConfig):
        """``rank``: k of either product; ``rho``: width over bottleneck; ``activation`` in between."""

        rank: Positive = 8
        rho: Positive = 32
        activation: Activation = "gelu"

    config: Config

    def adapt(self) -> None:
        """Append a low-rank adapter, its norm included, behind every MLP."""
        append(self.backbone, "mlp", self._branch)

    def _branch(self, width: int) -> Bottleneck:
        rank, tasks, inner = self.config.rank, self.scope_tasks, bottleneck_width(width, self.config.rho)
        down = low_rank(width, inner, rank, tasks, start="kaiming")
        up = low_rank(inner, width, rank, tasks, start="zero")
        return Bottleneck(input_norm(width, tasks), down, self.config.activation, up)

    def expected_parameters(self) -> Counts:
        """Either product k (C + r), biases r + C, norm 2C, in every block."""
        sums = bottleneck_sums(self.widths, self.config.rho)
        symbols = {"k": self.config.rank, "sum_C": sums["sum_C"], "sum_r": sums["sum_r"]}
        return self.scoped("2*k*(sum_C + sum_r) + sum_r + 3*sum_C", **symbols)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """V^T, then U, of either matrix."""
        rank, rho = self.config.rank, self.config.rho
        added = geometry.per_token(lambda c: 2 * rank * (c + bottleneck_width(c, rho)))
        return self.macs_of_passes(geometry, added)
