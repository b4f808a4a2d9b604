"""Timing gates: the ratio of two things, interleaved in one process, held against a limit."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from petl_bench.backbones.base import Backbone
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.build import build_model
from petl_bench.measure.cost.laps import Lap
from petl_bench.measure.cost.latency import MeasurementError, Rounds, interleave
from petl_bench.measure.cost.objective import objective_of
from petl_bench.measure.cost.timing import plain_backbone
from petl_bench.measure.cost.workload import training
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.model import MultiTaskModel
from petl_bench.records.growth import interval_of_median

SWIN_TINY = "swin_tiny_patch4_window7_224"
THREADS = 2

Step = Callable[[Lap], Any]


@dataclass(frozen=True)
class Limits:
    """The most a ratio may be: on any machine, and where the figure is claimed (``--strict-timing``)."""

    generous: float
    strict: float


@dataclass(frozen=True)
class Gate:
    """Holds ratios against limits and says what it saw."""

    is_strict: bool
    tell: Callable[[str], None]

    def ratio(self, things: Mapping[str, Step], over: str, under: str, *, rounds: int, limits: Limits) -> float:
        """Return the median ratio of two of the things, and fail when it is above the limit.

        Raises:
            MeasurementError: Nothing was measured.
        """
        return self.ratio_of(self.rounds(things, rounds), over, under, limits)

    def rounds(self, things: Mapping[str, Step], number: int) -> Rounds:
        """Run the things in turn; half as often where the limits are the generous ones."""
        torch.set_num_threads(THREADS)
        keep_freed_memory()
        return interleave(things, min_rounds=number if self.is_strict else -(-number // 2), min_seconds=0)

    def ratio_of(self, rounds: Rounds, over: str, under: str, limits: Limits) -> float:
        """Return the median ratio of two things that were run, and fail when it is above the limit."""
        ratios = rounds.ratios(over, under)
        low, high = interval_of_median(ratios)
        return self.hold(f"{over} / {under}", float(np.median(ratios)), limits, f"({low:.3f} to {high:.3f})")

    def hold(self, what: str, value: float, limits: Limits, interval: str = "") -> float:
        """Fail when a measured value is above the limit, or is none.

        Raises:
            MeasurementError: The value is not finite and above zero.
        """
        if not np.isfinite(value) or value <= 0:
            raise MeasurementError(f"{what} = {value}: nothing was measured.")
        limit = limits.strict if self.is_strict else limits.generous
        self.tell(f"{what} = {value:.3f} {interval}, limit {limit}")
        assert value <= limit, f"{what} = {value:.3f} {interval} is above {limit}"
        return value


def model_of(method: str, tasks: int, backbone: str = SWIN_TINY, **settings: Any) -> MultiTaskModel:
    """Build a model whose trained weights are not at their start, where some would be zero."""
    section = {"name": method, **settings}
    built = build_on_meta({"backbone": {"name": backbone}, "method": section, "tasks": tasks})
    model = build_model(built.config, built.channels)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.method.parameters():
            if parameter.requires_grad:
                parameter.add_(0.01 * torch.randn(parameter.shape, generator=generator))
    return model


def training_step(method: str, tasks: int, image: torch.Tensor, backbone: str = SWIN_TINY) -> Step:
    """Return the training step of a model of ``model_of``, with its tasks' losses."""
    built = build_on_meta({"backbone": {"name": backbone}, "method": {"name": method}, "tasks": tasks})
    model = model_of(method, tasks, backbone)
    return training(model, image, objective=objective_of(built.config, built.channels, model, image))


def frozen_backbone(backbone: str = SWIN_TINY) -> Backbone:
    """Build the plain backbone."""
    return plain_backbone(build_on_meta({"backbone": {"name": backbone}, "method": {"name": "decoders"}}).config)
