"""Models on the meta device: the shapes of everything, the memory of nothing. What counts are taken from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, RuntimeConfig, merge, validate_section
from petl_bench.engine.build import build_model
from petl_bench.errors import UsageError
from petl_bench.model import MultiTaskModel

SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class MetaModel:
    """A model without memory, and how it was asked for.

    Attributes:
        config: The resolved run; its tasks are the dataset's, not the model's.
        model: The model.
        channels: Output channels of its tasks, by name.
        synthetic_tasks: How many of its tasks fill up what the dataset lacks.
    """

    config: RunConfig
    model: MultiTaskModel
    channels: Mapping[str, int]
    synthetic_tasks: int


def build_on_meta(settings: Mapping[str, Any]) -> MetaModel:
    """Build the model of ``settings``: sections with names, ``tasks``, and what ``--set`` gave.

    More tasks than the dataset has are filled up with one-channel synthetic ones. ``tasks`` may also say the channels
    itself, ``semseg:21,normals:3``; the dataset then need not know the tasks.

    Raises:
        UsageError: An unknown name or key, or tasks that make no sense.
    """
    asked = merge(plan.DEFAULTS, settings)
    tasks, dataset = asked["tasks"], plan.name_of(asked, "dataset")
    runtime = validate_section(RuntimeConfig, asked["runtime"], "runtime")
    declared = plugins.load("datasets", dataset).tasks_in(runtime.folder)
    available = {name: task.channels for name, task in declared.items()}
    explicit = isinstance(tasks, str) and ":" in tasks
    channels = _explicit_channels(tasks) if explicit else _channels(tasks, available, dataset)
    config = plan.plan({**settings, "tasks": list(available)}, plugins.vocabulary)
    with torch.device("meta"):
        model = build_model(config, channels)
    synthetic = 0 if explicit else sum(task not in available for task in channels)
    return MetaModel(config, model, channels, synthetic)


def _channels(asked: Any, available: Mapping[str, int], dataset: str) -> dict[str, int]:
    """Return output channels by task: the dataset's, and synthetic ones beyond them."""
    number = int(asked) if isinstance(asked, str) and asked.lstrip("-").isdigit() else asked
    if isinstance(number, int) and number > len(available):
        extra = {f"{SYNTHETIC}_{i}": 1 for i in range(1, number - len(available) + 1)}
        return {**available, **extra}
    if isinstance(number, int) and number < 1:
        raise UsageError(f"--tasks {number}: one task or more is expected.\nType: petl-bench params --tasks 4")
    return {name: available[name] for name in plan.choose_tasks(asked, tuple(available), dataset)}


def _explicit_channels(asked: str) -> dict[str, int]:
    """Read ``semseg:21,normals:3``."""
    channels: dict[str, int] = {}
    for part in asked.split(","):
        name, _, number = (piece.strip() for piece in part.partition(":"))
        if not number.isascii() or not number.isdigit() or int(number) == 0:
            raise _refused(asked, f"{part.strip()!r} is not NAME:CHANNELS with a whole number of channels from 1 up")
        if not name.isidentifier() or hasattr(nn.ModuleDict(), name):
            raise _refused(asked, f"{name!r} cannot name a task; a word such as 'semseg' can")
        if name in channels:
            raise _refused(asked, f"{name!r} is named more than once; name each task once")
        channels[name] = int(number)
    return channels


def _refused(asked: str, reason: str) -> UsageError:
    return UsageError(f"--tasks {asked}: {reason}.\nType: petl-bench params --tasks semseg:21,normals:3")
