"""Free Sinewich: tasks that share one low-rank matrix and read it at frequencies of their own.

Paper: Liu, Chen, Chu, Yang, Wang, CVPR 2026, https://arxiv.org/abs/2603.21111.
Differs from the paper: a reconstruction from summaries, not verified; no code was found, and our count is not the
published one. Ours are all sizes and starts, the place of W (r x r, between the factors), the shared LoRA of MTLoRA
around it, and what of the trunk is trained beside (patch embedding, norms, tables). The published rows also share a
part of their decoders, which is no part of a method.

Every block has one pair (A_s, B_s) for all tasks on qkv, proj, fc1 and fc2: y = W_0 x + b + s B_s A_s x. In the last
block of a stage proj, fc1 and fc2 hold A [out, r], W [r, r] and B [in, r] for all tasks as well, and stream t takes
    y_t = W_0 x_0 + b + s M_t x_t,   M_t = G * sin(omega_t A W B^T),   omega_t = k (tanh(w . relu(p_t)) + c)
G a Gaussian of 7 x 7 entries, sigma 1, over the entries of the matrix, p_t a token of each task, w one vector. A starts
at zero, so that M_t does; W as the identity, B Kaiming-uniform(sqrt 5). Streams run as those of methods/mtlora.py.
"""

import math
from collections.abc import Callable
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from methods._layers import begin
from methods._native import train_native
from methods._stream import StreamedConfig, StreamedMethod, open_streams
from petl_bench.config import Positive
from petl_bench.features import Keyed, PerTask, split
from petl_bench.method import METHODS, Counts, Geometry, closed

KERNEL, SIGMA = 7, 1.0


class Clock(PerTask):
    """omega [T] = k (tanh(w . relu(p_t)) + c), p: [T, d] normal, w: [d] uniform as a layer of d inputs."""

    vectors = ("tokens",)

    def __init__(self, tasks: tuple[str, ...], width: int, frequency: float, offset: float) -> None:
        super().__init__(tasks)
        self.tokens = self.stack(width)
        self.query = Query(width)
        self.frequency, self.offset = frequency, offset

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw the tokens, one generator a row."""
        for row, token in zip(self.rows, self.tokens, strict=True):
            token.normal_(generator=draw("tokens", row))

    def forward(self) -> Tensor:
        """Return the frequencies [T]."""
        return self.frequency * (torch.tanh((F.relu(self.tokens) * self.query.weight).sum(-1)) + self.offset)


class Query(Keyed):
    """w of a clock, which all tasks share."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw w."""
        bound = 1 / math.sqrt(len(self.weight))
        self.weight.uniform_(-bound, bound, generator=draw("weight", ""))


