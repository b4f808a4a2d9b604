"""The tasks' losses of a training step, and the weights they start from."""

from collections.abc import Mapping

from torch import Tensor

from petl_bench.config import RunConfig
from petl_bench.tasks.base import TaskSpec


def loss_weights(config: RunConfig, specs: Mapping[str, TaskSpec]) -> dict[str, float]:
    """Return the weight of every task's loss: the published one unless the config says another."""
    return {task: config.train.loss_weights.get(task, spec.loss_weight) for task, spec in specs.items()}


def task_losses(
    specs: Mapping[str, TaskSpec],
    predictions: Mapping[str, Tensor],
    labels: Mapping[str, Tensor],
    whole: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the unweighted losses by task, or what a part of the ``whole`` batch's labels adds to its losses."""
    return {
        task: spec.loss(predictions[task].float(), labels[task], None if whole is None else whole[task])
        for task, spec in specs.items()
    }
