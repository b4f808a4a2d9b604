"""From what was asked to a resolved run: ``plan(settings) -> RunConfig``, a pure function."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from petl_bench.config import (
    BUDGETS,
    BackboneConfig,
    DatasetConfig,
    DecoderConfig,
    MethodConfig,
    RunConfig,
    RuntimeConfig,
    TrainConfig,
    merge,
    validate_section,
)
from petl_bench.errors import UsageError, unknown_name

DEFAULTS: dict[str, Any] = {
    "backbone": {"name": "embedded"},
    "decoder": {"name": "segformer"},
    "dataset": {"name": "scenes"},
    "tasks": 4,
    "budget": "quick",
    "train": {},
    "seed": 0,
    "runtime": {},
}


@dataclass(frozen=True)
class Vocabulary:
    """What the named plug-ins of a run bring to its config.

    Attributes:
        method: The method's Config class; likewise ``decoder`` and ``dataset``.
        dataset_tasks: The dataset's tasks, in its order.
        train_images: How many images of the dataset a config trains on.
        defaults: Settings that depend on the choice of backbone (image size, weights, decoder width, a method's own).
    """

    method: type[MethodConfig]
    decoder: type[DecoderConfig]
    dataset: type[DatasetConfig]
    dataset_tasks: tuple[str, ...]
    train_images: Callable[[DatasetConfig], int]
    defaults: Mapping[str, Any]


VocabularyOf = Callable[[Mapping[str, str], Path | None], Vocabulary]


def plan(settings: Mapping[str, Any], vocabulary_of: VocabularyOf) -> RunConfig:
    """Resolve what was asked into the config of one run.

    Args:
        settings: Sections and values as in an experiment file or after ``--set``; ``method.name`` is required.
        vocabulary_of: Finds the Config classes of the chosen ``{"method": name, "backbone": name, ...}``, and the tasks
            of the data set whose files lie in a folder.

    Raises:
        UsageError: An unknown section, key, task or budget, or a value of the wrong type.
    """
    asked = merge(DEFAULTS, settings)
    budget = asked["budget"]
    if str(budget) not in BUDGETS:
        raise unknown_name("budget", str(budget), BUDGETS, command="petl-bench run ... --budget quick")
    for section in asked:
        if section not in RunConfig.model_fields:
            raise unknown_name("section", section, RunConfig.model_fields, command="petl-bench run ... --dry-run")
    names = {kind: name_of(asked, kind) for kind in ("method", "backbone", "decoder", "dataset")}
    runtime = validate_section(RuntimeConfig, asked["runtime"], "runtime")
    vocabulary = vocabulary_of(names, runtime.folder)
    full = merge(merge(BUDGETS[budget], vocabulary.defaults), asked)
    dataset = validate_section(vocabulary.dataset, full["dataset"], "dataset")
    train = validate_section(TrainConfig, full["train"], "train")
    config = RunConfig(
        method=validate_section(vocabulary.method, full["method"], "method"),
        backbone=validate_section(BackboneConfig, full["backbone"], "backbone"),
        decoder=validate_section(vocabulary.decoder, full["decoder"], "decoder"),
        dataset=dataset,
        train=train if train.epochs is None else _in_steps(train, vocabulary.train_images(dataset), asked["train"]),
        runtime=runtime,
        tasks=choose_tasks(full["tasks"], vocabulary.dataset_tasks, names["dataset"]),
        budget=budget,
        seed=_seed(full["seed"]),
    )
    for task in config.train.loss_weights:
        if task not in config.tasks:
            raise unknown_name("task in train.loss_weights", task, config.tasks, command="petl-bench list tasks")
    return config


def _in_steps(train: TrainConfig, images: int, asked: Mapping[str, Any]) -> TrainConfig:
    """Return the config with the steps that its epochs mean.

    Raises:
        UsageError: Other steps were asked for as well.
    """
    assert train.epochs is not None
    steps = train.epochs * max(1, images // train.batch_size)
    if asked.get("steps", steps) != steps:
        raise UsageError(
            f"train.epochs = {train.epochs} means {steps} steps ({images} images, batches of {train.batch_size}), and "
            f"train.steps = {asked['steps']} was asked for as well: give one of them."
        )
    return train.model_copy(update={"steps": steps})


def choose_tasks(asked: Any, available: tuple[str, ...], dataset: str) -> tuple[str, ...]:
    """Return the first ``asked`` tasks of the dataset, or the named ones, always in the dataset's order.

    One order for one set of tasks, so that how they were typed cannot change a number.

    Raises:
        UsageError: Too few, too many, unknown or repeated tasks.
    """
    if isinstance(asked, str):
        asked = int(asked) if re.fullmatch("-?[0-9]{1,9}", asked) else [name.strip() for name in asked.split(",")]
    if isinstance(asked, int) and not isinstance(asked, bool):
        if not 1 <= asked <= len(available):
            raise UsageError(
                f"--tasks {asked}: the dataset {dataset!r} has {len(available)} tasks ({', '.join(available)}), "
                f"so 1 to {len(available)} are allowed.\nType: petl-bench run ... --tasks {min(4, len(available))}"
            )
        return available[:asked]
    if not isinstance(asked, (list, tuple)) or not asked or not all(isinstance(name, str) for name in asked):
        raise UsageError(f"tasks = {asked!r}: a number or a list of names is expected, such as 4 or semseg,normals.")
    for name in asked:
        if name not in available:
            raise unknown_name(f"task of {dataset!r}", name, available, command="petl-bench list tasks")
    repeated = {name for name in asked if list(asked).count(name) > 1}
    if repeated:
        raise UsageError(f"tasks: {', '.join(sorted(repeated))} named more than once; name each task once.")
    return tuple(name for name in available if name in asked)


def name_of(asked: Mapping[str, Any], kind: str) -> str:
    """Return the name that was asked for of a kind: ``method``, ``backbone``, ``decoder`` or ``dataset``.

    Raises:
        UsageError: There is none.
    """
    section = asked.get(kind)
    name = section.get("name") if isinstance(section, Mapping) else section
    if not isinstance(name, str):
        raise UsageError(f"{kind}.name is missing.\nType: petl-bench list {kind}s   then petl-bench run --{kind} NAME")
    return name


def _seed(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UsageError(f"seed = {value!r}: a whole number from 0 up is expected.")
    return value
