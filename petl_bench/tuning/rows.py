"""What is tuned: every row of an experiment, at its default and at the same points, scored on the validation split."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from petl_bench.axes import Point as Combination
from petl_bench.config import merge
from petl_bench.errors import UsageError
from petl_bench.experiment import Experiment, expand
from petl_bench.plan import name_of
from petl_bench.tuning.points import Point

SEED = 1000
"""Of the tuning runs and of the points. Experiments do not report it, so what is reported was not chosen by."""


@dataclass(frozen=True)
class TuningRow:
    """A row of the table.

    Attributes:
        method: Name of the method.
        own: Its other settings, by dotted key, where they differ from those of all rows.
        exclude: Seeds that the experiment leaves out of it.
        settings: Of its runs, but for seed and split.
    """

    method: str
    own: Mapping[str, Any]
    exclude: tuple[Combination, ...]
    settings: Mapping[str, Any]

    @property
    def label(self) -> str:
        """How it is called."""
        shown = ", ".join(f"{key.split('.', 1)[-1]}={value}" for key, value in self.own.items())
        return f"{self.method} ({shown})" if shown else self.method

    def trials(self, points: Sequence[Point], seed: int) -> tuple[dict[str, Any], ...]:
        """Return the settings of its runs: its default, then the points. Whatever else is asked for, val is scored."""
        fixed = {"seed": seed, "dataset": {"scored_split": "val"}}
        return tuple(merge(merge(self.settings, fixed), point) for point in ({}, *(one.settings for one in points)))


def base_of(experiment: Experiment, over: Mapping[str, Any]) -> dict[str, Any]:
    """Return what all rows have in common: the experiment's base with ``over`` on top, but for seed and machine."""
    return merge(experiment.base, _of_a_row(over))


def tuning_rows(experiment: Experiment, over: Mapping[str, Any]) -> tuple[TuningRow, ...]:
    """Return the rows of an experiment, each once whatever its seeds, with ``over`` laid on top."""
    base, here = base_of(experiment, over), {"runtime": over.get("runtime", {})}
    found: list[TuningRow] = []
    for row in experiment.rows:
        exclude = tuple(point for point in row.exclude if "seed" in point)
        for run in expand(experiment.model_copy(update={"rows": (row,)}), _of_a_row(over)):
            del run["seed"]
            own = {key: value for key, value in _beyond(base, run) if key != "method.name"}
            one = TuningRow(name_of(run, "method"), own, exclude, merge(run, here))
            if not any(one.settings == other.settings for other in found):
                found.append(one)
    return tuple(found)


def _of_a_row(over: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what tuning chooses itself, and where it is executed."""
    return {section: values for section, values in over.items() if section not in ("seed", "runtime")}


def _beyond(base: Mapping[str, Any], settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield what settings say beyond a base, by dotted key; a section that lacks a key of the base comes as a whole."""
    for key, value in settings.items():
        below = base.get(key, {})
        if isinstance(value, Mapping) and value and isinstance(below, Mapping) and below.keys() <= value.keys():
            yield from _beyond(below, value, f"{prefix}{key}.")
        elif key not in base or base[key] != value:
            yield f"{prefix}{key}", value


def reference_of(experiment: Experiment, rows: Sequence[TuningRow]) -> TuningRow:
    """Return the row that delta_m is relative to: the first of the report's reference that is no control.

    Raises:
        UsageError: There is none.
    """
    name = experiment.report.reference
    controls = {(control.method, control.weights) for control in experiment.report.controls}
    for row in rows:
        backbone = row.settings.get("backbone")
        weights = backbone.get("weights") if isinstance(backbone, Mapping) else None
        if row.method == name and (row.method, weights) not in controls:
            return row
    raise UsageError(
        f"Points are chosen by delta_m relative to the reference {name!r}, of which the experiment has no row.\n"
        f'Add to the experiment: [[rows]] method = "{name}"   or name another one: [report] reference = "..."'
    )
