"""Evaluate a model on all images of a split."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor

from petl_bench.data.base import Batch, DenseDataset
from petl_bench.engine.out_of_memory import is_out_of_memory, release
from petl_bench.engine.processes import merged, share
from petl_bench.model import MultiTaskModel
from petl_bench.tasks.base import Statistics, TaskSpec


@dataclass(frozen=True)
class Measured:
    """A task on a set of images.

    Attributes:
        values: Every metric.
        statistics: What the values are made of, one row an image.
        scores: One score per image [N], in the order of the split.
        size: Height and width in pixels at which it was scored; None: each image at its own.
    """

    values: Mapping[str, float]
    statistics: Statistics
    scores: np.ndarray
    size: tuple[int, int] | None


def in_order(dataset: DenseDataset, batch_size: int, images: range | None = None) -> Iterator[Batch]:
    """Yield a split, or consecutive images of it, in its order."""
    images = range(len(dataset)) if images is None else images
    for start in range(0, len(images), batch_size):
        yield dataset.batch(images[start : start + batch_size])


@torch.inference_mode()
def evaluate(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    dataset: DenseDataset,
    *,
    batch_size: int,
    tell: Callable[[int], None],
    accelerator: Accelerator,
) -> dict[str, Measured]:
    """Score every task on every image once, in one of the processes, and merge what they saw in every one.

    Args:
        model: What is scored.
        specs: Its tasks.
        dataset: The images.
        batch_size: Images of a pass.
        tell: Called with the number of images done.
        accelerator: Its processes.
    """
    model = model.for_inference()
    device = next(model.parameters()).device
    metrics = {task: spec.metric() for task, spec in specs.items()}
    sizes: dict[str, tuple[int, int] | None] = {}
    done, parts, world = 0, 1, accelerator.num_processes
    for batch in in_order(dataset, batch_size, share(len(dataset), accelerator.process_index, world)):
        local = batch.to(device)
        predictions, parts = predicted(model, local.images, parts)
        for task, metric in metrics.items():
            for prediction, label in local.scored(task, predictions[task].float()):
                metric.update(prediction, label)
            height, width = local.labels[task].shape[-2:]
            sizes[task] = None if local.native else (height, width)
        done += len(batch.images)
        tell(min(len(dataset), done * world))
    own = {task: metric.statistics() for task, metric in metrics.items()} if done else {}
    statistics = merged(own, accelerator)
    measured: dict[str, Measured] = {}
    for task, spec in specs.items():
        scores = spec.scores(statistics[task])
        assert len(scores) == len(dataset), f"{len(scores)} images were scored for {task}, there are {len(dataset)}"
        size = sizes.get(task, (0, 0))  # the main process has images if any has
        measured[task] = Measured(spec.values(statistics[task]), statistics[task], scores, size)
    return measured


def predicted(model: MultiTaskModel, images: Tensor, parts: int = 1) -> tuple[dict[str, Tensor], int]:
    """Return what a model says of images [B, 3, H, W] by task, and in how many parts they went through it.

    Where memory runs out there are twice as many, down to one image each. Images do not depend on each other here.
    """
    while True:
        try:
            passes = [model(part) for part in images.tensor_split(min(parts, len(images)))]
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or parts >= len(images):
                raise
        else:
            whole = passes[0] if len(passes) == 1 else {t: torch.cat([one[t] for one in passes]) for t in passes[0]}
            return whole, parts
        release(images.device)
        parts *= 2


@torch.inference_mode()
def decoded(
    model: MultiTaskModel, specs: Mapping[str, TaskSpec], dataset: DenseDataset, indices: Sequence[int]
) -> dict[str, np.ndarray]:
    """Return what the model says of a few images, as maps to draw: [N, H, W] or [N, H, W, 3] by task."""
    model = model.for_inference()
    device = next(model.parameters()).device
    predictions, _ = predicted(model, dataset.batch(indices).images.to(device))
    maps: dict[str, np.ndarray] = {}
    for task, spec in specs.items():
        value = spec.decode(predictions[task].float()).cpu()
        maps[task] = (value.movedim(1, -1) if value.dim() == 4 else value).numpy()
    return maps
