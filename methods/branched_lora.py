"""Branched LoRA: one LoRA for all tasks in the early stages, then a branch of the trunk for every group of tasks.

Paper: Gangwar et al., 2025, https://arxiv.org/abs/2509.19602: LoRA shared early and split late, tasks grouped by the
cosine of their gradients.
Differs from the paper: a reconstruction from its abstract and summaries, since neither code nor tables were at hand;
this trunk branches once, in front of a stage, where the paper's splits progressively. Every linear layer of a block has
    y = W x + b + B A x,    one pair (A, B) for all tasks, and behind the branching one pair for every group,
A Kaiming-uniform(sqrt 5), B zero. The later stages run once for every group. ``groups`` names them, such as
``semseg+human_parts,saliency+normals``; a task that stands in none has a branch of its own.
``petl-bench groups`` proposes groups by the cosines of gradients in a short training.
"""

import difflib
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from methods._stream import LoRALinear, LowRank
from petl_bench.config import MethodConfig, Positive
from petl_bench.errors import UsageError
from petl_bench.features import Features, Keyed
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


class BranchedLinear(Keyed):
    """y_g = W x_g + b + B_g A_g x_g for every branch g, in a batch with all images of one, then of the next."""

    def __init__(self, linear: nn.Linear, rank: int, branches: tuple[str, ...]) -> None:
        super().__init__()
        self.linear = linear
        inputs, outputs = linear.in_features, linear.out_features
        self.pairs = nn.ModuleDict({branch: LowRank(inputs, outputs, rank, 1.0, None) for branch in branches})

    def forward(self, x: Tensor) -> Tensor:
        """Map [G * B, ..., in] to [G * B, ..., out]."""
        number, frozen = len(self.pairs), self.linear(x)
        each = zip(self.pairs.values(), x.chunk(number), frozen.chunk(number), strict=True)
        return torch.cat([pair(own, onto) for pair, own, onto in each])


@METHODS.register("branched-lora")
class BranchedLoRA(Method):
    """Shared LoRA up to a stage, then a branch with its own LoRA for every group of tasks."""

    paper = "https://arxiv.org/abs/2509.19602"
    executions = ("forked", "branched", "shared")
    scopes = ("mixed",)
    needs = ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")

    class Config(MethodConfig):
        """``rank`` of all pairs; ``shared_stages`` in front of the branching; ``groups`` of tasks, by name."""

        rank: Positive = 16
        shared_stages: Annotated[int, Field(ge=0, le=4)] = 2
        groups: Annotated[str, Field(pattern=r"^$|^[^,+\s]+([,+][^,+\s]+)*$")] = ""

    config: Config

    def adapt(self) -> None:
        """Put shared pairs in front of the branching and a pair for every branch behind it."""
        self.branch_of = self.branches_of_tasks()
        self.branches = tuple(dict.fromkeys(self.branch_of.values()))
        rank, stage = self.config.rank, self.config.shared_stages
        starts = [number for number, block in enumerate(self.backbone.blocks) if block.stage == stage]
        self.branch_at = starts[0] if starts else None
        self.sizes: dict[bool, int] = {False: 0, True: 0}
        for site in self.backbone.sites(*self.needs):
            branched, linear = site.stage >= stage, site.module
            layer = BranchedLinear(linear, rank, self.branches) if branched else LoRALinear(linear, rank, 1.0)
            self.sizes[branched] += linear.in_features + linear.out_features
            self.backbone.replace(site, layer)

    def branches_of_tasks(self) -> dict[str, str]:
        """Return by task the branch that it runs on, named by the tasks of its group.

        Raises:
            UsageError: A task stands in two groups, or one is spelt nearly like a task.
        """
        groups = [group.split("+") for group in self.config.groups.split(",") if group]
        named = [task for group in groups for task in group]
        twice = next((task for task in named if named.count(task) > 1), None)
        if twice is not None:
            raise UsageError(f"groups = {self.config.groups!r}: {twice!r} stands in more than one place.")
        for task in set(named) - set(self.tasks):  # a run of fewer tasks may keep the groups of all
            for meant in difflib.get_close_matches(task, self.tasks, n=1, cutoff=0.8):
                raise UsageError(f"groups = {self.config.groups!r}: there is no task {task!r}. Did you mean {meant!r}?")
        branch_of = {task: "+".join(group) for group in groups for task in group}
        return {task: branch_of.get(task, task) for task in self.tasks}

    @property
    def forks(self) -> int:
        """How many times the later stages run."""
        return 1 if self.branch_at is None else len(self.branches)

    @property
    def execution(self) -> str:
        """As many branches as tasks, fewer, or one."""
        return "shared" if self.forks == 1 else "forked" if self.forks == len(self.tasks) else "branched"

    def private_modules(self) -> dict[str, nn.Module]:
        """Return the pairs of every task whose group, as it is named, holds no other task."""
        layers = [layer for layer in self.modules() if isinstance(layer, BranchedLinear)]
        alone = [task for task, branch in self.branch_of.items() if branch == task]
        return {task: nn.ModuleList(layer.pairs[task] for layer in layers) for task in alone}

    def forward(self, image: Tensor) -> Features:
        """Run the early stages once on images [B, 3, H, W], and the later ones for every branch."""
        walk = self.backbone.walk(image, fork_at=self.branch_at if self.forks > 1 else None, num_tasks=self.forks)
        pyramid = self.backbone.pyramid(walk.streams)
        if self.forks == 1:
            return Features(shared=pyramid)
        levels = zip(*(level.chunk(self.forks) for level in pyramid), strict=True)
        by_branch = dict(zip(self.branches, levels, strict=True))
        return Features(per_task={task: by_branch[branch] for task, branch in self.branch_of.items()})

    def expected_parameters(self) -> Counts:
        """A pair has r (inputs + outputs): once in the early stages, in the later ones once for every group."""
        alone = sum(branch == task for task, branch in self.branch_of.items())
        together = len(self.branches) - alone
        sizes = {"early": self.sizes[False], "late": self.sizes[True]}
        shared = closed("r*(early + groups*late)", r=self.config.rank, groups=together, **sizes)
        return Counts(shared=shared, per_task=closed("alone*r*late", alone=alone, r=self.config.rank, **sizes))

    def expected_macs(self, geometry: Geometry) -> int:
        """The stem and the early stages once, the later ones for every branch; pairs of 8 C + 2 H a token."""
        total = geometry.stem
        for number, stage in enumerate(geometry.stages):
            pairs = stage.depth * stage.tokens * self.config.rank * (8 * stage.width + 2 * stage.hidden)
            total += (stage.macs + pairs) * (self.forks if number >= self.config.shared_stages else 1)
        return total
