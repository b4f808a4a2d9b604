"""TADFormer: task prompts in the windows of a trunk with shared LoRA, and filters that make its features a task's own.

Paper: Baek, Lee, Jo, Choi, Min, CVPR 2025, https://arxiv.org/abs/2501.04293 (section 3), and the released code.
Differs from the paper: neither dropout in front of A (0.05 in the released settings) nor drop path. ``filter`` =
``dynamic`` is the paper's filter, whose count is the published one; ``static``, a depth-wise convolution per task, is
what the released code runs instead. In that code skip_t, of channels x tokens, is read as if it were tokens x channels,
so that the gate mixes in a map whose pixels are scattered over the image; here it lies where its tokens do. As there a
norm of prompts stands in every block and is counted, while only those in the last blocks of the stages are used.

Every block has one pair (A, B) for all tasks on qkv, proj, fc1 and fc2: y = W x + b + s B A x, s = 4. One prompt p_t
per task stands in every window of every block, without position or mask; all prompts and tokens attend to one another,
so that a task depends on which others there are. With m the mean over windows of what a prompt attends to,
    p <- p + MLP(norm2(proj(m))),   and in front of a stage   p <- U p,  U: C -> 2C.
In the last block of a stage, with v the values of the tokens, a_t the products of the query of p_t and the keys of the
tokens, per head, neither scaled nor biased, f the filter, and n the block's norm2:
    skip_t = gelu(a_t) * v,  x_t = x + W_p v + b_p + s B f(A LN(skip_t + v))      f over each window
    h_t = W_1 n(x_0) + b_1 + s B f(A n(x_t)),   z_t = x_t + W_2 gelu(h_0) + b_2 + s B f(A gelu(h_t))     f over the map
    read:  sigmoid(g) skip_t + (1 - sigmoid(g)) z_t,   g = 0 at the start.
The shared stream x_0, h_0, z_0 is the plain block with the pairs; z_0 alone enters the next stage.
"""

from collections.abc import Callable
from itertools import compress, pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods._filter import TAPS, DynamicFilter, StaticFilter
from methods._layers import input_norm
from methods._native import train_native
from methods._stream import LoRALinear, StreamedConfig, StreamedMethod, hidden_width
from petl_bench.backbones.base import Block, Carrying, Site
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.config import Positive
from petl_bench.features import Keyed, PerTask
from petl_bench.method import METHODS, Counts, Geometry, closed

SCALE = 4.0


class TaskPrompts(PerTask):
    """One prompt a task [T, C], normal around one, cut at -2 and 2."""

    vectors = ("tokens",)

    def __init__(self, width: int, tasks: tuple[str, ...]) -> None:
        super().__init__(tasks)
        self.tokens = self.stack(width)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw the prompts, one generator a row."""
        for row, token in zip(self.rows, self.tokens, strict=True):
            nn.init.trunc_normal_(token, 1.0, 1.0, -2.0, 2.0, generator=draw("tokens", row))


class Widen(Keyed):
    """U: prompts [B, T, C] to [B, T, 2C] in front of a stage; normal, 0.02."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=False)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw U."""
        nn.init.trunc_normal_(self.linear.weight, 0.0, 0.02, -2.0, 2.0, generator=draw("weight", ""))

    def forward(self, prompts: Tensor) -> Tensor:
        """Map them."""
        return self.linear(prompts)


class FilteredLinear(LoRALinear):
    """y_0 = W x_0 + b + s B A x_0 and y_t = W x_0 + b + s B f(A x_t), one pair for all streams."""

    def __init__(self, linear: nn.Linear, rank: int, own: nn.Module) -> None:
        super().__init__(linear, rank, SCALE)
        self.filter = own

    def streams(self, x: Tensor, x_tasks: Tensor, over: Callable[[Tensor], Tensor], *, last: bool) -> list[Tensor]:
        """Map [B, H, W, in] and [T, B, H, W, in] to both with [..., out]; the last layer of all updates no x_0.

        Args:
            x: The shared stream.
            x_tasks: The tasks'.
            over: Applies the filter to A x_t [T * B, H, W, r], over windows or over the map.
            last: Nothing reads y_0.
        """
        frozen = self.linear(x)
        hidden = over(self.shared.down(x_tasks).flatten(0, 1)).unflatten(0, (len(x_tasks), -1))
        return [
            frozen if last else self.shared(x, frozen),
            self.shared.lift(hidden, frozen.expand(len(x_tasks), *frozen.shape)),
        ]


