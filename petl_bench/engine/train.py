"""One training loop for all methods."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor

from petl_bench import draws
from petl_bench.config import RunConfig
from petl_bench.data.base import Batch, DenseDataset
from petl_bench.data.transforms import flip
from petl_bench.engine.optimise import ClipPerOwner, optimiser, schedule
from petl_bench.model import MultiTaskModel
from petl_bench.records.run import HistoryPoint
from petl_bench.tasks.base import TaskSpec

HISTORY_POINTS = 50


@dataclass(frozen=True)
class Progress:
    """What the loop tells after every step: losses unweighted by task, images a second so far."""

    step: int
    loss: float
    losses: Mapping[str, float]
    images_per_second: float


@dataclass(frozen=True)
class Training:
    """What training leaves beside the weights.

    Attributes:
        history: The curve.
        waiting_seconds: How long the loop waited for batches.
        images_per_second: Of the whole loop.
    """

    history: tuple[HistoryPoint, ...]
    waiting_seconds: float
    images_per_second: float


def batches(dataset: DenseDataset, config: RunConfig, *, rank: int = 0, world: int = 1) -> Iterator[Batch]:
    """Yield the training batches of a run: fresh permutations end to end, mirrored at random.

    The order depends on the seed and the number of images alone, so every method and every T sees the same batches.
    """
    size, order = config.train.batch_size, torch.empty(0, dtype=torch.long)
    for step in range(config.train.steps):
        while len(order) < size:
            epoch = draws.generator(config.seed, "order", str(step))
            order = torch.cat([order, torch.randperm(len(dataset), generator=epoch)])
        chosen, order = order[:size], order[size:]
        mirrored = torch.rand(size, generator=draws.generator(config.seed, "flip", str(step))) < 0.5
        batch = dataset.batch(chosen[rank::world].tolist())
        yield flip(batch, mirrored[rank::world]) if config.dataset.flip else batch


def loss_weights(config: RunConfig, specs: Mapping[str, TaskSpec]) -> dict[str, float]:
    """Return the weight of every task's loss: the published one unless the config says another."""
    return {task: config.train.loss_weights.get(task, spec.loss_weight) for task, spec in specs.items()}


def train(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    dataset: DenseDataset,
    config: RunConfig,
    accelerator: Accelerator,
    tell: Callable[[Progress], None],
) -> Training:
    """Train what the method declares trainable, in place.

    Raises:
        FloatingPointError: A loss is not finite.
    """
    optimizer = optimiser(model, config.train)
    clip = ClipPerOwner(model, config.train.clip_norm)
    rates = schedule(optimizer, config.train)
    prepared, optimizer = accelerator.prepare(model, optimizer)
    weights = loss_weights(config, specs)
    history = _History(config.train.steps)
    start = time.perf_counter()
    prepared.train()
    stream = batches(dataset, config, rank=accelerator.process_index, world=accelerator.num_processes)
    waited = 0.0
    for step in range(1, config.train.steps + 1):
        asked = time.perf_counter()
        local = next(stream).to(accelerator.device)
        waited += time.perf_counter() - asked
        optimizer.zero_grad()
        with accelerator.autocast():
            predictions = prepared(local.images)
        losses = {task: spec.loss(predictions[task].float(), local.labels[task]) for task, spec in specs.items()}
        total = torch.stack([weights[task] * loss for task, loss in losses.items()]).sum()
        accelerator.backward(total)
        if config.train.precision == "fp16":
            accelerator.unscale_gradients(optimizer)
        clip()
        optimizer.step()
        rates.step()
        values = _finite(total, losses, step)
        history.add(step, *values)
        speed = step * config.train.batch_size / (time.perf_counter() - start)
        tell(Progress(step, *values, speed))
    seconds = time.perf_counter() - start
    return Training(tuple(history.points), waited, config.train.steps * config.train.batch_size / seconds)


def _finite(total: Tensor, losses: Mapping[str, Tensor], step: int) -> tuple[float, dict[str, float]]:
    values = {task: float(loss.detach()) for task, loss in losses.items()}
    if not torch.isfinite(total):
        raise FloatingPointError(f"The loss is not finite at step {step}: {values}. Lower train.learning_rate.")
    return float(total.detach()), values


class _History:
    """Averages the losses over equal stretches of the run."""

    def __init__(self, steps: int) -> None:
        self.points: list[HistoryPoint] = []
        self._every = max(1, steps // HISTORY_POINTS)
        self._steps = steps
        self._pending: list[tuple[float, Mapping[str, float]]] = []

    def add(self, step: int, loss: float, losses: Mapping[str, float]) -> None:
        self._pending.append((loss, losses))
        if step % self._every and step != self._steps:
            return
        number = len(self._pending)
        means = {task: sum(point[task] for _, point in self._pending) / number for task in losses}
        self.points.append(
            HistoryPoint(step=step, loss=sum(total for total, _ in self._pending) / number, losses=means)
        )
        self._pending = []
