"""MTL-LoRA: one down-projection, a small matrix per task, and a mixture per task of several up-projections.

Paper: Yang et al., AAAI 2025, https://arxiv.org/abs/2410.09437: for language models; for task t
    y = W x + b + sum over i of softmax(w_t / tau)_i B_i Lambda_t A x
Differs from the paper: on query and value of a vision backbone, for every task of the same image at once; no norm is
trained beside; sizes and starts are ours: A Kaiming-uniform(sqrt 5), B_i zero, Lambda_t the identity, w_t normal, so
that the B_i do not stay equal. Lambda_t A and the mixture are computed once a pass, and not once a token.
"""

import math
from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from methods._low_rank import QUERY_AND_VALUE, FactoredUpdate, Parts
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import Keyed
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


class Factors(Keyed):
    """A [parts, r, in] and B_i [n, parts, out, r], which all tasks use."""

    def __init__(self, parts: int, inputs: int, outputs: int, rank: int, ups: int) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.zeros(parts, rank, inputs))
        self.ups = nn.Parameter(torch.zeros(ups, parts, outputs, rank))

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw A; B_i stay zero."""
        bound = 1 / math.sqrt(self.down.shape[-1])
        self.down.uniform_(-bound, bound, generator=draw("down", ""))

    def merged(self, t: int) -> nn.Module:
        """Return the factors as they are, for the layer around them, which is merged after them."""
        return self


class MixedUpdate(FactoredUpdate):
    """y = W x + b + sum over i of softmax(w_t / tau)_i B_i Lambda_t A x, Lambda: [T, parts, r, r], w: [T, n]."""

    vectors = ("mixture",)

    def __init__(
        self, linear: nn.Linear, rank: int, tasks: tuple[str, ...], parts: Parts, ups: int, temperature: float
    ) -> None:
        super().__init__(linear, tasks, parts)
        number = len(parts.updated)
        self.factors = Factors(number, linear.in_features, linear.out_features // parts.of, rank, ups)
        self.core = self.stack(number, rank, rank)
        self.mixture = self.stack(ups)
        self.temperature = temperature

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Start the cores at the identity, and draw the mixtures, one generator a row."""
        self.core.copy_(torch.eye(self.core.shape[-1]))
        for row, mixture in zip(self.rows, self.mixture, strict=True):
            mixture.normal_(generator=draw("mixture", row))

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return Lambda_t A and the mixture of B_i."""
        ups = self.factors.ups
        mixed = torch.softmax(self.mixture / self.temperature, -1) @ ups.flatten(1)
        return self.core @ self.factors.down, mixed.view(-1, *ups.shape[1:])


@METHODS.register("mtl-lora")
class MTLLoRA(Method):
    """Low-rank updates of query and value in every block that tasks share and transform, each in its own way."""

    paper = "https://arxiv.org/abs/2410.09437"
    executions = ("forked",)
    scopes = ("mixed",)
    needs = ("attn.qkv",)

    class Config(MethodConfig):
        """``rank``: r; ``ups``: how many B_i; ``temperature``: tau."""

        rank: Positive = 8
        ups: Positive = 3
        temperature: Annotated[float, Field(gt=0)] = 0.5

    config: Config

    def adapt(self) -> None:
        """Wrap every qkv."""
        config = self.config
        for site in self.backbone.sites(*QUERY_AND_VALUE):
            layer = MixedUpdate(
                site.module, config.rank, self.tasks, QUERY_AND_VALUE[site.kind], config.ups, config.temperature
            )
            self.backbone.replace(site, layer)

    def expected_parameters(self) -> Counts:
        """In each of L blocks A and n B_i for two projections, 2 (1 + n) r C; a task 2 r^2 + n."""
        config = self.config
        return Counts(
            shared=closed("2*(1 + n)*r*sum_C", n=config.ups, r=config.rank, sum_C=sum(self.widths)),
            per_task=closed("T*L*(2*r*r + n)", T=len(self.tasks), L=len(self.widths), r=config.rank, n=config.ups),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """A token as in LoRA, 2 r C and one matrix [3C, 2r]; a block and task 2 r^2 C + 2 n r C for both factors."""
        rank, ups = self.config.rank, self.config.ups
        tokens = geometry.per_token(lambda c: 2 * rank * (c + 3 * c))
        return self.macs_of_passes(geometry, tokens + geometry.per_block(lambda c: 2 * rank * c * (rank + ups)))