class TaskPromptedBlock(Carrying):
    """A block in whose windows the prompts of the block before, or of ``entry``, stand."""

    block: Any  # timm's, which no stub describes

    def __init__(self, backbone: TransformerBackbone, block: Block, entry: TaskPrompts | Widen | None) -> None:
        super().__init__()
        self.block, self.entry = backbone.block_module(block), entry
        self.attend, self.attention_branch = backbone.attend, backbone.attention_branch
        self.attention_input, self.mlp_half = backbone.attention_input, backbone.mlp_half
        self.prompt_norm = input_norm(block.width, None)

    def entering(self, x: Tensor, carried: Tensor | None) -> Tensor:
        """Return the prompts [B, T, C] that enter."""
        if isinstance(self.entry, TaskPrompts):
            return self.entry.tokens.repeat(len(x), 1, 1)
        assert carried is not None, "the block before hands no prompts on"
        return carried if self.entry is None else self.entry(carried)

    def handed_on(self, prompts: Tensor, values: Tensor) -> Tensor:
        """Return the prompts [B, T, C] that leave, from what they attended to."""
        return prompts + self.mlp_half(self.block, self.attention_branch(self.block, values))

    def forward(self, x: Tensor, carried: Tensor | None) -> tuple[Tensor, ...]:
        """Map tokens [B, H, W, C] and prompts to both."""
        prompts = self.entering(x, carried)
        normed = self.attention_input(self.block, x), self.attention_input(self.block, prompts)
        values, own = self.attend(self.block, *normed, prompts_attend=True)
        assert own is not None
        x = x + self.attention_branch(self.block, values)
        return x + self.mlp_half(self.block, x), self.handed_on(prompts, own)


class TaskFilteredBlock(TaskPromptedBlock):
    """The last block of a stage: the tasks' streams leave beside the shared one."""

    def __init__(
        self, backbone: TransformerBackbone, block: Block, entry: TaskPrompts | Widen | None, *, last: bool
    ) -> None:
        super().__init__(backbone, block, entry)
        self.attend_scored, self.over_windows = backbone.attend_scored, backbone.over_windows
        self.gate, self.last = nn.Parameter(torch.zeros(1)), last

    def forward(self, x: Tensor, carried: Tensor | None) -> tuple[Tensor, ...]:
        """Map tokens [B, H, W, C] and prompts to both and the tasks' streams [T, B, H, W, C]."""
        block, mlp = self.block, self.block.mlp
        prompts = self.entering(x, carried)
        values, own, scores = self.attend_scored(block, block.norm1(x), block.norm1(prompts))
        weights = mlp.act(scores).permute(2, 0, 3, 4, 1).unsqueeze(-1)  # [T, B, H, W, heads, 1]
        skip = (weights * values.unflatten(-1, (weights.shape[4], -1))).flatten(-2)

        def over_windows(hidden: Tensor) -> Tensor:
            return self.over_windows(block, hidden, block.attn.proj.filter)

        entered = self.prompt_norm(skip + values)
        shared, tasks = block.attn.proj.streams(values, entered, over_windows, last=False)
        shared, tasks = x + shared, x + tasks
        hidden = mlp.fc1.streams(block.norm2(shared), block.norm2(tasks), mlp.fc1.filter, last=False)
        added, added_tasks = mlp.fc2.streams(*map(mlp.act, hidden), mlp.fc2.filter, last=self.last)
        tasks = tasks + added_tasks
        read = tasks + self.gate.sigmoid() * (skip - tasks)
        return shared + added, prompts if self.last else self.handed_on(prompts, own), read


