"""The package from Python: a model for a training loop of your own, runs, and their tables.

model = petl_bench.create_model("vmt", backbone="swin_tiny_patch4_window7_224", tasks={"semseg": 21, "normals": 3})
predictions = model(images)
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import nn

from petl_bench import plugins
from petl_bench.backbones.build import wrap_backbone
from petl_bench.backbones.names import find_backbone
from petl_bench.config import BackboneConfig, ImageSize, Normalisation, merge, validate_section
from petl_bench.engine.build import named_backbone
from petl_bench.engine.run import run as execute
from petl_bench.engine.saved import load, on_device_of, save
from petl_bench.errors import UsageError
from petl_bench.ledger import count
from petl_bench.model import MultiTaskModel, Recipe
from petl_bench.plan import DEFAULTS, plan
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store

__all__ = ["count", "create_model", "load", "run", "save"]


def create_model(
    method: str,
    *,
    backbone: nn.Module | str,
    tasks: Mapping[str, int],
    decoder: str | Mapping[str, Any] = "segformer",
    weights: str | None = None,
    image_size: ImageSize | None = None,
    normalisation: str | Normalisation | Mapping[str, Any] | None = None,
    seed: int = 0,
    **settings: Any,
) -> MultiTaskModel:
    """Adapt a backbone to several dense tasks by a method, ready for a training loop of your own.

    Args:
        method: A name of ``petl_bench.METHODS``.
        backbone: A network of timm's with weights of your own, which is copied and stays as it is; or a name.
        tasks: Output channels by name of the task; the names are free.
        decoder: A name of ``petl_bench.DECODERS``, or a mapping with ``name`` and settings.
        weights: For a backbone by name: ``pretrained``, ``random`` or ``file:PATH.safetensors``. None: ``random`` for
            timm's, ``pretrained`` for ``embedded``.
        image_size: For a backbone by name: the side of a square, or height and width, in pixels. None: its native size.
        normalisation: ``imagenet``, ``half``, ``clip`` or numbers. None: what the backbone's ``pretrained_cfg`` says.
        seed: Of everything that is drawn.
        **settings: Settings of the method, such as ``rho=4``.

    Returns:
        A model on the device of the backbone. It maps images [B, 3, H, W] in 0..1, not normalised, to raw predictions
        [B, channels, H, W] by task; ``trained_parameters()`` is what an optimiser is given.

    Raises:
        UsageError: Something that was given cannot be; the message says what is allowed.
    """
    _check_tasks(tasks)
    decoding = {"name": decoder} if isinstance(decoder, str) else dict(decoder)
    defaults: Mapping[str, Any] = {}
    if isinstance(backbone, str):
        names = {"method": method, "backbone": backbone, "decoder": str(decoding.get("name"))}
        defaults = plugins.vocabulary({**names, "dataset": DEFAULTS["dataset"]["name"]}).defaults
    recipe = Recipe(
        _config("methods", {**defaults.get("method", {}), **settings, "name": method}),
        _config("decoders", {**defaults.get("decoder", {}), **decoding}),
        dict(tasks),
        seed,
    )
    chosen = BackboneConfig(name="", weights="", normalisation=_normalisation(normalisation))
    if isinstance(backbone, nn.Module):
        if weights is not None or image_size is not None:
            raise UsageError("weights and image_size are for a backbone by name: the network that was given has both.")
        return on_device_of(wrap_backbone(backbone, chosen.normalisation), recipe)
    named = chosen.model_copy(update={"name": backbone, "weights": weights or defaults["backbone"]["weights"]})
    size = image_size or find_backbone(backbone).image_size
    return on_device_of(named_backbone(named, size, seed), replace(recipe, backbone=named, image_size=size))


def run(
    method: str | Mapping[str, Any],
    *,
    tasks: int | str | Sequence[str] = 4,
    budget: str = DEFAULTS["budget"],
    seed: int = 0,
    out: str | Path = "runs",
    force: bool = False,
    **sections: str | Mapping[str, Any],
) -> RunRecord:
    """Train and evaluate a method, or find the run finished in the store: what ``petl-bench run`` does.

    Nothing is printed, but for the progress of rendering pictures that are not in the cache yet, on stderr.

    Args:
        method: A name, or a mapping with ``name`` and settings: ``{"name": "vmt", "rho": 8}``.
        tasks: The first so many tasks of the data set, or their names.
        budget: ``smoke``, ``quick`` or ``full``.
        seed: Of everything that is drawn.
        out: The store, a folder; the run gets a folder of its own in it.
        force: Repeat a finished run.
        **sections: ``backbone``, ``decoder``, ``dataset``, ``train`` and ``runtime``: a name, or a mapping of settings
            as in ``--set``: ``backbone={"name": "embedded", "weights": "random"}``.

    Returns:
        The record, which is in the store as well.

    Raises:
        UsageError: Something that was given cannot be; the message says what is allowed.
        RuntimeError: The run failed; its record is in the store.
    """
    named = {"method": method, **sections}
    settings = {kind: {"name": given} if isinstance(given, str) else given for kind, given in named.items()}
    chosen = tasks if isinstance(tasks, (int, str)) else list(tasks)
    config = plan(merge(settings, {"tasks": chosen, "budget": budget, "seed": seed}), plugins.vocabulary)
    outcome = execute(config, Store(Path(out).expanduser()), force=force)
    if outcome.record.status == "failed":
        raise RuntimeError(f"The run failed; its record is in {str(outcome.folder)!r}.\n{outcome.record.error}")
    return outcome.record


def _config(kind: str, settings: Mapping[str, Any]) -> Any:
    """Validate the settings of a method or decoder, its name among them."""
    return validate_section(plugins.load(kind, str(settings.get("name"))).Config, settings, kind[:-1])


def _normalisation(given: str | Normalisation | Mapping[str, Any] | None) -> Any:
    plain = given.model_dump() if isinstance(given, Normalisation) else given
    section = {"name": "", "weights": "", "normalisation": plain}
    return validate_section(BackboneConfig, section, "backbone").normalisation


def _check_tasks(tasks: Any) -> None:
    if not isinstance(tasks, Mapping) or not tasks:
        raise UsageError(f"tasks = {tasks!r}: output channels by task are expected, such as {{'semseg': 21}}.")
    for task, channels in tasks.items():
        if not isinstance(task, str) or not task or "." in task or hasattr(nn.ModuleDict, task):
            raise UsageError(f"tasks: {task!r} cannot name a task, since modules are named by it: a word is expected.")
        if not isinstance(channels, int) or isinstance(channels, bool) or channels < 1:
            raise UsageError(f"tasks[{task!r}] = {channels!r}: a number of output channels from 1 up is expected.")
