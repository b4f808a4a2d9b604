"""Streams inside a block: a shared one and one per task, each with its own update of one frozen product.

The tasks' streams are stacked, [T, B, ..., C]. A frozen weight multiplies the shared stream alone; the tasks' updates
are added to copies of that product, all tasks in one batched product.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor, nn

from methods._layers import PerTaskLinear, Tasks
from petl_bench.backbones.base import Block, StageInfo
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.config import MethodConfig
from petl_bench.features import Features, Keyed, split
from petl_bench.method import Method


class LowRank(nn.Module):
    """onto + s B A x, A: [rank, in] Kaiming-uniform(sqrt 5), B: [out, rank] zero; a pair per task, or one for all."""

    def __init__(self, inputs: int, outputs: int, rank: int, scale: float, tasks: Tasks) -> None:
        super().__init__()
        self.scale = scale
        self.down = PerTaskLinear(inputs, rank, tasks, start="kaiming", bias=False)
        self.up = PerTaskLinear(rank, outputs, tasks, start="zero", bias=False)

    def forward(self, x: Tensor, onto: Tensor) -> Tensor:
        """Add the update for ``x`` [T * B, ..., in] to ``onto`` [T * B, ..., out], one batched product over tasks."""
        return self.lift(self.down(x), onto)

    def lift(self, hidden: Tensor, onto: Tensor) -> Tensor:
        """Add s B hidden, of A x [T * B, ..., rank], to ``onto`` [T * B, ..., out]."""
        rows = self.up.num_rows
        return torch.baddbmm(split(onto, rows), split(self.scale * hidden, rows), self.up.weight.mT).view(onto.shape)


class LoRALinear(nn.Module):
    """y = W x + b + s B A x, one pair (A, B) for all tasks; W and b stay as they are, frozen or trained."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float) -> None:
        super().__init__()
        self.linear = linear
        self.shared = LowRank(linear.in_features, linear.out_features, rank, scale, None)

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., in] to [..., out]."""
        return self.shared(x, self.linear(x))


class StreamedLinear(LoRALinear):
    """y_0 = W x_0 + b + s B A x_0 and y_t = W x_0 + b + what ``own`` adds for x_t: W x_0 is taken once for all."""

    def __init__(self, linear: nn.Linear, rank: int, scale: float, own: nn.Module) -> None:
        super().__init__(linear, rank, scale)
        self.per_task = own

    def streams(self, x: Tensor, x_tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Map the shared stream [B, ..., in] and the tasks' [T, B, ..., in] to both with [..., out]."""
        frozen = self.linear(x)
        return self.shared(x, frozen), self.per_task(x_tasks, frozen.expand(len(x_tasks), *frozen.shape))

    def forward(self, x: Tensor) -> Tensor:
        """Map all streams in one tensor [1 + T, B, ..., in], the shared one first, to [1 + T, B, ..., out]."""
        shared, per_task = self.streams(x[0], x[1:])
        return torch.cat([shared.unsqueeze(0), per_task])


class LastStreamedLinear(StreamedLinear):
    """The last layer of the trunk: nothing reads its shared stream, so that no update is added to it."""

    def streams(self, x: Tensor, x_tasks: Tensor) -> tuple[Tensor, Tensor]:
        """Map the shared stream [B, ..., in] and the tasks' [T, B, ..., in] to W x + b and the tasks' [..., out]."""
        frozen = self.linear(x)
        return frozen, self.per_task(x_tasks, frozen.expand(len(x_tasks), *frozen.shape))


