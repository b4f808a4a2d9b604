"""One row of ``petl-bench params``: a configured method, counted on the meta device."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from petl_bench import plan, plugins
from petl_bench.config import merge
from petl_bench.engine.build import build_model
from petl_bench.errors import UsageError
from petl_bench.measure.parameters import count

SYNTHETIC = "synthetic"


def parameter_row(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Count what a method trains. More tasks than the dataset has are filled up with one-channel synthetic ones.

    Args:
        settings: As typed: sections with names, ``tasks``, and what ``--set`` gave.
        overrides: The ``--set`` arguments, repeated in the row.

    Raises:
        UsageError: An unknown name or key, or fewer than one task.
    """
    asked = merge(plan.DEFAULTS, settings)
    channels = _channels(asked["tasks"], asked["dataset"]["name"])
    synthetic = sum(name.startswith(SYNTHETIC) for name in channels)
    real = [name for name in channels if not name.startswith(SYNTHETIC)]
    config = plan.plan({**settings, "tasks": real}, plugins.vocabulary)
    with torch.device("meta"):
        model = build_model(config, channels)
    ledger = count(model)
    return {
        "method": config.method.name,
        "backbone": config.backbone.name,
        "tasks": len(channels),
        "synthetic_tasks": synthetic,
        "execution": model.method.execution,
        "overrides": list(overrides),
        "method_parameters": ledger.method,
        "shared_parameters": ledger.shared,
        "per_task_parameters": ledger.per_task,
        "decoder_parameters": ledger.decoder,
        "trainable_parameters": ledger.trainable,
        "backbone_parameters": ledger.backbone,
        "percent_of_one_backbone": round(100 * ledger.method / ledger.backbone, 3),
        "percent_of_all_backbones": round(100 * ledger.method / (ledger.backbone * len(channels)), 3),
    }


def _channels(asked: Any, dataset: str) -> dict[str, int]:
    """Return output channels by task: the dataset's, and synthetic ones beyond them."""
    available: dict[str, int] = plugins.load("datasets", dataset).tasks
    number = int(asked) if isinstance(asked, str) and asked.lstrip("-").isdigit() else asked
    if isinstance(number, int) and number > len(available):
        extra = {f"{SYNTHETIC}_{i}": 1 for i in range(1, number - len(available) + 1)}
        return {**available, **extra}
    if isinstance(number, int) and number < 1:
        raise UsageError(f"--tasks {number}: one task or more is expected.\nType: petl-bench params --tasks 4")
    return {name: available[name] for name in plan.choose_tasks(asked, tuple(available), dataset)}
