"""SSF: scale and shift the output of every frozen operation; after training both fold into the weights.

Paper: Lian et al., 2022, https://arxiv.org/abs/2210.08823 (section 3.2, equations 3 and 4).
Differs from the paper: for dense prediction, with a set per task by default. As in the released code the operations
are the convolution of the patch embedding and its norm, norm1, qkv, proj, norm2, fc1 and fc2; the norm of patch
merging, which that code means to adapt on Swin but hands the wrong flag; and, unlike it, the reduction of patch
merging, so that no linear layer, layer norm or convolution of the trunk is left out. The final norm is no part of the
trunk. gamma ~ N(1, 0.02), beta ~ N(0, 0.02) as released, so the start is not the frozen backbone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods._affine import PerTaskShift, Tasks, folded, output_sums
from petl_bench.backbones.base import Operation
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig

STD = 0.02


class PerTaskScaleShift(PerTaskShift):
    """y[t] = gamma[t] * f(x[t]) + beta[t]: f a frozen operation, gamma and beta [T, C]."""

    vectors = ("gamma", "beta")

    def __init__(self, operation: Operation, tasks: Tasks) -> None:
        super().__init__(operation, tasks)
        self.gamma = self.stack(operation.width)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw gamma around one and beta around zero, one generator a row."""
        for row, gamma, beta in zip(self.rows, self.gamma, self.beta, strict=True):
            gamma.normal_(1.0, STD, generator=draw("gamma", row))
            beta.normal_(0.0, STD, generator=draw("beta", row))

    def forward(self, x: Tensor) -> Tensor:
        """Map what f takes, [T * B, ...], to its scaled and shifted output."""
        out = self.rows_of(self.operation(x))
        gamma, beta = (self.over_channels(vectors, out) for vectors in (self.gamma, self.beta))
        return torch.addcmul(beta, out, gamma).flatten(0, 1)

    def merged(self, t: int) -> nn.Module | None:
        """Return the plain operation of task number ``t``: weight * gamma, bias * gamma + beta."""
        return folded(self.operation, self.gamma[self.row(t)], self.beta[self.row(t)])


@METHODS.register("ssf")
class SSF(Method):
    """A trained scale and shift after every linear layer, norm and convolution, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2210.08823"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    identity_at_start = False

    class Config(ScopedConfig):
        """``scope``: scales and shifts per task, or one set for all."""

    config: Config

    def adapt(self) -> None:
        """Put a scale and a shift after every operation."""
        for operation in self.backbone.operations():
            self.backbone.replace(operation, PerTaskScaleShift(operation, self.scope_tasks))

    def expected_parameters(self) -> Counts:
        """Two values an output of every operation."""
        return self.scoped("2 * (linear + norm + conv)", **output_sums(self.backbone.operations()))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Nothing beside the trunk."""
        return self.macs_of_passes(geometry)
