"""What a measured training step follows: a run's losses and balancer, on random labels."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from petl_bench.config import RunConfig
from petl_bench.engine.balancers import Balancer, make_balancer
from petl_bench.engine.build import task_specs
from petl_bench.engine.losses import loss_weights, task_losses
from petl_bench.measure.count.meta import SYNTHETIC
from petl_bench.model import MultiTaskModel
from petl_bench.plugins import load
from petl_bench.tasks.base import TaskSpec


@dataclass(frozen=True)
class Objective:
    """The tasks' losses on fixed labels, and the balancer that takes them backwards."""

    specs: Mapping[str, TaskSpec]
    labels: Mapping[str, Tensor]
    balancer: Balancer

    def losses(self, predictions: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the unweighted losses by task."""
        return task_losses(self.specs, predictions, self.labels)


def objective_of(config: RunConfig, channels: Mapping[str, int], model: MultiTaskModel, image: Tensor) -> Objective:
    """Return the objective of a run that has these tasks, for a batch like ``image`` [B, 3, H, W], on its device.

    Raises:
        UsageError: The run's balancer cannot work with its precision or parts of a batch.
    """
    declared = task_specs(config)
    filling = load("tasks", SYNTHETIC)
    specs = {task: declared.get(task) or filling(number) for task, number in channels.items()}
    balancer = make_balancer(config, model, loss_weights(config, specs))
    return Objective(specs, random_labels(specs, image), balancer)


def random_labels(specs: Mapping[str, TaskSpec], image: Tensor) -> dict[str, Tensor]:
    """Return labels by task as they are stored, for a batch like ``image``, on its device."""
    batch, _, height, width = image.shape
    return {
        task: spec.as_label(torch.randn(batch, spec.channels, height, width, device=image.device))
        for task, spec in specs.items()
    }