class Sinewich(Keyed):
    """onto + s M_t x for the streams of all tasks, M_t = G * sin(omega_t A W B^T)."""

    gaussian: Tensor

    def __init__(self, linear: nn.Linear, rank: int, scale: float, clock: Clock) -> None:
        super().__init__()
        self.scale, self.frequencies = scale, clock.forward
        self.left = nn.Parameter(torch.zeros(linear.out_features, rank))
        self.middle = nn.Parameter(torch.zeros(rank, rank))
        self.right = nn.Parameter(torch.zeros(linear.in_features, rank))
        offsets = torch.arange(KERNEL) - KERNEL // 2
        self.register_buffer("gaussian", torch.softmax(-(offsets**2) / (2 * SIGMA**2), 0), persistent=False)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw B; W becomes the identity, A stays zero."""
        begin(self.right.mT, "kaiming", draw("right", ""))
        self.middle.copy_(torch.eye(len(self.middle)))

    def weights(self) -> Tensor:
        """Return M [T, out, in]."""
        waves = torch.sin(self.frequencies().view(-1, 1, 1) * (self.left @ self.middle @ self.right.mT))
        return self.smooth(self.smooth(waves).mT).mT

    def smooth(self, x: Tensor) -> Tensor:
        """Filter the rows of x [T, n, m], each a channel of its own: one channel alone is convolved slowly."""
        kernel = self.gaussian.to(x.dtype).expand(x.shape[1], 1, KERNEL)
        return F.conv1d(x, kernel, padding=KERNEL // 2, groups=x.shape[1])

    def forward(self, x: Tensor, onto: Tensor) -> Tensor:
        """Add the update for ``x`` [T, B, ..., in] to ``onto`` [T, B, ..., out], one batched product over tasks."""
        rows = len(x)
        return torch.baddbmm(split(onto, rows), split(x, rows), self.scale * self.weights().mT).view(onto.shape)


@METHODS.register("sinewich")
class FreeSinewich(StreamedMethod):
    """One trunk with shared LoRA, and T streams in the last block of each stage that share one matrix."""

    paper = "https://arxiv.org/abs/2603.21111"
    executions = ("streamed",)
    scopes = ("mixed",)
    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "plain-mlps", "attention-halves", "attention-values")

    class Config(StreamedConfig):
        """``rank`` of all factors, ``scale`` s; the clock's k, c and width of a token."""

        rank: Positive = 32
        scale: Annotated[float, Field(gt=0)] = 1.0
        frequency: Annotated[float, Field(gt=0)] = 10.0
        offset: Annotated[float, Field(gt=1)] = 1.5
        token: Positive = 64

    config: Config

    def adapt(self) -> None:
        """Unfreeze what is trained beside, put LoRA beside the linear layers, open the streams."""
        backbone, config = self.transformer, self.config
        self.beside = train_native(backbone, ["patch_embed", "norms", "tables"])
        self.clock = Clock(self.tasks, config.token, config.frequency, config.offset)

        def own(linear: nn.Linear) -> Sinewich:
            return Sinewich(linear, config.rank, config.scale, self.clock)

        self.hidden = open_streams(backbone, len(self.tasks), config.rank, config.scale, own)
        self.identity_at_start = not self.reads_after_merge
        unread = f"{backbone.blocks[-1].path}.block.mlp.fc2.shared"
        self.gradient_exempt = {unread: "the shared output of the trunk's last block, which nothing reads"}

    def expected_parameters(self) -> Counts:
        """R (8 C + 2 H) a block; r (4 C + 2 H) + 3 r^2 more in the last of each stage; d of w, and a token a task."""
        ends = [number for number, block in enumerate(self.backbone.blocks) if block.is_last_in_stage]
        symbols = {
            "r": self.config.rank,
            "d": self.config.token,
            "E": len(ends),
            "sum_C": sum(self.widths),
            "sum_H": sum(self.hidden),
            "end_C": sum(self.widths[number] for number in ends),
            "end_H": sum(self.hidden[number] for number in ends),
        }
        shared = "r*(8*sum_C + 2*sum_H) + r*(4*end_C + 2*end_H) + 3*E*r*r + d"
        return Counts(
            shared=closed(" + ".join([shared, *self.beside]), **symbols, **self.beside),
            per_task=closed("T*d", T=len(self.tasks), d=self.config.token),
        )

    def expected_macs(self, geometry: Geometry) -> int:
        """LoRA of all tokens; in the last blocks A W B^T once, and for every task two filters of 7 and M_t x_t."""
        rank, tasks = self.config.rank, len(self.tasks)
        total = geometry.stem + geometry.blocks
        for s in geometry.stages:
            total += s.depth * s.tokens * rank * (8 * s.width + 2 * s.hidden)
            for inputs, outputs in ((s.width, s.width), (s.width, s.hidden), (s.hidden, s.width)):
                total += outputs * rank * rank + outputs * rank * inputs
                total += tasks * (2 * KERNEL + s.tokens) * inputs * outputs
            total += tasks * s.merging if self.reads_after_merge else 0
        last = geometry.stages[-1]
        return total - last.tokens * rank * (last.width + last.hidden)  # of its fc2, whose shared stream nothing reads