@METHODS.register("tadformer")
class TADFormer(StreamedMethod):
    """Shared LoRA and task prompts in every block; per-task, filtered streams in the last block of each stage."""

    paper = "https://arxiv.org/abs/2501.04293"
    executions = ("streamed",)
    scopes = ("mixed",)
    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "plain-mlps", "attention-halves", "scores-in-windows")
    identity_at_start = False  # the gate begins half open

    class Config(StreamedConfig):
        """``rank`` of the pairs, and ``filter`` f: the paper's, the released code's, or none."""

        rank: Positive = 16
        filter: Literal["dynamic", "static", "none"] = "dynamic"

    config: Config

    def adapt(self) -> None:
        """Unfreeze what is trained beside, put pairs and filters at the linear layers, and prompts into the blocks."""
        backbone = self.transformer
        self.couples_tasks = len(self.tasks) > 1
        self.beside = train_native(backbone, ["patch_embed", "norms", "tables"])
        self.hidden = tuple(hidden_width(backbone.block_module(block)) for block in backbone.blocks)
        for site in backbone.sites("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            backbone.replace(site, self.layer(site))
        width = 0
        for block in backbone.blocks:
            entry = None
            if block.index == 0:
                entry = Widen(width, block.width) if width else TaskPrompts(block.width, self.tasks)
                width = block.width
            if block.is_last_in_stage:
                is_last = block is backbone.blocks[-1]
                backbone.replace(block, TaskFilteredBlock(backbone, block, entry, last=is_last))
            else:
                backbone.replace(block, TaskPromptedBlock(backbone, block, entry))
        unused = [block.path for block in backbone.blocks if not block.is_last_in_stage]
        self.gradient_exempt = {f"{path}.prompt_norm": "counted as published, and used by nothing" for path in unused}

    def layer(self, site: Site) -> LoRALinear:
        """Return what stands in place of a linear layer."""
        rank = self.config.rank
        if site.kind == "attn.qkv" or not site.is_last_in_stage:
            return LoRALinear(site.module, rank, SCALE)
        made = {"dynamic": lambda: DynamicFilter(rank), "static": lambda: StaticFilter(rank, self.tasks)}
        return FilteredLinear(site.module, rank, made.get(self.config.filter, nn.Identity)())

    def expected_parameters(self) -> Counts:
        """Pairs r (8C + 2H), norms 2C, native parts; U 2C^2; per stage a gate and three filters; C a task's prompt."""
        last = [block.is_last_in_stage for block in self.backbone.blocks]
        ends = list(compress(self.widths, last))
        sums = {"sum_C": sum(self.widths), "sum_H": sum(self.hidden), "E": len(ends), "r": self.config.rank}
        sums["widen"] = sum(one * two for one, two in pairwise(ends))
        filters = {"dynamic": ("3*E*(9*r**2 + 27*r)", "0"), "static": ("0", "3*E*10*r"), "none": ("0", "0")}
        shared, own = filters[self.config.filter]
        formula = " + ".join(["r*(8*sum_C + 2*sum_H)", "2*sum_C", "widen", "E", shared, *self.beside])
        return Counts(
            shared=closed(formula, **sums, **self.beside),
            per_task=closed(f"T*(C + {own})", T=len(self.tasks), C=ends[0], **sums),
        )

    def expected_macs(self, geometry: Geometry) -> int:
        """Prompts are projected once an image and attend in every window; a task's streams take pairs and filters."""
        r, tasks, total, behind, update = self.config.rank, len(self.tasks), geometry.stem, 0, 0
        taps = 0 if self.config.filter == "none" else TAPS
        for number, s in enumerate(geometry.stages):
            c, hidden, windows = s.width, s.hidden, s.tokens // s.window
            qkv = 3 * c * c + r * 4 * c
            behind = (
                c * c + r * 2 * c + 2 * (c * hidden + r * (c + hidden))
            )  # of a prompt or token, behind its attention
            update = s.tokens * r * (c + hidden)
            attended = windows * (s.window + tasks) ** 2 * 2 * c
            total += s.depth * ((s.tokens + tasks) * (qkv + behind) + attended) + s.merging
            own = c + r * (2 * c + 2 * (c + hidden) + 3 * taps)
            kernels = (windows + 2) * TAPS * r * r if self.config.filter == "dynamic" else 0
            total += tasks * (s.tokens * own + kernels)
            total += tasks * (c * geometry.stages[number - 1].width if number else 0)
            total += tasks * s.merging if self.reads_after_merge else 0
        return total - tasks * behind - update  # of the last block's prompts and of its shared stream
