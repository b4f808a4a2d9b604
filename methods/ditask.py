"""DiTASK: the singular values of frozen matrices warped by diffeomorphisms, one for all tasks and one per task.

Paper: Mantri, Schönlieb, Ribeiro, Baskin, Eliasof, CVPR 2025, https://arxiv.org/abs/2502.06029 (section 3), and the
authors' released code.
Differs from the paper: as in the released code, phi does not act on a singular value but on its *index*: the sequence
of singular values, largest first, is read at phi(i / (n - 1)) by linear interpolation. So no value leaves the range of
the frozen ones, the largest and the smallest stay, and what they are beyond 1 does not matter. Neither dropout (0.05 on
the whole input in the released settings) nor drop path; parameters of a flow take no weight decay, as no vector does.
The singular vectors are computed once, where the released code decomposes every matrix in every pass.

With W = U diag(sigma) V^T and phi_theta the flow of a field of N cells (methods/_cpab.py),
    sigma'_i = sigma at phi_theta(i / (n - 1)),    W'(theta) = U diag(sigma') V^T.
Every block has one theta for all tasks on qkv (one for its three matrices), proj, fc1 and fc2, N = 64 cells:
y = W'(theta) x + b. In the last block of a stage task t has theta_t on proj, fc1 and fc2, N = 4 cells, and with v the
values of the shared attention and n the block's norm2
    x_t = x + W_p'(theta_t) v + b_p,    z_t = x_t + W_2'(theta_t) gelu(W_1'(theta_t) n(x_t) + b_1) + b_2.
The shared stream is the same with theta; it alone enters the next stage, and decoder t reads z_t of every stage. In the
last block of all nothing reads it: theta of proj, fc1 and fc2 there is counted, and neither computed nor trained.
As released, theta begins Kaiming-uniform(sqrt 5), at most 1 / sqrt(N - 1), so that the start is not the frozen
backbone; ``identity_start`` begins at zero. Where a batch has few tokens, U (sigma' * (V^T x)) is less work than W'.
"""

import math
from collections.abc import Callable
from typing import Annotated, Any, cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from methods._cpab import warp
from methods._layers import Tasks, stacked_linear
from methods._native import Native, train_native
from methods._stream import StreamedConfig, StreamedMethod
from petl_bench.backbones.base import Block
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.features import Keyed, PerTask, split
from petl_bench.method import METHODS, Counts, Geometry, closed