class StreamedBlock(Keyed):
    """A block whose output projection, fc1 and fc2 are ``StreamedLinear``: one attention, then 1 + T streams.

    The shared stream is the block's output; the tasks' streams leave beside it and enter no other block. Inside the
    MLP, where they are widest, the two stay apart, because joining them would copy them once more a layer.
    """

    block: Any  # timm's, which no stub describes

    def __init__(self, backbone: TransformerBackbone, block: Block, num_tasks: int) -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attend, self.attention_branch = backbone.attend, backbone.attention_branch
        self.attention_input = backbone.attention_input
        self.mlp_input, self.mlp_branch = backbone.mlp_input, backbone.mlp_branch
        self.num_tasks = num_tasks

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens [B, ..., C] to the shared stream [B, ..., C] and the tasks' [T, B, ..., C]."""
        mlp = self.block.mlp
        values, _ = self.attend(self.block, self.attention_input(self.block, x))
        x = x + self.attention_branch(self.block, values.expand(1 + self.num_tasks, *values.shape))
        normed = self.mlp_input(self.block, x)
        hidden = (mlp.norm(mlp.drop1(mlp.act(h))) for h in mlp.fc1.streams(normed[0], normed[1:]))
        shared, per_task = (self.mlp_branch(self.block, mlp.drop2(out)) for out in mlp.fc2.streams(*hidden))
        return x[0] + shared, x[1:] + per_task


def open_streams(
    backbone: TransformerBackbone, num_tasks: int, rank: int, scale: float, own: Callable[[nn.Linear], nn.Module]
) -> tuple[int, ...]:
    """Put shared LoRA on qkv, proj, fc1 and fc2 of every block, and streams in the last block of each stage.

    Args:
        backbone: What is adapted.
        num_tasks: T.
        rank: Of the shared LoRA.
        scale: Its factor s.
        own: Makes, for a frozen layer, what adds the tasks' updates for x [T, B, ..., in] to a tensor [T, B, ..., out].

    Returns:
        The hidden width of every block's MLP.
    """
    hidden = tuple(hidden_width(backbone.block_module(block)) for block in backbone.blocks)
    for site in backbone.sites("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
        if site.is_last_in_stage and site.kind != "attn.qkv":
            is_last = site.kind == "mlp.fc2" and site.block == len(backbone.blocks) - 1
            made = LastStreamedLinear if is_last else StreamedLinear
            layer = made(site.module, rank, scale, own(site.module))
        else:
            layer = LoRALinear(site.module, rank, scale)
        backbone.replace(site, layer)
    for block in backbone.blocks:
        if block.is_last_in_stage:
            backbone.replace(block, StreamedBlock(backbone, block, num_tasks))
    return hidden


def hidden_width(block: Any) -> int:
    """Return the hidden width of a timm block's MLP."""
    return block.mlp.fc1.out_features


class StreamedConfig(MethodConfig):
    """``taps``: whether the decoders read a stage's streams as they are, or behind the patch merging that follows."""

    taps: Literal["before-merge", "after-merge"] = "before-merge"


class StreamedMethod(Method):
    """A method whose tasks have streams of their own in the last block of each stage, and nowhere else."""

    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "attention-halves", "attention-values")

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Read behind patch merging, it must be there."""
        moved = isinstance(config, StreamedConfig) and config.taps == "after-merge"
        return (*cls.needs, "patch-merging") if moved else cls.needs

    @property
    def reads_after_merge(self) -> bool:
        """Whether the decoders read behind the patch merging that follows a stage."""
        assert isinstance(self.config, StreamedConfig), f"the Config of {self.name!r} is no StreamedConfig"
        return self.config.taps == "after-merge"

    @property
    def execution(self) -> str:
        """One trunk; the tasks' streams live inside the last block of a stage."""
        return "streamed"

    @property
    def feature_info(self) -> tuple[StageInfo, ...]:
        """Return the stages, or what they become by patch merging; the last one is not merged."""
        stages = self.backbone.stages
        return (*stages[1:], stages[-1]) if self.reads_after_merge else stages

    def forward(self, image: Tensor) -> Features:
        """Run the trunk once on images [B, 3, H, W] and read the streams that leave it beside."""
        last = len(self.backbone.stages) - 1
        levels: list[Tensor] = []
        for stage, (streams,) in enumerate(self.backbone.walk(image).extras):
            tokens = streams.flatten(0, 1)
            if self.reads_after_merge and stage < last:
                stage += 1
                tokens = self.backbone.enter_stage(tokens, stage)
            levels.append(self.backbone.to_map(tokens, stage))
        return self.by_task(tuple(levels))
