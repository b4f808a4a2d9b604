"""Which runs may stand in one table, and as which rows: comparison groups, their configurations, labels and roles."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from petl_bench.plan import Control, Roles
from petl_bench.records.run import Ledger
from petl_bench.report.load import Run

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
    """Configurations with the same backbone, decoder, data, tasks, size, steps and batch.

    Attributes:
        slug: Names the group's files, different for different groups.
        title: The same in words.
        weights: The main initial weights: the reference's, or else the most common.
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
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.record.comparison, []).append(run)
    ordered = sorted(groups.values(), key=lambda members: (-len(members), _slug(members[0])))
    slugs = Counter(_slug(members[0]) for members in ordered)
    return tuple(_comparison(members, roles, shared_slug=slugs[_slug(members[0])] > 1) for members in ordered)


def _comparison(runs: Sequence[Run], roles: Roles, *, shared_slug: bool) -> Comparison:
    weights = _main_weights(runs, roles)
    groups: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        groups.setdefault(run.record.group, []).append(run)
    labels = _labels({key: members[0] for key, members in groups.items()}, weights, roles)
    rows = [_configuration(labels[key], members, roles, weights) for key, members in groups.items()]
    slug, first = _slug(runs[0]), runs[0].settings
    names = [first["backbone.name"], first["decoder.name"], first["dataset.name"], f"{first['budget']} budget"]
    return Comparison(
        slug=f"{slug}-{runs[0].record.comparison[:6]}" if shared_slug else slug,
        title=", ".join(str(name) for name in [*names, _count(len(runs[0].tasks), "task")]),
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


def _main_weights(runs: Sequence[Run], roles: Roles) -> str:
    references = [run for run in runs if run.method == roles.reference]
    for candidates in (references, runs):
        counts = Counter(run.weights for run in candidates if run.weights != RANDOM)
        if counts:
            return counts.most_common(1)[0][0]
    return RANDOM


def _labels(configurations: Mapping[str, Run], main_weights: str, roles: Roles) -> dict[str, str]:
    """Label each configuration by its method and by what sets it apart from the method's other configurations."""
    labels: dict[str, str] = {}
    for key, run in configurations.items():
        kin = [other for other in configurations.values() if other.method == run.method]
        own = {name for other in kin for name in other.settings if name.startswith(("method.", "train.learning_rate"))}
        differing = [name for name in sorted(own) if len({repr(other.settings.get(name)) for other in kin}) > 1]
        shown = [f"{name.split('.', 1)[1]}={_short(run.settings.get(name))}" for name in differing]
        control = _control_of(run, roles) if run.weights != main_weights else None
        if control is None and run.weights != main_weights:
            shown.append(f"weights={run.weights}")
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
