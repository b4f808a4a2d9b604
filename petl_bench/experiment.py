"""An experiment, a question and the runs that answer it: from a TOML file to the settings of every run."""

import copy
import itertools
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, field_validator

from petl_bench.axes import Axes
from petl_bench.config import Section, TrainConfig, assign, keys, merge, validate_section
from petl_bench.errors import UsageError, nearest, unknown_name
from petl_bench.launch import Launch

AXES = ("method", "decoder", "dataset", "train", "budget")
"""Sections of a run that an experiment may let differ inside one table."""
MOST_RUNS = 100_000
"""Runs of an experiment that are planned; more are a mistake."""


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
        budget: At which they were found; likewise.
    """

    how: str
    rows: tuple[dict[str, Any], ...] = ()
    budget: str | None = None

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
        tuned = Tuned(how=how, rows=rows, budget=self.base.get("budget"))
        return self.model_copy(update={"report": self.report.model_copy(update={"tuned": tuned})})


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
