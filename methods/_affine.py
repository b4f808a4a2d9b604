"""A frozen operation with a trained shift of its output, and trained relative-position bias tables."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Operation
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.features import PerTask

Tasks = tuple[str, ...] | None
TABLE = "relative_position_bias_table"
TABLES = "relative-position-tables"


class PerTaskShift(PerTask):
    """y[t] = f(x[t]) + beta[t]: f a frozen linear layer, norm or convolution, beta [T, C], which starts at zero."""

    vectors = ("beta",)

    def __init__(self, operation: Operation, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.operation = operation.module
        self.axis = operation.axis
        self.beta = self.stack(operation.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map what f takes, [T * B, ...], to its shifted output."""
        out = self.rows_of(self.operation(x))
        return (out + self.over_channels(self.beta, out)).flatten(0, 1)

    def rows_of(self, out: Tensor) -> Tensor:
        """View outputs [T * B, ...] as [T, B, ...]."""
        return out.unflatten(0, (self.num_rows, -1))

    def over_channels(self, vectors: Tensor, out: Tensor) -> Tensor:
        """View vectors [T, C] so that they broadcast over the outputs [T, B, ...]."""
        shape = [self.num_rows] + [1] * (out.dim() - 1)
        shape[self.axis if self.axis < 0 else self.axis + 1] = -1
        return vectors.view(shape)

    def merged(self, t: int) -> nn.Module | None:
        """Return the plain operation whose bias holds the shift of task number ``t``."""
        return folded(self.operation, torch.ones_like(self.beta[0]), self.beta[self.row(t)])


def folded(operation: Any, scale: Tensor, shift: Tensor) -> nn.Module | None:
    """Return a copy of an operation whose weight and bias hold a scale and a shift [C] of its output.

    None for an operation that no bias can be given to, an RMSNorm.
    """
    if not hasattr(operation, "bias"):
        return None
    plain = copy.deepcopy(operation)
    weight: Tensor = operation.weight
    plain.weight = nn.Parameter(weight * scale.view(-1, *[1] * (weight.dim() - 1)))
    plain.bias = nn.Parameter(shift.clone() if operation.bias is None else operation.bias * scale + shift)
    return plain


class PerTaskTable(PerTask):
    """What is added to a relative-position bias table, [T, entries, heads]; starts at zero."""

    vectors = ("delta",)

    def __init__(self, shape: Sequence[int], tasks: Tasks) -> None:
        super().__init__(tasks)
        self.delta = self.stack(*shape)

    def forward(self) -> Tensor:
        """Return [T, entries, heads]."""
        return self.delta

    def merged(self, t: int) -> nn.Module:
        """Return the one row of task number ``t``."""
        alone = PerTaskTable(self.delta.shape[1:], None)
        alone.delta = nn.Parameter(self.delta[self.row(t), None].clone())
        return alone


def add_tables(backbone: Backbone, tasks: Tasks) -> None:
    """Give every attention that has a table trained differences from it."""
    if backbone.missing([TABLES]) or not isinstance(backbone, TransformerBackbone):
        return
    for site in backbone.sites("attn"):
        tables = PerTaskTable(getattr(site.module, TABLE).shape, tasks)
        backbone.replace(site, backbone.position_attention(site.module, tables))


def table_entries(backbone: Backbone) -> int:
    """Return the sum over attentions with windows of M x M tokens of (2M - 1)^2 entries a head."""
    attentions: Iterable[Any] = (module for module in backbone.trunk.modules() if hasattr(module, TABLE))
    return sum((2 * a.window_size[0] - 1) * (2 * a.window_size[1] - 1) * a.num_heads for a in attentions)


def output_sums(operations: Sequence[Operation]) -> dict[str, int]:
    """Return the sums of output channels over linear layers, norms and convolutions, which closed forms need."""
    return {kind: sum(o.width for o in operations if o.kind == kind) for kind in ("linear", "norm", "conv")}
