"""MTLoRA: shared LoRA in every block, and per-task LoRA on streams of its own in the last block of each stage.

Paper: Agiza, Neseem, Reda, CVPR 2024, https://arxiv.org/abs/2403.20320 (section 3), and the authors' released code.
Differs from the paper: neither dropout in front of A (0.05 in the released settings) nor drop path, so that a run
repeats bit for bit; ``taps = "before-merge"`` by default, as every method here is read, where theirs reads each stage
after patch merging. As in the released code nothing reads z_0 of the last block: the shared LoRA of its fc2, 5 r C
parameters, is counted, and neither computed nor trained.

Every block has one pair (A, B) for all tasks on qkv, proj, fc1 and fc2:  y = W x + b + s B A x.
In the last block of a stage, with v the values of its attention and n its norm2, proj, fc1 and fc2 have pairs
(A_t, B_t) as well, and stream t takes the frozen product of the shared stream 0:
    x_0 = x + W_p v + b_p + s B A v                           x_t = x + W_p v + b_p + s B_t A_t v
    h_0 = W_1 n(x_0) + b_1 + s B A n(x_0)                     h_t = W_1 n(x_0) + b_1 + s B_t A_t n(x_t)
    z_0 = x_0 + W_2 gelu(h_0) + b_2 + s B A gelu(h_0)         z_t = x_t + W_2 gelu(h_0) + b_2 + s B_t A_t gelu(h_t)
z_0 alone enters the next stage; decoder t reads z_t of every stage.
"""

from itertools import compress
from typing import Annotated, Literal

from pydantic import Field
from torch import nn

from methods._native import Native, train_native
from methods._stream import LoRALinear, LowRank, StreamedConfig, StreamedMethod, open_streams
from petl_bench.config import MethodConfig, Positive
from petl_bench.method import METHODS, Counts, Geometry, closed


@METHODS.register("mtlora")
class MTLoRA(StreamedMethod):
    """One trunk with shared LoRA, and T streams beside it inside the last block of each stage."""

    paper = "https://arxiv.org/abs/2403.20320"
    executions = ("streamed",)
    scopes = ("mixed",)
    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2", "plain-mlps", "attention-halves", "attention-values")

    class Config(StreamedConfig):
        """``rank`` of the shared LoRA, ``task_rank`` of the tasks', ``scale`` s, and what is trained beside.

        ``reduction`` is the linear map of patch merging: ``lora`` freezes it and gives it shared LoRA (MTLoRA+).
        """

        rank: Positive = 16
        task_rank: Positive = 4
        scale: Annotated[float, Field(gt=0)] = 4.0
        train_patch_embed: bool = True
        train_norms: bool = True
        train_tables: bool = True
        reduction: Literal["train", "lora", "frozen"] = "train"

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """To adapt patch merging, it must be there."""
        adapted = isinstance(config, MTLoRA.Config) and config.reduction == "lora"
        return tuple(dict.fromkeys([*super().needs_of(config), *(["patch-merging"] if adapted else [])]))

    def adapt(self) -> None:
        """Unfreeze what is trained beside, put LoRA beside the linear layers, open the streams."""
        backbone, config = self.backbone, self.config
        reductions = backbone.reductions()
        chosen: dict[Native, bool] = {
            "patch_embed": config.train_patch_embed,
            "norms": config.train_norms,
            "tables": config.train_tables,
            "reductions": config.reduction == "train",
        }
        self.beside = train_native(backbone, [name for name, trains in chosen.items() if trains])
        low_rank = reductions if config.reduction == "lora" else ()
        self.merging = sum(operation.module.in_features + operation.module.out_features for operation in low_rank)
        for operation in low_rank:
            backbone.replace(operation, LoRALinear(operation.module, config.rank, config.scale))

        def own(linear: nn.Linear) -> LowRank:
            return LowRank(linear.in_features, linear.out_features, config.task_rank, config.scale, self.tasks)

        self.hidden = open_streams(self.transformer, len(self.tasks), config.rank, config.scale, own)
        self.identity_at_start = not self.reads_after_merge
        unread = f"{backbone.blocks[-1].path}.block.mlp.fc2.shared"
        self.gradient_exempt = {unread: "the shared output of the trunk's last block, which nothing reads"}

    def expected_parameters(self) -> Counts:
        """A pair has r (inputs + outputs): 4C on qkv, 2C on proj, C + H on each of fc1 and fc2, H the MLP's width."""
        shared = " + ".join(["r*(8*sum_C + 2*sum_H + merging)", *self.beside])
        sums = {"sum_C": sum(self.widths), "sum_H": sum(self.hidden), "merging": self.merging}
        last = [block.is_last_in_stage for block in self.backbone.blocks]
        ends = {"sum_C": sum(compress(self.widths, last)), "sum_H": sum(compress(self.hidden, last))}
        return Counts(
            shared=closed(shared, r=self.config.rank, **sums, **self.beside),
            per_task=closed("T*q*(4*sum_C + 2*sum_H)", T=len(self.tasks), q=self.config.task_rank, **ends),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Pairs on qkv, proj, fc1 and fc2 of all tokens; a task's on the last three of the last blocks."""
        if self.config.reduction == "lora":
            return None
        ends = [(s.tokens * 2 * s.width, s.tokens * (s.width + s.hidden)) for s in geometry.stages]
        depths = [stage.depth for stage in geometry.stages]
        pairs = sum(depth * (3 * proj + 2 * mlp) for depth, (proj, mlp) in zip(depths, ends, strict=True))
        unread = ends[-1][1]  # of fc2 in the last block, whose shared stream nothing reads
        own = self.config.task_rank * sum(proj + 2 * mlp for proj, mlp in ends)
        own += sum(stage.merging for stage in geometry.stages) if self.reads_after_merge else 0
        whole = geometry.stem + geometry.blocks + self.config.rank * (pairs - unread)
        return whole + len(self.tasks) * own