class Warp(PerTask):
    """sigma' [rows, p, n] of spectra sigma [p, n], theta: [rows, N - 1]."""

    vectors = ("theta",)

    def __init__(self, cells: int, tasks: Tasks, *, at_identity: bool) -> None:
        super().__init__(tasks)
        self.theta, self.at_identity = self.stack(cells - 1), at_identity

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw theta, one generator a row, unless it begins at zero."""
        if not self.at_identity:
            bound = 1 / math.sqrt(self.theta.shape[-1])
            for row, theta in zip(self.rows, self.theta, strict=True):
                theta.uniform_(-bound, bound, generator=draw("theta", row))

    def forward(self, spectra: Tensor) -> Tensor:
        """Warp the sequences."""
        return warp(spectra, self.theta)


class WarpedLinear(nn.Module):
    """y_s = W'(theta_s) x_s + b for every stream s; W is ``parts`` matrices of equal shape on top of each other."""

    left: Tensor  # U [p, out / p, n]
    spectra: Tensor  # sigma [p, n]
    right: Tensor  # V^T [p, n, in]

    def __init__(
        self, linear: nn.Linear, parts: int, shared: Warp, per_task: Warp | None, *, reads_shared: bool
    ) -> None:
        super().__init__()
        self.linear, self.shared, self.per_task, self.reads_shared = linear, shared, per_task, reads_shared
        decomposed = torch.linalg.svd(linear.weight.detach().unflatten(0, (parts, -1)), full_matrices=False)
        for name, factor in zip(("left", "spectra", "right"), decomposed, strict=True):
            self.register_buffer(name, factor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map the streams [S, B, ..., in], or the shared one alone [B, ..., in], to [..., out]."""
        warps = [self.shared] * self.reads_shared + ([] if self.per_task is None else [self.per_task])
        sigma = torch.cat([one(self.spectra) for one in warps])  # [S, p, n]
        parts, outputs, n = self.left.shape
        bias = cast(Tensor | None, self.linear.bias)  # None without one, whatever the stub says
        rows = x.numel() // x.shape[-1] // len(sigma)
        if products_apart(rows, x.shape[-1], outputs) > products_whole(rows, x.shape[-1], outputs):
            weight = (self.left * sigma.unsqueeze(-2)) @ self.right
            return stacked_linear(x, weight.flatten(1, 2), None if bias is None else bias.expand(len(sigma), -1))
        hidden = split(F.linear(x, self.right.flatten(0, 1)), len(sigma)) * sigma.flatten(1).unsqueeze(1)
        biases = [None] * parts if bias is None else bias.chunk(parts)
        own = [F.linear(h, u, b) for h, u, b in zip(hidden.split(n, -1), self.left, biases, strict=True)]
        return torch.cat(own, -1).view(*x.shape[:-1], -1)


def products_apart(rows: int, inputs: int, outputs: int) -> int:
    """Return the multiply-adds of U (sigma' * (V^T x)) for so many tokens."""
    return rows * min(inputs, outputs) * (inputs + outputs)


def products_whole(rows: int, inputs: int, outputs: int) -> int:
    """Return the multiply-adds of W' = U diag(sigma') V^T, and of W' x."""
    return (rows + min(inputs, outputs)) * inputs * outputs


class WarpedBlock(Keyed):
    """The last block of a stage: one attention, then S streams, all alike; the shared one is first, if it is read."""

    block: Any  # timm's, which no stub describes

    def __init__(self, backbone: TransformerBackbone, block: Block, num_tasks: int, *, reads_shared: bool) -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attention_input = backbone.attention_input
        self.attend, self.attention_branch = backbone.attend, backbone.attention_branch
        self.mlp_half = backbone.mlp_half
        self.num_streams, self.reads_shared = num_tasks + reads_shared, reads_shared

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens [B, ..., C] to the shared stream, or as they are where nothing reads it, and [T, B, ..., C]."""
        values, _ = self.attend(self.block, self.attention_input(self.block, x))
        streams = x + self.attention_branch(self.block, values.expand(self.num_streams, *values.shape))
        streams = streams + self.mlp_half(self.block, streams)
        return (streams[0], streams[1:]) if self.reads_shared else (x, streams)


@METHODS.register("ditask")
class DiTASK(StreamedMethod):
    """One trunk with warped spectra, and T streams beside it inside the last block of each stage."""

    paper = "https://arxiv.org/abs/2502.06029"
    executions = ("streamed",)
    scopes = ("mixed",)
    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "attention-halves", "attention-values")

    class Config(StreamedConfig):
        """Cells of the shared flows and of the tasks', what is trained beside, and where the flows begin.

        ``train_merging``: the linear maps of patch merging, most of what the published count holds.
        """

        cells: Annotated[int, Field(gt=1)] = 64
        task_cells: Annotated[int, Field(gt=1)] = 4
        train_merging: bool = True
        identity_start: bool = False

    config: Config

    def adapt(self) -> None:
        """Unfreeze what is trained beside, warp the linear layers, open the streams."""
        backbone, config = self.transformer, self.config
        native: list[Native] = ["patch_embed", "norms", "tables"]
        self.beside = train_native(backbone, [*native, "reductions"] if config.train_merging else native)
        self.identity_at_start = config.identity_start and not self.reads_after_merge
        last = backbone.blocks[-1]
        for site in backbone.sites("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            streamed = site.is_last_in_stage and site.kind != "attn.qkv"
            shared = Warp(config.cells, None, at_identity=config.identity_start)
            own = Warp(config.task_cells, self.tasks, at_identity=config.identity_start) if streamed else None
            unread = streamed and site.stage == last.stage
            parts = 3 if site.kind == "attn.qkv" else 1
            backbone.replace(site, WarpedLinear(site.module, parts, shared, own, reads_shared=not unread))
        for block in backbone.blocks:
            if block.is_last_in_stage:
                reads = block is not last
                backbone.replace(block, WarpedBlock(backbone, block, len(self.tasks), reads_shared=reads))
        why = "the shared stream of the trunk's last block, which nothing reads"
        places = ("attn.proj", "mlp.fc1", "mlp.fc2")
        self.gradient_exempt = {f"{last.path}.block.{place}.shared": why for place in places}

    def expected_parameters(self) -> Counts:
        """N - 1 a flow: four in every block for all tasks, three a task in the last block of each stage."""
        config, ends = self.config, sum(block.is_last_in_stage for block in self.backbone.blocks)
        shared = " + ".join(["4*L*(N - 1)", *self.beside])
        return Counts(
            shared=closed(shared, L=len(self.widths), N=config.cells, **self.beside),
            per_task=closed("T * 3*E*(M - 1)", T=len(self.tasks), E=ends, M=config.task_cells),
        )

    def expected_macs(self, geometry: Geometry) -> int:
        """Every warped product in the cheaper of its two forms; attention and merging as in the trunk."""

        def product(rows: int, inputs: int, outputs: int) -> int:
            return min(products_apart(rows, inputs, outputs), products_whole(rows, inputs, outputs))

        total, own = geometry.stem, 0
        for s in geometry.stages:
            qkv = 3 * product(s.tokens, s.width, s.width)
            own = product(s.tokens, s.width, s.width)
            own += product(s.tokens, s.width, s.hidden) + product(s.tokens, s.hidden, s.width)
            total += s.merging + s.depth * (qkv + own + 2 * s.tokens * s.window * s.width) + len(self.tasks) * own
            total += len(self.tasks) * s.merging if self.reads_after_merge else 0
        return total - own  # of the last block's shared stream
