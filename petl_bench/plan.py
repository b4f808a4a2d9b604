"""From what was asked to resolved runs: ``plan(settings) -> RunConfig`` and ``expand(experiment)``. Pure functions."""

import copy
import itertools
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from petl_bench.axes import Axes
from petl_bench.config import (
    BUDGETS,
    BackboneConfig,
    DatasetConfig,
    DecoderConfig,
    MethodConfig,
    RunConfig,
    RuntimeConfig,
    Section,
    TrainConfig,
    assign,
    keys,
    merge,
    validate_section,
)
from petl_bench.errors import UsageError, nearest, unknown_name
from petl_bench.launch import Launch

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
AXES = ("method", "decoder", "dataset", "train", "budget")
"""Sections of a run that an experiment may let differ inside one table."""
MOST_RUNS = 100_000
"""Runs of an experiment that are planned; more are a mistake."""


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


class Control(Section):
    """A row that every table shows, run or not: a method on given initial weights of the backbone."""

    label: str
    method: str
    weights: str
    """``random``, or the hash that a record has."""


class Tuned(Section):
    """Rates that were found by tuning.

    Attributes:
        how: In words.
        rows: ``method`` and settings by dotted key, the rates among them. A file need not say them: they are its own.
    """

    how: str
    rows: tuple[dict[str, Any], ...] = ()

    def holds(self, settings: Mapping[str, Any]) -> bool:
        """Return whether a run, by its settings with dotted keys, has what was found for its row."""
        wanted = (
            {("method.name" if key == "method" else key): value for key, value in row.items()} for row in self.rows
        )
        return any(all(settings.get(key) == value for key, value in row.items()) for row in wanted)


class Roles(Section):
    """Who plays which part in a report. Data, so that the harness names no method.

    Attributes:
        reference: The method that delta_m is relative to.
        floor: Methods that a reference must clearly beat on a task before the task enters delta_m.
        controls: Rows that every table shows, run or not, on initial weights of their own: compared across weights on
            purpose.
        axes: Settings that may differ inside one table; all others, the initial weights and the data are one.
        tuned: How the rates of the rows were found, and which they are; ``petl-bench tune --write`` says it.
    """

    reference: str
    floor: tuple[str, ...] = ()
    controls: tuple[Control, ...] = ()
    axes: tuple[str, ...] = ("method", "train.learning_rate")
    tuned: Tuned | None = None

    @field_validator("axes")
    @classmethod
    def _are_settings(cls, axes: tuple[str, ...]) -> tuple[str, ...]:
        for axis in axes:
            section = axis.partition(".")[0]
            if section not in AXES:
                raise ValueError(
                    f"the axis {axis!r} is none. Allowed: {', '.join(AXES)} and what lies below them. "
                    "Rows on other initial weights are controls; other images or tasks are another table"
                )
            known = {*keys(TrainConfig, "train."), "train", "train.learning_rate", "train.balancer"}
            if section == "train" and axis not in known:
                match = nearest(axis, known)
                hint = f" Did you mean {match!r}?" if match else ""
                raise ValueError(f"the axis {axis!r} is no setting of a run.{hint}")
        return axes


class Row(Axes):
    """One line of an experiment: a method or several, their own settings, and what varies."""

    method: str | Annotated[tuple[str, ...], Field(min_length=1)]
    set: dict[str, Any] = {}


class Experiment(Axes):
    """A question and the runs that answer it (one TOML file); what varies in it, varies in every row.

    Attributes:
        beside: Files of ``experiments/published`` (without ``.toml``) whose rows its own would stand beside.
    """

    title: str
    question: str
    seeds: tuple[int, ...] = Field(default=(0,), min_length=1)
    beside: tuple[str, ...] = ()
    base: dict[str, Any] = {}
    rows: tuple[Row, ...] = Field(default=(), min_length=1)
    report: Roles
    launch: Launch = Launch()

    def tuned(self, how: str) -> "Experiment":
        """Return the experiment with its rows as what tuning found, and how."""
        rows = tuple({"method": row.method, **row.set} for row in self.rows)
        return self.model_copy(update={"report": self.report.model_copy(update={"tuned": Tuned(how=how, rows=rows)})})


def experiments_folder() -> Path:
    """Return the experiments shipped with the package: inside a wheel, beside the package in a checkout."""
    package = Path(__file__).parent
    inside = package / "experiments"
    return inside if inside.is_dir() else package.parent / "experiments"


def experiment_path(name: str) -> Path:
    """Return the file of an experiment, shipped or given as a TOML file.

    Raises:
        UsageError: There is no experiment of that name.
    """
    if name.endswith(".toml"):
        return Path(name)
    known = {path.stem: path for path in experiments_folder().glob("*.toml")}
    if name not in known:
        raise unknown_name("experiment", name, known, command="petl-bench list experiments")
    return known[name]


def read_experiment(path: Path) -> Experiment:
    """Read an experiment file.

    Raises:
        UsageError: The file is missing, is not TOML, or has unknown keys.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UsageError(f"The experiment {str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"The experiment {str(path)!r} is not UTF-8 text: save it as such.") from None
    except (ValueError, RecursionError) as error:
        raise UsageError(f"The experiment {str(path)!r} is not valid TOML: {error}.") from None
    read = validate_section(Experiment, content, "")
    tuned = read.report.tuned
    return read if tuned is None or tuned.rows else read.tuned(tuned.how)


def expand(experiment: Experiment, over: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the settings of every run of an experiment: rows x what varies x seeds, ``over`` laid on top.

    A seed in ``over`` takes the place of all the experiment's seeds.

    Raises:
        UsageError: There are more than anyone could run, which is told before any of them is made.
    """
    seeds = [over["seed"]] if "seed" in over else experiment.seeds
    _require_bounded(experiment, len(seeds))
    runs: list[dict[str, Any]] = []
    for row in experiment.rows:
        methods = (row.method,) if isinstance(row.method, str) else row.method
        for method, common, own in itertools.product(methods, experiment.combinations(), row.combinations()):
            settings = copy.deepcopy(experiment.base)  # settings are put into it, for this run alone
            settings["method"] = {"name": method}
            for key, value in [*common.items(), *row.set.items(), *own.items()]:
                assign(settings, key, copy.deepcopy(value))
            runs += [
                merge({**settings, "seed": seed}, over)
                for seed in seeds
                if not _is_out(experiment, row, settings, seed)
            ]
    return tuple(runs)


def _require_bounded(experiment: Experiment, seeds: int) -> None:
    methods = [1 if isinstance(row.method, str) else len(row.method) for row in experiment.rows]
    combinations = sum(number * row.size for number, row in zip(methods, experiment.rows, strict=True))
    runs = experiment.size * combinations * seeds
    if runs > MOST_RUNS:
        lists = {key: len(values) for axes in (experiment, *experiment.rows) for key, values in axes.grid.items()}
        longest = sorted(lists, key=lambda key: -lists[key])[:5]
        named = ", ".join(f"{key} has {lists[key]} values" for key in longest) or f"there are {seeds} seeds"
        raise UsageError(
            f"The experiment has {runs:,} runs before any is left out; {MOST_RUNS:,} is the most that is planned. In "
            f"its grids {named}.\nType: points = [...] or zip = {{...}} in place of a grid, which has every combination"
        )


def _is_out(experiment: Experiment, row: Row, settings: Mapping[str, Any], seed: int) -> bool:
    full = {**settings, "seed": seed}
    return experiment.leaves_out(full) or row.leaves_out(full)
