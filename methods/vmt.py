"""VMT-Adapter: one shared adapter beside every MLP, and a scale and a shift per task that read it out.

Paper: Xin et al., AAAI 2024, https://arxiv.org/abs/2312.08733 (abstract; no public code).
Differs from the paper: a reconstruction. The paper states: parallel to the MLP of every Swin block; a shared part and
independent per-task knowledge extraction modules with few parameters; multi-scale task-generic and task-specific
information for each decoder; about O(1) cost in the number of tasks; about 1 % of the parameters. Our equations:
    x' = x + attention(norm1(x)),   u = s (W_up act(W_down LN(x') + b_down) + b_up)
    block output = x' + MLP(norm2(x')) + u                    (u alone re-enters the trunk)
    decoder t reads, per stage, output + sum over its blocks of (alpha_t * u + beta_t)
and the count that follows: 1,127,952 on Swin-T for 4 tasks, 1.02 % of four backbones.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Block
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import Features, Keyed, PerTask
from petl_bench.method import Counts, Method
from petl_bench.registry import METHODS

ACTIVATIONS = {"relu": F.relu, "gelu": F.gelu}


class ParallelAdapterBlock(Keyed):
    """A frozen block with an adapter beside its MLP: tokens [..., C] to the pair (block output, u)."""

    def __init__(self, backbone: Backbone, block: Block, config: "VMT.Config") -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attention_half, self.mlp_half = backbone.attention_half, backbone.mlp_half
        self.activation, self.scale = ACTIVATIONS[config.activation], config.scale
        self.norm = nn.LayerNorm(block.width)
        self.down = nn.Linear(block.width, block.width // config.rho)
        self.up = nn.Linear(block.width // config.rho, block.width)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """W_down Kaiming-uniform(sqrt 5), the rest zero: at the start u = 0."""
        nn.init.kaiming_uniform_(self.down.weight, a=5**0.5, generator=draw("down", "shared"))
        for parameter in (self.down.bias, self.up.weight, self.up.bias):
            parameter.zero_()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Run the block on tokens [..., C]."""
        x = self.attention_half(self.block, x)
        u = self.scale * self.up(self.activation(self.down(self.norm(x))))
        return x + self.mlp_half(self.block, x) + u, u


class KnowledgeExtraction(PerTask):
    """k_t = sum over the blocks of a stage of alpha_t * u + beta_t, for all tasks at once; starts at zero."""

    vectors = ("alpha", "beta")

    def __init__(self, num_blocks: int, width: int, tasks: tuple[str, ...]) -> None:
        super().__init__(tasks)
        self.alpha = self.stack(num_blocks, width)
        self.beta = self.stack(num_blocks, width)

    def forward(self, stream: Tensor, adapted: tuple[Tensor, ...]) -> Tensor:
        """Add every task's k_t to the stage output: [B, ..., C] and n times [B, ..., C] to [T, B, ..., C]."""
        rows = (self.num_rows, *[1] * (stream.dim() - 1), stream.shape[-1])
        out = stream + self.beta.sum(1).view(rows)
        for alpha, u in zip(self.alpha.unbind(1), adapted, strict=True):
            out = torch.addcmul(out, alpha.view(rows), u)
        return out


@METHODS.register("vmt")
class VMT(Method):
    """Shared parallel adapters in the trunk, per-task read-outs beside it: one pass for any number of tasks."""

    paper = "https://arxiv.org/abs/2312.08733"
    executions = ("tapped",)
    gradient_exempt = {"beta": "a decoder that begins with an affine layer and a batch norm absorbs a constant shift"}

    class Config(MethodConfig):
        """``task_path``: where k_t goes; ``rho``: width over bottleneck; ``activation`` in between; ``scale``: s."""

        task_path: Literal["tap"] = "tap"
        rho: Positive = 4
        activation: Literal["relu", "gelu"] = "gelu"
        scale: Annotated[float, Field(gt=0)] = 1.0

    config: Config

    def adapt(self) -> None:
        """Wrap every block and create one read-out a stage."""
        for block in self.backbone.blocks:
            self.backbone.replace(block, ParallelAdapterBlock(self.backbone, block, self.config))
        depths = [sum(block.stage == s for block in self.backbone.blocks) for s in range(len(self.backbone.stages))]
        self.extract = nn.ModuleList(
            KnowledgeExtraction(depth, stage.channels, self.tasks)
            for depth, stage in zip(depths, self.backbone.stages, strict=True)
        )

    @property
    def execution(self) -> str:
        """One trunk; what belongs to a task never re-enters a frozen block."""
        return "tapped"

    def forward(self, image: Tensor) -> Features:
        """Run the trunk once on images [B, 3, H, W] and read it out for every task."""
        walk = self.backbone.walk(image)
        levels: list[Tensor] = []
        for s, (extract, stream) in enumerate(zip(self.extract, walk.streams, strict=True)):
            tokens = extract(stream, walk.extras[s]).flatten(0, 1)
            levels.append(self.backbone.to_map(tokens, s).unflatten(0, (len(self.tasks), -1)))
        return Features(per_task={task: tuple(level[t] for level in levels) for t, task in enumerate(self.tasks)})

    def expected_parameters(self) -> Counts:
        """Adapter 2 C r + r + C, its LayerNorm 2C, and 2C a task, summed over blocks."""
        widths = [block.width for block in self.backbone.blocks]
        adapters = sum(2 * c * (c // self.config.rho) + c // self.config.rho + 3 * c for c in widths)
        return Counts(shared=adapters, per_task=2 * len(self.tasks) * sum(widths))
