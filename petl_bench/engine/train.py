"""One training loop for all methods."""

import copy
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from petl_bench.config import RunConfig
from petl_bench.data.base import Batch, DenseDataset
from petl_bench.engine.balancers import Balancer, make_balancer
from petl_bench.engine.batches import batches
from petl_bench.engine.device import number_types
from petl_bench.engine.flatness import EndSlopes
from petl_bench.engine.history import History
from petl_bench.engine.keep import Nothing, Spent
from petl_bench.engine.losses import loss_weights, task_losses
from petl_bench.engine.nonfinite import NonFiniteError, describe, is_finite
from petl_bench.engine.optimise import ClipPerOwner, optimiser, schedule
from petl_bench.engine.out_of_memory import is_out_of_memory, release
from petl_bench.engine.processes import of_all, prepare_for_processes
from petl_bench.model import MultiTaskModel
from petl_bench.records.run import EndSlope, HistoryPoint, ValidationPoint
from petl_bench.tasks.base import TaskSpec

ADVICE = "Lower train.learning_rate, or leave such steps out: --set train.on_nonfinite=skip"


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
        flatness: How each task's loss changed at the end.
        validation: Metrics on the images that are set apart, in the course of the training.
        spent: What it took, and in which numbers it was computed.
        images_per_second: Of the whole loop.
        skipped_steps: Steps that were left out since a loss or gradient was no number.
        unreadable: Names of images that batches had without picture or label.
        caveats: What of it was not as the config says.
    """

    history: tuple[HistoryPoint, ...]
    flatness: Mapping[str, EndSlope]
    validation: tuple[ValidationPoint, ...]
    spent: Spent
    images_per_second: float
    skipped_steps: int
    unreadable: frozenset[str]
    caveats: tuple[str, ...]


class Loop:
    """The state of a training between two steps, and the step.

    Everything that a later step depends on is in ``state_dict``: what is trained, the optimiser, the schedule, the
    balancer, the curve, the generator and the number of steps done; batches follow from the seed and that number.
    """

    def __init__(
        self, model: MultiTaskModel, specs: Mapping[str, TaskSpec], config: RunConfig, accelerator: Accelerator
    ) -> None:
        self.step, self.skipped, self.unreadable = 0, 0, frozenset[str]()
        self.parts, self.parted_at = config.train.accumulation, tuple[int, ...]()
        self.model, self.specs, self.config, self.accelerator = model, specs, config, accelerator
        weights = loss_weights(config, specs)
        prepare_for_processes(model, config, accelerator)
        self.balancer: Balancer = make_balancer(config, model, weights, accelerator.num_processes)
        made = optimiser(model, config.train)
        own = list(self.balancer.parameters())
        if own:
            made.add_param_group({"params": own, "lr": self.balancer.learning_rate(), "weight_decay": 0.0})
        self._clip = ClipPerOwner(model, config.train.clip_norm)
        self._rates = schedule(made, config.train)
        self._prepared, self._optimizer = accelerator.prepare(model, made)
        self._prepared.train()
        self._history = History(config.train.steps)
        self.slopes = EndSlopes(config.train.steps)
        self.validation: list[ValidationPoint] = []

    @property
    def history(self) -> tuple[HistoryPoint, ...]:
        """The curve so far."""
        return tuple(self._history.points)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What of the training was not as the config says."""
        if not self.parted_at:
            return ()
        steps = ", ".join(map(str, self.parted_at))
        return (f"memory ran out at step {steps}: batches went through in {self.parts} parts, which batch norm sees",)

    def losses(self, batch: Batch, whole: Batch | None = None) -> dict[str, Tensor]:
        """Return the unweighted losses by task of a batch, or what a part of the ``whole`` one adds to its losses.

        Where each process has a share of the batch, they are those of all of it.
        """
        with self.accelerator.autocast():
            predictions = of_all(self._prepared(batch.images), self.accelerator)
        labels = of_all(batch.labels, self.accelerator)
        all_labels = None if whole is None or whole is batch else of_all(whole.labels, self.accelerator)
        return task_losses(self.specs, predictions, labels, all_labels)

    def validate(self, scored: Callable[[], Mapping[str, Mapping[str, float]]]) -> None:
        """Note what ``scored`` gives, which may put the model into evaluation mode."""
        values = {task: dict(metrics) for task, metrics in scored().items()}
        self.validation.append(ValidationPoint(step=self.step, metrics=values))
        self._prepared.train()

    def take(self, batch: Batch) -> tuple[float, dict[str, float]]:
        """Take one step and return its loss and the unweighted losses by task.

        Raises:
            NonFiniteError: A loss or a gradient is no number, and ``train.on_nonfinite`` is ``stop``.
        """
        self.step += 1
        self.unreadable |= set(batch.unreadable)
        skips = self.config.train.on_nonfinite == "skip"
        before = copy.deepcopy(self._moved_by_a_pass())
        weights = self.balancer.weights.clone()
        while (added := self._gradients(batch)) is None:
            self._restore(before)
            self.parts *= 2
            self.parted_at += (self.step,)
        values = {task: float(loss) for task, loss in added.items()}
        total = float((weights * self.balancer.stacked(added)).sum())
        if self.config.train.precision == "fp16":
            self.accelerator.unscale_gradients(self._optimizer)
        norm = self._clip()
        # In half precision the scaler leaves such a step out by itself and lowers its scale.
        if not is_finite(values, total, 0.0 if self.config.train.precision == "fp16" else float(norm)):
            if not skips:
                raise describe(self.step, values, self.model, lambda: self.losses(batch))
            self._skip(before)
            return total, values
        self._optimizer.step()
        self._rates.step()
        self.balancer.after_step(lambda: self.losses(batch))
        self._history.add(self.step, total, values)
        self.slopes.add(self.step, values)
        return total, values

    def _gradients(self, batch: Batch) -> dict[str, Tensor] | None:
        """Write the gradients of a batch, part by part, and return its losses; None if memory ran out on the way.

        A batch is then halved, but where several processes share it, which could not agree, or where the balancer reads
        the losses of a whole one (``make_balancer``): there the error is raised.
        """
        self._optimizer.zero_grad()
        added = dict.fromkeys(self.specs, torch.zeros(()))
        try:
            for part in batch.split(self.parts):
                losses = self.losses(part, batch)
                added = {task: added[task].to(loss.device) + loss.detach() for task, loss in losses.items()}
                self.balancer.backward(losses, self.step, self.accelerator.backward)
        except (RuntimeError, MemoryError) as error:
            is_divisible = self.accelerator.num_processes == 1 and self.config.train.balancer.name == "fixed"
            can_halve = is_divisible and 2 * self.parts <= len(batch.images)
            if not (is_out_of_memory(error) and can_halve):
                raise
        else:
            return added
        release(self.accelerator.device)  # out of the handler, where the error no longer holds tensors
        return None

    def _moved_by_a_pass(self) -> dict[str, Any]:
        """Return what a forward and backward pass changes beside gradients."""
        return {"buffers": dict(self.model.decoders.named_buffers()), "balancer": self.balancer.state_dict()}

    def _skip(self, before: Mapping[str, Any]) -> None:
        """Leave a step out: everything is as before, but the schedule goes on."""
        self.skipped += 1
        self._optimizer.zero_grad()
        self._restore(before)
        self._rates.step()
        self._history.skip(self.step)

    def _restore(self, before: Mapping[str, Any]) -> None:
        """Take back what a pass moved beside gradients."""
        with torch.no_grad():
            for name, buffer in self.model.decoders.named_buffers():
                buffer.copy_(before["buffers"][name])
        self.balancer.load_state_dict(before["balancer"])

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the following steps depend on, as tensors and plain values."""
        return {
            "step": self.step,
            "skipped": self.skipped,
            "unreadable": sorted(self.unreadable),
            "parts": self.parts,
            "parted_at": self.parted_at,
            "trained": {name: tensor.clone() for name, tensor in self.model.trained_state().items()},
            "optimizer": self._optimizer.state_dict(),
            "rates": self._rates.state_dict(),
            "balancer": self.balancer.state_dict(),
            "history": self._history.state_dict(),
            "slopes": self.slopes.state_dict(),
            "validation": [point.model_dump() for point in self.validation],
            "generators": self._generators(),
            "scaler": None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a state of a loop of the same config."""
        self.step, self.skipped = state["step"], state["skipped"]
        self.unreadable = frozenset(state.get("unreadable", ()))  # states of before have none; the next line likewise
        self.parts, self.parted_at = state.get("parts", self.parts), state.get("parted_at", self.parted_at)
        self.model.load_trained_state(state["trained"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._rates.load_state_dict(state["rates"])
        self.balancer.load_state_dict(state["balancer"])
        self._history.load_state_dict(state["history"])
        self.slopes.load_state_dict(state.get("slopes", {}))  # states of before have none
        self.validation = [ValidationPoint.model_validate(point) for point in state["validation"]]
        torch.set_rng_state(state["generators"]["cpu"])
        if self.accelerator.device.type == "cuda":
            torch.cuda.set_rng_state(state["generators"]["cuda"], self.accelerator.device)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _generators(self) -> dict[str, Tensor]:
        """Return the states of the generators that nothing keys: of the CPU, and of the accelerator in use."""
        states = {"cpu": torch.get_rng_state()}
        if self.accelerator.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.accelerator.device)
        return states


def train(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    dataset: DenseDataset,
    config: RunConfig,
    accelerator: Accelerator,
    tell: Callable[[Progress], None],
    keeper: Nothing | None = None,
    scored: Callable[[], Mapping[str, Mapping[str, float]]] | None = None,
) -> Training:
    """Train what the method declares trainable, in place, from where the keeper has it.

    ``scored`` gives the metrics by task on the images that are set apart; called as ``train.validate_epochs`` says.

    Raises:
        NonFiniteError: A loss or a gradient is no number.
        UsageError: The balancer cannot work in this run.
    """
    keeper = keeper or Nothing()
    loop = Loop(model, specs, config, accelerator)
    spent = keeper.restore(loop)
    rank, world = accelerator.process_index, accelerator.num_processes
    pinned = accelerator.device.type == "cuda"
    stream = batches(dataset, config, start=loop.step, rank=rank, world=world, pin=pinned)
    steps, size = config.train.steps, config.train.batch_size
    every = (config.train.validate_epochs or 0) * max(1, len(dataset) // size)
    with number_types(next(iter(model.decoders.values()))) as computed, keeper.stop.deferred():
        while loop.step < steps:
            start = time.perf_counter()
            try:
                local = next(stream).to(accelerator.device)
            except Exception:  # a data set is code of its author's: whatever it raises, the steps done are kept first
                keeper.broken(loop, spent)
                raise
            spent.waiting_seconds += time.perf_counter() - start
            try:
                loss, losses = loop.take(local)
            except NonFiniteError as error:
                raise NonFiniteError(f"{error} {keeper.last()}{ADVICE}") from None
            spent.dtype, spent.device = computed[-1]
            spent.seconds += time.perf_counter() - start
            tell(Progress(loop.step, loss, losses, loop.step * size / spent.seconds))
            if scored is not None and every and loop.step % every == 0:
                loop.validate(scored)
            keeper.between_steps(loop, spent, is_last=loop.step == steps)
    return Training(
        history=loop.history,
        flatness=loop.slopes.slopes(),
        validation=tuple(loop.validation),
        spent=spent,
        images_per_second=steps * size / spent.seconds,
        skipped_steps=loop.skipped,
        unreadable=loop.unreadable,
        caveats=loop.caveats,
    )
