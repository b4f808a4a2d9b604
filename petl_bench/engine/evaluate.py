"""Evaluate a model, and the trivial predictor beside it, on all images of a split."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from petl_bench.data.base import Batch, DenseDataset
from petl_bench.model import MultiTaskModel
from petl_bench.tasks.base import TaskSpec

Values = dict[str, dict[str, float]]


def in_order(dataset: DenseDataset, batch_size: int) -> Iterator[Batch]:
    """Yield a split in its order."""
    for start in range(0, len(dataset), batch_size):
        yield dataset.batch(range(start, min(start + batch_size, len(dataset))))


@torch.inference_mode()
def evaluate(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    dataset: DenseDataset,
    *,
    batch_size: int,
    tell: Callable[[int], None],
) -> tuple[Values, dict[str, np.ndarray]]:
    """Return every task's metric values, and its per-image scores [N] in the order of the split."""
    model = model.for_inference()
    device = next(model.parameters()).device
    metrics = {task: spec.metric() for task, spec in specs.items()}
    scores: dict[str, list[Tensor]] = {task: [] for task in specs}
    for batch in in_order(dataset, batch_size):
        local = batch.to(device)
        predictions = model(local.images)
        for task, metric in metrics.items():
            scores[task].append(metric.update(predictions[task].float(), local.labels[task]).cpu())
        tell(len(batch.images))
    values = {task: metric.compute() for task, metric in metrics.items()}
    return values, {task: torch.cat(parts).numpy() for task, parts in scores.items()}


@torch.inference_mode()
def evaluate_trivial(
    specs: Mapping[str, TaskSpec], train: DenseDataset, test: DenseDataset, *, batch_size: int
) -> Values:
    """Fit every task's trivial predictor on the training labels and evaluate it like a model."""
    values: Values = {}
    for task, spec in specs.items():
        constant = spec.trivial(batch.labels[task] for batch in in_order(train, batch_size))
        metric = spec.metric()
        for batch in in_order(test, batch_size):
            metric.update(constant.expand(len(batch.images), *constant.shape), batch.labels[task])
        values[task] = metric.compute()
    return values


@torch.inference_mode()
def decoded(
    model: MultiTaskModel, specs: Mapping[str, TaskSpec], dataset: DenseDataset, indices: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return what the model says of a few images, as maps to draw: [N, H, W] or [N, H, W, 3] by task."""
    model = model.for_inference()
    device = next(model.parameters()).device
    predictions = model(dataset.batch(indices).images.to(device))
    maps: dict[str, np.ndarray] = {}
    for task, spec in specs.items():
        value = spec.decode(predictions[task].float()).cpu()
        maps[task] = (value.movedim(1, -1) if value.dim() == 4 else value).numpy()
    return maps
