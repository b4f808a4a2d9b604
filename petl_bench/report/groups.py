"""Which runs may stand in one table, and as which rows: comparison groups, their configurations, labels and roles."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from petl_bench.config import digest
from petl_bench.experiment import Control, Roles
from petl_bench.records.run import Ledger
from petl_bench.report.load import Run, lies_on

RANDOM = "random"
Kind = Literal["control", "reference", "method"]


@dataclass(frozen=True)
class Configuration:
    """Runs that are the same but for the seed.

    Attributes:
        label: How the row is called, different for different configurations of a comparison.
        kind: The part it plays; a control that the report asks for has no runs if it is missing.
        runs: By seed.
    """

    label: str
    kind: Kind
    method: str
    weights: str
    runs: tuple[Run, ...]

    @property
    def parameters(self) -> Ledger | None:
        """The ledger, the same for every seed."""
        return next((run.record.parameters for run in self.runs if run.record.parameters is not None), None)

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs."""
        return tuple(run.seed for run in self.runs)


@dataclass(frozen=True)
class Comparison:
    """Configurations that differ on the axes of the report alone, and controls on initial weights of their own.

    Attributes:
        slug: Names the group's files, different for different groups.
        title: The same in words.
        weights: What identifies the initial weights of all rows but the controls.
        configurations: In the order of the table: controls, reference, the others by method parameters.
    """

    slug: str
    title: str
    weights: str
    configurations: tuple[Configuration, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs, in the order of the rows."""
        return tuple(run for row in self.configurations for run in row.runs)

    @property
    def references(self) -> tuple[Configuration, ...]:
        """Configurations of the reference method with the main weights."""
        return tuple(row for row in self.configurations if row.kind == "reference")


def comparisons(runs: Iterable[Run], roles: Roles) -> tuple[Comparison, ...]:
    """Sort runs into comparison groups, largest first."""
    kin: dict[str, list[Run]] = {}
    for run in runs:
        kin.setdefault(digest(run.kin(roles.axes)), []).append(run)
    groups = [group for members in kin.values() for group in _by_weights(members, roles)]
    groups.sort(key=lambda group: (-len(group[1]), _slug(group[1][0]), digest(_common(*group, roles))))
    return tuple(
        _comparison(members, weights, roles, _apart(weights, members, groups, roles)) for weights, members in groups
    )


def _common(weights: str, runs: Sequence[Run], roles: Roles) -> dict[str, Any]:
    """Return what the rows of a group have in common, controls aside."""
    return {**runs[0].kin(roles.axes), "engine_version": runs[0].record.engine_version, "weights": weights[:12]}


def _apart(weights: str, runs: Sequence[Run], groups: Sequence[tuple[str, list[Run]]], roles: Roles) -> dict[str, Any]:
    """Return the settings in which a group differs from the others that would be called the same."""
    own = _common(weights, runs, roles)
    alike = [_common(*group, roles) for group in groups if _slug(group[1][0]) == _slug(runs[0])]
    differing = sorted({key for other in alike for key in {*own, *other} if own.get(key) != other.get(key)})
    return {key: own.get(key, runs[0].settings.get(key, "none")) for key in differing}


def _by_weights(runs: Sequence[Run], roles: Roles) -> Iterator[tuple[str, list[Run]]]:
    """Yield initial weights with the runs that start from them, and beside these the controls on other weights."""
    own = {run.weights for run in runs if _control_of(run, roles) is None}
    for weights in sorted(own or {run.weights for run in runs}):
        yield weights, [run for run in runs if run.weights == weights or _control_of(run, roles) is not None]


def _comparison(runs: Sequence[Run], weights: str, roles: Roles, apart: Mapping[str, Any]) -> Comparison:
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        groups.setdefault(run.record.group, []).append(run)
    labels = _labels({key: members[0] for key, members in groups.items()}, weights, roles)
    rows = [_configuration(labels[key], members, roles, weights) for key, members in groups.items()]
    first = runs[0].settings
    names = [first["backbone.name"], first["decoder.name"], first["dataset.name"], f"{first['budget']} budget"]
    names += [_count(len(runs[0].tasks), "task"), *(f"{key} {_short(value)}" for key, value in apart.items())]
    suffix = f"-{digest(_common(weights, runs, roles))[:6]}" if apart else ""
    return Comparison(
        slug=f"{_slug(runs[0])}{suffix}",
        title=", ".join(str(name) for name in names),
        weights=weights,
        configurations=tuple(_in_order(rows, roles)),
    )


def _configuration(label: str, runs: Sequence[Run], roles: Roles, main_weights: str) -> Configuration:
    method, weights = runs[0].method, runs[0].weights
    row = Configuration(label=label, kind="method", method=method, weights=weights, runs=tuple(runs))
    if method == roles.reference and weights == main_weights:
        return replace(row, kind="reference")
    control = _control_of(row, roles)
    return row if control is None else replace(row, kind="control")


def _control_of(row: Configuration | Run, roles: Roles) -> Control | None:
    matches = (control for control in roles.controls if (control.method, control.weights) == (row.method, row.weights))
    return next(matches, None)


def _in_order(rows: Sequence[Configuration], roles: Roles) -> list[Configuration]:
    controls: list[Configuration] = []
    for control in roles.controls:
        found = [row for row in rows if row.kind == "control" and _control_of(row, roles) == control]
        missing = Configuration(control.label, "control", control.method, control.weights, ())
        played = any((row.method, row.weights) == (control.method, control.weights) for row in rows)
        controls += found if played else [missing]
    references = [row for row in rows if row.kind == "reference"]
    others = [row for row in rows if row.kind == "method"]
    others.sort(key=lambda row: (row.parameters.method if row.parameters else 0, row.label))
    return [*controls, *references, *others]


def _labels(configurations: Mapping[str, Run], main_weights: str, roles: Roles) -> dict[str, str]:
    """Label each configuration by its method and by what sets it apart from the method's others on its weights."""
    labels: dict[str, str] = {}
    for key, run in configurations.items():
        kin = [one for one in configurations.values() if (one.method, one.weights) == (run.method, run.weights)]
        own = {name for other in kin for name in other.settings if lies_on(name, roles.axes)}
        differing = [name for name in sorted(own) if len({repr(other.settings.get(name)) for other in kin}) > 1]
        shown = [f"{name.split('.', 1)[-1]}={_short(run.settings.get(name))}" for name in differing]
        control = _control_of(run, roles) if run.weights != main_weights else None
        name = f"{control.label}: {run.method}" if control else run.method
        labels[key] = f"{name} ({', '.join(shown)})" if shown else name
    repeated = Counter(labels.values())
    return {key: f"{label} [{key[:6]}]" if repeated[label] > 1 else label for key, label in labels.items()}


def _short(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _slug(run: Run) -> str:
    names = [run.settings[key] for key in ("backbone.name", "decoder.name", "dataset.name", "budget")]
    text = "-".join(str(name) for name in [*names, _count(len(run.tasks), "task").replace(" ", "")])
    return re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
