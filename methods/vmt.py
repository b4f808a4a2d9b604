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

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from methods._layers import Activation, BranchedBlock, PerTaskLayerNorm, adapter, bottleneck_sums
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import Features, PerTask
from petl_bench.method import Counts, Method, closed
from petl_bench.registry import METHODS


class TappedBlock(BranchedBlock):
    """A block with a parallel adapter that also hands out u: tokens [..., C] to the pair (block output, u)."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map tokens [..., C] to the block's output and u, both [..., C]."""
        return self.run(x)


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
    scopes = ("mixed",)
    gradient_exempt = {"beta": "a decoder that begins with an affine layer and a batch norm absorbs a constant shift"}

    class Config(MethodConfig):
        """``task_path``: where k_t goes; ``rho``: width over bottleneck; ``activation`` in between; ``scale``: s."""

        task_path: Literal["tap"] = "tap"
        rho: Positive = 4
        activation: Activation = "gelu"
        scale: Annotated[float, Field(gt=0)] = 1.0

    config: Config

    def adapt(self) -> None:
        """Wrap every block and create one read-out a stage."""
        for block in self.backbone.blocks:
            norm = PerTaskLayerNorm(nn.LayerNorm(block.width), None)
            inner, activation, scale = block.width // self.config.rho, self.config.activation, self.config.scale
            branch = adapter(block.width, inner, None, activation, norm=norm, scale=scale)
            self.backbone.replace(block, TappedBlock(self.backbone, block, branch))
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
        return Counts(
            shared=closed("2*sum_Cr + sum_r + 3*sum_C", **bottleneck_sums(self.widths, self.config.rho)),
            per_task=closed("T * 2*sum_C", T=len(self.tasks), sum_C=sum(self.widths)),
        )
