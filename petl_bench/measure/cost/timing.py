"""Measure cost against the number of tasks, method by method.

Every method is timed beside the plain frozen backbone, all numbers of tasks in the same rounds of one process, and that
again in further processes.
"""

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import torch

from petl_bench.config import RunConfig
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.build import build_model
from petl_bench.engine.device import plain_float32
from petl_bench.measure.cost.latency import interleave
from petl_bench.measure.cost.memory import Peak, peak
from petl_bench.measure.cost.work import plain_backbone
from petl_bench.measure.cost.workload import Part, Phase, Setup, Step, frozen_pass, step_of
from petl_bench.measure.count.meta import MetaModel, build_on_meta
from petl_bench.model import MultiTaskModel

REFERENCE = "reference"

Milliseconds = dict[tuple[Phase, Part], dict[str, tuple[float, ...]]]


@dataclass(frozen=True)
class Timed:
    """Samples of one method in one process.

    Attributes:
        batch_size: Images of a pass; half of what was asked, or less, where that did not fit.
        milliseconds: By phase and part, then by ``reference`` and T: one a round.
        peaks: By phase and T, the allocator's; empty on a device without one.
    """

    batch_size: int
    milliseconds: Milliseconds
    peaks: Mapping[Phase, Mapping[str, Peak]]


def time_method(setup: Setup, method: Mapping[str, Any]) -> Timed:
    """Time a method at every number of tasks beside the plain backbone, in a process of its own.

    A batch that does not fit the device's memory is halved.
    """
    with ProcessPoolExecutor(max_workers=1, mp_context=get_context("spawn")) as pool:
        while True:
            try:
                return pool.submit(time_here, setup, method).result()
            except RuntimeError as error:
                if setup.batch_size == 1 or not _is_out_of_memory(error):
                    raise
                setup = replace(setup, batch_size=setup.batch_size // 2)


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether memory ran out; the CPU's allocator has no error type of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate memory" in str(error)


def time_here(setup: Setup, method: Mapping[str, Any]) -> Timed:
    """Time a method as ``time_method`` does, in this process."""
    prepare(setup)
    device = torch.device(setup.device)
    models: dict[str, tuple[MetaModel, MultiTaskModel]] = {}
    config: RunConfig | None = None
    for tasks in setup.tasks:
        built = build_on_meta({**setup.settings, "method": method, "tasks": tasks})
        config = built.config
        models[str(tasks)] = built, build_model(config, built.channels).to(device)
    assert config is not None, "no numbers of tasks"
    image = torch.rand(setup.batch_size, 3, *config.dataset.size, device=device)
    reference = frozen_pass(plain_backbone(config).to(device), image, setup.mode)
    samples: Milliseconds = {}
    peaks: dict[Phase, dict[str, Peak]] = {}
    for phase in setup.phases:
        steps = {tasks: step_of(setup, phase, *made, image, setup.mode) for tasks, made in models.items()}
        rounds = interleave(
            {REFERENCE: reference, **steps}, min_rounds=setup.min_rounds, min_seconds=setup.min_seconds, device=device
        )
        for part in setup.parts:
            own = {
                tasks: rounds.milliseconds[tasks] if part == "total" else rounds.by_part[tasks][part] for tasks in steps
            }
            samples[phase, part] = {REFERENCE: rounds.milliseconds[REFERENCE], **own}
        found = {tasks: peak(lambda step=step: step(lambda part: None), device) for tasks, step in steps.items()}
        peaks[phase] = {tasks: one for tasks, one in found.items() if one is not None}
    return Timed(setup.batch_size, samples, peaks)


def prepare(setup: Setup) -> None:
    """Set what holds for the whole process: threads, memory that is kept, and float32 that is no TF32."""
    if setup.threads is not None:
        torch.set_num_threads(setup.threads)
    keep_freed_memory()
    plain_float32()


def plain_step(setup: Setup, config: RunConfig) -> Step:
    """Return one pass of the plain backbone of a run on random images."""
    device, size = torch.device(setup.device), config.dataset.size
    image = torch.rand(setup.batch_size, 3, *size, device=device)
    return frozen_pass(plain_backbone(config).to(device), image, setup.mode)
