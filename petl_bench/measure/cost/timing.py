"""Measure cost against the number of tasks, method by method.

Every method is timed beside the plain frozen backbone, all numbers of tasks in the same rounds of one process, and that
again in further processes. What can be counted is counted on the meta device.
"""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import torch

from petl_bench.backbones.base import Backbone
from petl_bench.backbones.build import build_backbone
from petl_bench.config import RunConfig
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.build import build_model
from petl_bench.ledger import count
from petl_bench.measure.cost.flops import Work, tallied
from petl_bench.measure.cost.laps import Laps
from petl_bench.measure.cost.latency import interleave
from petl_bench.measure.cost.memory import Peak, Saved, peak, saved_for_backward
from petl_bench.measure.cost.workload import Mode, Part, Phase, Step, frozen_pass, inference, training
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.model import MultiTaskModel

REFERENCE = "reference"

Samples = dict[tuple[Phase, Part], dict[str, tuple[float, ...]]]


@dataclass(frozen=True)
class Scope:
    """What is measured, for every method alike.

    Attributes:
        settings: Sections as typed: backbone, decoder, dataset and what ``--set`` gave; no method, no tasks.
        tasks: Numbers of tasks, ascending.
        phases: ``infer``, ``train``.
        parts: ``encoder``, ``decoders``, ``total``; all come from the same passes.
        mode: How passes are executed: ``eager``, ``compiled``, in ``bf16``, as ``cuda-graphs``.
        batch_size: Images of a pass.
        min_rounds: Rounds of every process.
        min_seconds: Seconds of every process, for each phase.
        threads: Of torch, or None for its default.
        device: Where passes are timed.
    """

    settings: Mapping[str, Any]
    tasks: tuple[int, ...]
    phases: tuple[Phase, ...]
    parts: tuple[Part, ...]
    mode: Mode
    batch_size: int
    min_rounds: int
    min_seconds: float
    threads: int | None
    device: str

    @property
    def decodes(self) -> bool:
        """Whether the decoders run at all."""
        return self.parts != ("encoder",)


@dataclass(frozen=True)
class Timed:
    """Samples of one method in one process.

    Attributes:
        batch_size: Images of a pass; half of what was asked, or less, where that did not fit.
        milliseconds: By phase and part, then by ``reference`` and T: one a round.
        peaks: By phase and T, the allocator's; empty on a device without one.
    """

    batch_size: int
    milliseconds: Samples
    peaks: Mapping[Phase, Mapping[str, Peak]]


@dataclass(frozen=True)
class Counted:
    """What one number of tasks costs by count.

    Attributes:
        execution: As the method declares it.
        synthetic_tasks: How many of the tasks fill up what the dataset lacks.
        parameters: Trained by the method.
        backbone_parameters: Of one backbone.
        work: By phase and part, for one image.
        saved: Kept for the backward pass of a training step, by part and module, for one image.
    """

    execution: str
    synthetic_tasks: int
    parameters: int
    backbone_parameters: int
    work: Mapping[tuple[Phase, Part], Work]
    saved: Mapping[Part, Saved]


def count_method(scope: Scope, method: Mapping[str, Any], tasks: int) -> Counted:
    """Count a method with so many tasks on the meta device."""
    built = build_on_meta({**scope.settings, "method": method, "tasks": tasks})
    model = built.model.to("meta")
    size = built.config.dataset.image_size
    image = torch.empty(1, 3, size, size, device="meta")
    work: dict[tuple[Phase, Part], Work] = {}
    for phase in scope.phases:
        make = inference if phase == "infer" else training
        step = make(model, image, decode=scope.decodes)
        with tallied() as tally:
            laps = Laps(lambda: tally.work)
            step(laps)
        done = {**laps.by_part, "total": sum(laps.by_part.values(), Work())}
        work |= {(phase, part): done[part] for part in scope.parts}
    model.train()
    runs = {"encoder": model.method, "total": model}
    saved: dict[Part, Saved] = {
        part: saved_for_backward(model, lambda part=part: runs[part](image)) for part in scope.parts if part in runs
    }
    return Counted(
        execution=model.method.execution,
        synthetic_tasks=built.synthetic_tasks,
        parameters=count(model).method,
        backbone_parameters=model.method.backbone.num_parameters,
        work=work,
        saved=saved,
    )


def count_backbone(config: RunConfig) -> Work:
    """Count one pass of the plain backbone of a run for one image."""
    with torch.device("meta"):
        backbone = plain_backbone(config).to("meta")
    size = config.dataset.image_size
    step = frozen_pass(backbone, torch.empty(1, 3, size, size, device="meta"))
    with tallied() as tally:
        step(lambda part: None)
    return tally.work


def time_method(scope: Scope, method: Mapping[str, Any]) -> Timed:
    """Time a method at every number of tasks beside the plain backbone, in a process of its own.

    A batch that does not fit the device's memory is halved.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        while True:
            try:
                return pool.submit(_time_here, scope, method).result()
            except RuntimeError as error:
                if scope.batch_size == 1 or not _is_out_of_memory(error):
                    raise
                scope = replace(scope, batch_size=scope.batch_size // 2)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out; the CPU's allocator has no error type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def _time_here(scope: Scope, method: Mapping[str, Any]) -> Timed:
    prepare(scope)
    device = torch.device(scope.device)
    models: dict[str, MultiTaskModel] = {}
    config: RunConfig | None = None
    for tasks in scope.tasks:
        built = build_on_meta({**scope.settings, "method": method, "tasks": tasks})
        config = built.config
        models[str(tasks)] = build_model(config, built.channels).to(device)
    assert config is not None, "no numbers of tasks"
    image = torch.rand(scope.batch_size, 3, config.dataset.image_size, config.dataset.image_size, device=device)
    reference = frozen_pass(plain_backbone(config).to(device), image, scope.mode)
    samples: Samples = {}
    peaks: dict[Phase, dict[str, Peak]] = {}
    for phase in scope.phases:
        make = inference if phase == "infer" else training
        steps = {tasks: make(model, image, scope.mode, decode=scope.decodes) for tasks, model in models.items()}
        rounds = interleave(
            {REFERENCE: reference, **steps}, min_rounds=scope.min_rounds, min_seconds=scope.min_seconds, device=device
        )
        for part in scope.parts:
            own = {
                tasks: rounds.milliseconds[tasks] if part == "total" else rounds.by_part[tasks][part] for tasks in steps
            }
            samples[phase, part] = {REFERENCE: rounds.milliseconds[REFERENCE], **own}
        found = {tasks: peak(lambda step=step: step(lambda part: None), device) for tasks, step in steps.items()}
        peaks[phase] = {tasks: one for tasks, one in found.items() if one is not None}
    return Timed(scope.batch_size, samples, peaks)


def prepare(scope: Scope) -> None:
    """Set what holds for the whole process: threads, and memory that is kept."""
    if scope.threads is not None:
        torch.set_num_threads(scope.threads)
    keep_freed_memory()


def plain_step(scope: Scope, config: RunConfig) -> Step:
    """Return one pass of the plain backbone of a run on random images."""
    device, size = torch.device(scope.device), config.dataset.image_size
    image = torch.rand(scope.batch_size, 3, size, size, device=device)
    return frozen_pass(plain_backbone(config).to(device), image, scope.mode)


def plain_backbone(config: RunConfig) -> Backbone:
    """Return the plain backbone of a run."""
    size = config.dataset.image_size
    return build_backbone(config.backbone.name, weights=config.backbone.weights, image_size=size, seed=config.seed)
