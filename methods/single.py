"""Single-task full fine-tuning: one backbone per task. The reference of delta_m.

Paper: none of its own; the reference of delta_m since Maninis et al., 2019, https://arxiv.org/abs/1904.08918.
Differs from the paper: the T trainings share one run and its image batches; they share no parameter, and gradients are
clipped per task, so the numbers are those of T separate runs.
"""

import copy

from torch import Tensor, nn

from petl_bench.backbones.base import Backbone
from petl_bench.features import Features
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("single")
class Single(Method):
    """T trained backbones; decoder t reads the pyramid of backbone t."""

    paper = "https://arxiv.org/abs/1904.08918"
    executions = ("replicated",)
    scopes = ("per-task",)

    def adapt(self) -> None:
        """Copy the backbone once per task beyond the first and unfreeze every copy."""
        copies = [self.backbone] + [self.copy_backbone() for _ in self.tasks[1:]]
        self.replicas = nn.ModuleDict(dict(zip(self.tasks, copies, strict=True)))
        self.replicas.requires_grad_(True)

    @property
    def execution(self) -> str:
        """T backbones run."""
        return "replicated"

    def private_modules(self) -> dict[str, nn.Module]:
        """Return each task's backbone."""
        return dict(self.replicas.items())

    def merged(self, t: int) -> Backbone:
        """Return a copy of the backbone of task number ``t``."""
        replica = self.replicas[self.tasks[t]]
        assert isinstance(replica, Backbone)
        return copy.deepcopy(replica)

    def expected_parameters(self) -> Counts:
        """Return T backbones."""
        return Counts(per_task=closed("T * backbone", T=len(self.tasks), backbone=self.backbone.num_parameters))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """T backbones."""
        return len(self.tasks) * (geometry.stem + geometry.blocks)

    def forward(self, image: Tensor) -> Features:
        """Run every task's backbone on the images [B, 3, H, W]."""
        return Features(per_task={task: replica(image) for task, replica in self.replicas.items()})
