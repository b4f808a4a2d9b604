"""Count what a method costs: arithmetic, memory and parameters of one image, on the meta device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from petl_bench.backbones.base import Backbone
from petl_bench.backward import trunk_kept
from petl_bench.config import RunConfig
from petl_bench.engine.build import named_backbone
from petl_bench.ledger import count
from petl_bench.measure.cost.flops import Work, tallied
from petl_bench.measure.cost.laps import Laps
from petl_bench.measure.cost.memory import Saved, saved_for_backward
from petl_bench.measure.cost.objective import objective_of
from petl_bench.measure.cost.workload import Part, Phase, Setup, Step, frozen_pass, step_of
from petl_bench.measure.count.meta import build_on_meta


@dataclass(frozen=True)
class Costs:
    """What one number of tasks costs by count.

    Attributes:
        execution: As the method declares it.
        synthetic_tasks: How many of the tasks fill up what the dataset lacks.
        parameters: Trained by the method.
        backbone_parameters: Of one backbone.
        backward: A training step goes back through the trunk.
        work: By phase and part, for one image.
        saved: Kept for the backward pass of a training step, by part and module, for one image.
    """

    execution: str
    synthetic_tasks: int
    parameters: int
    backbone_parameters: int
    backward: bool
    work: Mapping[tuple[Phase, Part], Work]
    saved: Mapping[Part, Saved]


def count_method(setup: Setup, method: Mapping[str, Any], tasks: int) -> Costs:
    """Count a method with so many tasks on the meta device."""
    built = build_on_meta({**setup.settings, "method": method, "tasks": tasks})
    model = built.model.to("meta")
    size = built.config.dataset.size
    image = torch.empty(1, 3, *size, device="meta")
    work: dict[tuple[Phase, Part], Work] = {}
    for phase in setup.phases:
        done = work_by_part(step_of(setup, phase, built, model, image))
        work |= {(phase, part): done[part] for part in setup.parts}
    model.train()
    objective = objective_of(built.config, built.channels, model, image)
    runs: dict[Part, Callable[[], Any]] = {
        "encoder": lambda: model.method(image),
        "total": lambda: objective.balancer.total(objective.losses(model(image))),
    }
    saved: dict[Part, Saved] = {part: saved_for_backward(model, runs[part]) for part in setup.parts if part in runs}
    return Costs(
        execution=model.method.execution,
        synthetic_tasks=built.synthetic_tasks,
        parameters=count(model).method,
        backbone_parameters=model.method.backbone.num_parameters,
        backward=bool(trunk_kept(model.method, image)),
        work=work,
        saved=saved,
    )


def count_backbone(config: RunConfig) -> Work:
    """Count one pass of the plain backbone of a run for one image."""
    with torch.device("meta"):
        backbone = plain_backbone(config).to("meta")
    size = config.dataset.size
    return work_by_part(frozen_pass(backbone, torch.empty(1, 3, *size, device="meta")))["total"]


def work_by_part(step: Step) -> dict[Part, Work]:
    """Count a step by its parts, and ``total``."""
    with tallied() as tally:
        laps = Laps(lambda: tally.work)
        step(laps)
    return {**laps.by_part, "total": sum(laps.by_part.values(), Work())}  # pyright: ignore[reportReturnType]


def plain_backbone(config: RunConfig) -> Backbone:
    """Return the plain backbone of a run."""
    return named_backbone(config.backbone, config.dataset.image_size, config.seed)
