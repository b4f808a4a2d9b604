"""Linear layers whose matrix is a sum of Kronecker products, W = sum_i A_i kron B_i.

Parameterised hypercomplex multiplication: Zhang et al., 2021, https://arxiv.org/abs/2102.08597 (section 3).
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from methods._layers import Activation, Bottleneck, Tasks, bottleneck_width, stacked_linear
from petl_bench.errors import UsageError
from petl_bench.features import PerTask

Start = Literal["kaiming", "zero"]


class HypercomplexRules(PerTask):
    """The n matrices A_i [n, n] of a layer, per task or for all; one module may serve many layers.

    Their variance is 1 / n, so that W has the variance of B_i.
    """

    def __init__(self, n: int, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.n = n
        self.tasks = tasks
        self.weight = self.stack(n, n, n)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw A, one generator a row."""
        for row, weight in zip(self.rows, self.weight, strict=True):
            weight.normal_(std=self.n**-0.5, generator=draw("weight", row))


class KroneckerLinear(PerTask):
    """y[t] = W[t] x[t] + b[t], W = sum_i A_i kron B_i with W: [out, in], A_i: [n, n], B_i: [out / n, in / n].

    ``start`` is how W begins: with the variance of nn.Linear's own, or zero by B_i. b begins at zero.
    """

    vectors = ("bias",)

    def __init__(self, inputs: int, outputs: int, rules: HypercomplexRules, *, start: Start) -> None:
        super().__init__(rules.tasks)
        self.bound = 1 / math.sqrt(inputs)
        self.start = start
        self.rules = rules
        self.bias = self.stack(outputs)
        self.create(rules.n, outputs // rules.n, inputs // rules.n)

    @abstractmethod
    def create(self, n: int, outputs: int, inputs: int) -> None:
        """Create the parameters of n matrices B_i [outputs, inputs]."""

    @abstractmethod
    def right(self) -> Tensor:
        """Return all B_i: [T, n, out / n, in / n]."""

    def matrix(self) -> Tensor:
        """Return W: [T, out, in]."""
        left, right = self.rules.weight, self.right()
        n, (p, q) = left.shape[1], right.shape[2:]
        products = left.flatten(2).mT @ right.flatten(2)  # [T, n * n, p * q]
        return products.view(-1, n, n, p, q).transpose(2, 3).reshape(-1, n * p, n * q)

    def forward(self, x: Tensor) -> Tensor:
        """Map [T * B, ..., in] to [T * B, ..., out]."""
        return stacked_linear(x, self.matrix(), self.bias)


class PHMLinear(KroneckerLinear):
    """B_i is a free matrix."""

    def create(self, n: int, outputs: int, inputs: int) -> None:
        """Create B: [T, n, out / n, in / n]."""
        self.weight = self.stack(n, outputs, inputs)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw B, one generator a row, or leave it zero."""
        for row, weight in zip(self.rows, self.weight, strict=True):
            if self.start == "kaiming":
                weight.uniform_(-self.bound, self.bound, generator=draw("weight", row))

    def right(self) -> Tensor:
        """Return B."""
        return self.weight


class LowRankPHMLinear(KroneckerLinear):
    """B_i = s_i t_i^T, rank one: Karimi Mahabadi et al., 2021, https://arxiv.org/abs/2106.04647 (section 3)."""

    def create(self, n: int, outputs: int, inputs: int) -> None:
        """Create s: [T, n, out / n] and t: [T, n, in / n]."""
        self.s = self.stack(n, outputs)
        self.t = self.stack(n, inputs)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw t, one generator a row; s has variance one, or stays zero."""
        for row, s, t in zip(self.rows, self.s, self.t, strict=True):
            t.uniform_(-self.bound, self.bound, generator=draw("t", row))
            if self.start == "kaiming":
                s.normal_(generator=draw("s", row))

    def right(self) -> Tensor:
        """Return s_i t_i^T."""
        return self.s.unsqueeze(3) * self.t.unsqueeze(2)


def hypercomplex_adapter(
    layer: type[KroneckerLinear],
    width: int,
    rho: int,
    activation: Activation,
    *,
    norm: nn.Module,
    rules: Callable[[], HypercomplexRules],
) -> Bottleneck:
    """Return a bottleneck of two Kronecker layers, r a multiple of n; ``rules`` is called once for either layer."""
    ours, theirs = rules(), rules()
    inner = bottleneck_width(width, rho, ours.n)
    return Bottleneck(
        norm, layer(width, inner, ours, start="kaiming"), activation, layer(inner, width, theirs, start="zero")
    )


def require_divisor(n: int, widths: Sequence[int], method: str) -> None:
    """Check that every width is a multiple of ``n``.

    Raises:
        UsageError: One is not.
    """
    common = math.gcd(*widths)
    if common % n:
        allowed = [divisor for divisor in range(1, common + 1) if common % divisor == 0]
        below = max(divisor for divisor in allowed if divisor <= n)
        raise UsageError(
            f"method.n = {n} does not divide the widths {', '.join(map(str, sorted(set(widths))))} of this backbone.\n"
            f"Allowed: {', '.join(map(str, allowed))}.\n"
            f"Type: petl-bench params --method {method} --set method.n={below}"
        )
