"""Frozen linear layers with a low-rank update: plain or in magnitude and direction, of fixed or falling ranks."""

import copy
import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._layers import Tasks
from petl_bench.features import Keyed, PerTask, split

COVERAGE, MARGIN, FLOOR, DECAY = 0.95, 1, 2, 0.98


@dataclass(frozen=True)
class Parts:
    """Which of the parts that an output is a concatenation of are updated: (0, 2) of 3 are query and value of qkv."""

    updated: tuple[int, ...] = (0,)
    of: int = 1


WHOLE = Parts()
QUERY_AND_VALUE: dict[str, Parts] = {"attn.qkv": Parts((0, 2), 3)}
EVERY_LINEAR: dict[str, Parts] = dict.fromkeys(("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"), WHOLE)


class PrefixOfRanks(Keyed):
    """Ranks that fall while they are trained: the first so many of every pair are active, the rest is left out.

    In training a random prefix of the active ranks is used. After every ``interval`` backward passes the active ranks
    become the shortest prefix that covers 95 % of the importance and one more, two at least. The importance of rank k
    is a moving mean of |<A_k, dA_k>|, which equals |<B_k, dB_k>|: the loss depends on the product B_k A_k alone.
    """

    importance: Tensor
    active: Tensor
    passes: Tensor

    def __init__(self, rows: int, parts: int, rank: int, interval: int) -> None:
        super().__init__()
        self.interval = interval
        self.register_buffer("importance", torch.zeros(rows, parts, rank))
        self.register_buffer("active", torch.full((rows, parts), rank))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))

    def forward(self, down: Tensor) -> Tensor:
        """Leave out ranks of A [T, parts, r, in] that are not used."""
        used = self.active
        if self.training:
            used = (torch.rand(used.shape, device=used.device) * used).long() + 1
        kept = torch.arange(down.shape[2], device=used.device) < used.unsqueeze(-1)
        masked = down * kept.unsqueeze(-1)
        if self.training and masked.requires_grad:
            now = masked.detach()
            masked.register_hook(lambda gradient: self.observe((now * gradient).sum(-1).abs()))
        return masked

    def merged(self, t: int) -> nn.Module:
        """Return the ranks as they are, for the layer around them, which is merged after them."""
        return self

    @torch.no_grad()
    def observe(self, importance: Tensor) -> None:
        """Take in the importances [T, parts, r] of a backward pass, and leave out ranks where it is time."""
        self.importance.lerp_(importance.to(self.importance.dtype), 1 - DECAY)
        self.passes += 1
        if self.passes % self.interval:
            return
        covered = self.importance.cumsum(-1) >= COVERAGE * self.importance.sum(-1, keepdim=True)
        first = covered.int().argmax(-1) + 1
        self.active.copy_(torch.minimum(self.active, (first + MARGIN).clamp(min=FLOOR)))


