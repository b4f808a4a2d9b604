"""MyMethod: a trained low-rank branch beside the MLP of every block, shared by all tasks.

    y = MLP(x) + B A x,   A: [r, C], B: [C, r]

Paper: Authors, year, https://address (section, equation).
Differs from the paper: nothing yet; say here what does.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from petl_bench.config import MethodConfig, Positive
from petl_bench.features import SHARED, Keyed
from petl_bench.method import METHODS, Counts, Method, closed


class LowRankBranch(Keyed):
    """y = module(x) + B A x; A begins Kaiming-uniform(sqrt 5), B zero, so that nothing is added at the start."""

    def __init__(self, module: nn.Module, width: int, rank: int) -> None:
        super().__init__()
        self.module = module
        self.down = nn.Parameter(torch.zeros(rank, width))
        self.up = nn.Parameter(torch.zeros(width, rank))

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw A from a generator that belongs to its name."""
        bound = 1 / math.sqrt(self.down.shape[1])
        self.down.uniform_(-bound, bound, generator=draw("down", SHARED))

    def forward(self, x: Tensor, *arguments: Any) -> Tensor:
        """Map tokens [..., C] to [..., C]; an MLP may take further arguments."""
        return self.module(x, *arguments) + x @ self.down.mT @ self.up.mT


@METHODS.register("my-method")
class MyMethod(Method):
    """One backbone with a branch beside every MLP, whose pyramid all decoders read."""

    paper = ""
    executions = ("shared",)
    scopes = ("shared",)
    needs = ("mlp",)

    class Config(MethodConfig):
        """``rank``: r."""

        rank: Positive = 4

    config: Config

    def adapt(self) -> None:
        """Wrap every MLP; the base class has frozen the backbone."""
        for site in self.backbone.sites("mlp"):
            self.backbone.replace(site, LowRankBranch(site.module, site.width, self.config.rank))

    def expected_parameters(self) -> Counts:
        """A and B of every block: 2 r C."""
        return Counts(shared=closed("2*r*sum_C", r=self.config.rank, sum_C=sum(self.widths)))