class FactoredUpdate(PerTask):
    """y = W x + b + B A x, A: [r, in], B: [out, r], for every updated part of the output."""

    def __init__(self, linear: nn.Linear, tasks: Tasks, parts: Parts) -> None:
        super().__init__(tasks)
        self.linear = linear
        self.parts = parts

    @abstractmethod
    def pair(self) -> tuple[Tensor, Tensor]:
        """Return A [T, parts, r, in] and B [T, parts, out, r]; T is the number of rows."""

    def block_diagonal(self, up: Tensor) -> Tensor:
        """Return B of all parts as one matrix [T, out, parts * r], zero from the ranks of one part to another's."""
        ups, zero = up.unbind(1), torch.zeros_like(up[:, 0])
        blocks = [
            [one if part == row else zero for part, one in zip(self.parts.updated, ups, strict=True)]
            for row in range(self.parts.of)
        ]
        return torch.cat([torch.cat(row, 2) for row in blocks], 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map [T * B, ..., in] to [T * B, ..., out]."""
        down, up = self.pair()
        hidden = split(x, self.num_rows) @ down.flatten(1, 2).mT  # [T, M, parts * r]
        return self.combined(x, hidden, down, up)

    def combined(self, x: Tensor, hidden: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Return y from x and A x."""
        frozen = self.linear(x)
        return torch.baddbmm(split(frozen, self.num_rows), hidden, self.block_diagonal(up).mT).view_as(frozen)

    def merged(self, t: int) -> nn.Module:
        """Return the plain layer of task number ``t``."""
        plain = copy.deepcopy(self.linear)
        plain.weight = nn.Parameter(self.whole_weight(self.row(t), *self.pair()))
        return plain

    def whole_weight(self, row: int, down: Tensor, up: Tensor) -> Tensor:
        """Return W + B A of a row, [out, in]."""
        return self.linear.weight + self.block_diagonal(up)[row] @ down[row].flatten(0, 1)


class LowRankUpdate(FactoredUpdate):
    """A factored update with a pair (A, B) of its own for every task, or one for all.

    ``kaiming``: A Kaiming-uniform(sqrt 5), B zero. ``pissa``: B A is the best approximation of W of rank r, which is
    taken off the frozen weight, so that the layer starts as it was, up to rounding.
    """

    def __init__(
        self,
        linear: nn.Linear,
        rank: int,
        tasks: Tasks,
        parts: Parts = WHOLE,
        *,
        start: Literal["kaiming", "pissa"] = "kaiming",
        interval: int | None = None,
    ) -> None:
        super().__init__(linear, tasks, parts)
        self.start = start
        number, width = len(parts.updated), linear.out_features // parts.of
        self.down = self.stack(number, rank, linear.in_features)
        self.up = self.stack(number, width, rank)
        self.ranks = None if interval is None else PrefixOfRanks(self.num_rows, number, rank, interval)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw A, one generator a row, or take A and B from the frozen weight."""
        if self.start == "kaiming":
            bound = 1 / math.sqrt(self.linear.in_features)
            for row, down in zip(self.rows, self.down, strict=True):
                down.uniform_(-bound, bound, generator=draw("down", row))
            return
        rank = self.down.shape[2]
        for number, weight in enumerate(self.frozen_parts()):
            left, values, right = torch.linalg.svd(weight, full_matrices=False)
            roots = values[:rank].sqrt()
            self.down[:, number] = roots[:, None] * right[:rank]
            self.up[:, number] = left[:, :rank] * roots
            weight.sub_(self.up[0, number] @ self.down[0, number])

    def frozen_parts(self) -> list[Tensor]:
        """Return views of the updated parts of W, [out, in] each."""
        chunks = self.linear.weight.chunk(self.parts.of)
        return [chunks[part] for part in self.parts.updated]

    def pair(self) -> tuple[Tensor, Tensor]:
        """Return A of the ranks in use, and B."""
        return self.down if self.ranks is None else self.ranks(self.down), self.up

    def inactive(self) -> int:
        """Return how many of the stored parameters belong to ranks that are left out."""
        if self.ranks is None or self.ranks.active.is_meta:
            return 0
        left_out = int((self.down.shape[2] - self.ranks.active).sum())
        return left_out * (self.down.shape[-1] + self.up.shape[2])


class MagnitudeAndDirection(LowRankUpdate):
    """y = m / |W + B A| * (W x + B A x) + b, | | the norm of each output's row, m: [out] trained, from |W|.

    No gradient goes through the norms (section 4.3 of the paper).
    """

    vectors = ("magnitude",)

    def __init__(self, linear: nn.Linear, rank: int, tasks: Tasks, parts: Parts = WHOLE, **settings: Any) -> None:
        super().__init__(linear, rank, tasks, parts, **settings)
        self.magnitude = self.stack(*self.up.shape[1:3])

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Start at the norms of the weight as it is."""
        for number, weight in enumerate(self.frozen_parts()):
            self.magnitude[:, number] = weight.norm(dim=1)
        super().initialise(draw)

    def factors(self, down: Tensor, up: Tensor) -> Tensor:
        """Return m / |W + B A|, [T, out], one where nothing is updated."""
        with torch.no_grad():
            pairs = zip(self.frozen_parts(), up.unbind(1), down.unbind(1), strict=True)
            whole = torch.stack([torch.baddbmm(w.expand(self.num_rows, -1, -1), b, a) for w, b, a in pairs], 1)
            norms = whole.square().sum(-1).sqrt()
        place = dict(zip(self.parts.updated, (self.magnitude / norms).unbind(1), strict=True))
        rest = torch.ones_like(norms[:, 0])
        return torch.cat([place.get(part, rest) for part in range(self.parts.of)], 1)

    def combined(self, x: Tensor, hidden: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Return y from x and A x."""
        frozen = F.linear(x, self.linear.weight)
        bias: Tensor | None = getattr(self.linear, "bias", None)
        directed = torch.baddbmm(split(frozen, self.num_rows), hidden, self.block_diagonal(up).mT)
        factors = self.factors(down, up).unsqueeze(1)
        out = directed * factors if bias is None else torch.addcmul(bias, directed, factors)
        return out.view_as(frozen)

    def whole_weight(self, row: int, down: Tensor, up: Tensor) -> Tensor:
        """Return m / |W + B A| * (W + B A) of a row, [out, in]."""
        return super().whole_weight(row, down, up) * self.factors(down, up)[row].unsqueeze(-1)
