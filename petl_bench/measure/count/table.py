"""The tables of ``petl-bench params``: configured methods, counted on the meta device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from petl_bench import plan, plugins
from petl_bench.backbones.build import FAMILIES
from petl_bench.backbones.names import find_backbone
from petl_bench.config import merge
from petl_bench.errors import UsageError, unknown_name
from petl_bench.ledger import count
from petl_bench.measure.cost.agreement import MOST_TRACED_TASKS, agreements
from petl_bench.measure.cost.agreement import module_rows as traced_rows
from petl_bench.measure.count.breakdown import module_rows
from petl_bench.measure.count.explain import EQUAL, UNEQUAL, formula_rows
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.terminal import bar

__all__ = [
    "UNEQUAL",
    "agreement_table",
    "count_table",
    "formula_table",
    "methods_on",
    "module_table",
    "parameter_row",
    "shown",
    "traced_table",
]

Rows = list[dict[str, Any]]

# What a table for people shows as it is, under these headings; what is stored is the sum of the three behind it.
SHOWN = {
    "method": "method",
    "execution": "execution",
    "method_parameters": "stored",
    "added_parameters": "added",
    "trunk_parameters": "of the trunk",
    "generator_parameters": "generator",
    "parameters_per_added_task": "a task more",
    "effective_parameters": "effective",
    "parameters_after_merge": "after merge",
    "decoder_parameters": "decoders",
}


def methods_on(method: str, settings: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return the methods to count, and those of ``all`` that are not defined on the family of the backbone.

    Raises:
        UsageError: An unknown method or backbone.
    """
    known = plugins.listings("methods")
    family = FAMILIES[find_backbone(plan.name_of(merge(plan.DEFAULTS, settings), "backbone")).family]
    if method != "all":
        if method not in known:
            raise unknown_name("method", method, known, command="petl-bench list methods")
        return [method], []
    defined = [name for name, listing in known.items() if {*listing.attributes.get("needs", ())} <= {*family.has}]
    return defined, [name for name in known if name not in defined]


def count_table(configurations: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> tuple[Rows, str]:
    """Return one row per configured method, and a title."""
    rows = [parameter_row(settings, overrides) for settings in _each(configurations)]
    return rows, ", ".join(["trained parameters", rows[0]["backbone"], f"{rows[0]['tasks']} tasks", *overrides])


def module_table(configurations: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> tuple[Rows, str]:
    """Return one row per module of every configured method, and a title."""
    rows = [row for settings in _each(configurations) for row in module_rows(build_on_meta(settings))]
    return rows, ", ".join(["where the parameters are", _backbone(configurations), *overrides])


def formula_table(configurations: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> tuple[Rows, str]:
    """Return the closed forms of every configured method beside its modules, and a title."""
    rows = [row for settings in _each(configurations) for row in formula_rows(build_on_meta(settings))]
    return rows, ", ".join(["closed forms", _backbone(configurations), *overrides])


def agreement_table(configurations: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> tuple[Rows, str]:
    """Return the counts of every configured method by torch or the ledger, by fvcore and by closed form, and a title.

    Multiply-adds are those of one image in inference.

    Raises:
        UsageError: More tasks than a real forward pass is made for.
    """
    rows: Rows = []
    for settings in _each(configurations):
        tasks = merge(plan.DEFAULTS, settings)["tasks"]
        for one in agreements(settings, plan.name_of(settings, "method"), [tasks]):
            rows.append(one.model_dump(mode="json") | {"verdict": EQUAL if one.agrees else UNEQUAL})
    if not rows:
        raise UsageError(
            f"--flops: fvcore counts on real tensors, for {MOST_TRACED_TASKS} tasks at most.\n"
            f"Type: petl-bench params --flops --tasks {MOST_TRACED_TASKS}   or: petl-bench scaling --metric macs"
        )
    return [{("method" if key == "label" else key): value for key, value in row.items()} for row in rows], ", ".join(
        ["counted in several ways, one image", _backbone(configurations), *overrides]
    )


def traced_table(configurations: Sequence[Mapping[str, Any]], overrides: Sequence[str]) -> tuple[Rows, str]:
    """Return fvcore's multiply-adds by module of every configured method, and a title."""
    rows = [
        row
        for settings in _each(configurations)
        for row in traced_rows(build_on_meta(settings), plan.name_of(settings, "method"))
    ]
    return rows, ", ".join(["multiply-adds by module, one image", _backbone(configurations), *overrides])


def _each(configurations: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield the configurations, with a progress bar if there are several."""
    if len(configurations) == 1:
        yield from configurations
        return
    with bar(Console(stderr=True)) as progress:
        job = progress.add_task("count", total=len(configurations), state="")
        for settings in configurations:
            progress.update(job, state=plan.name_of(settings, "method"))
            yield settings
            progress.advance(job)


def _backbone(configurations: Sequence[Mapping[str, Any]]) -> str:
    return plan.name_of(merge(plan.DEFAULTS, configurations[0]), "backbone")


def parameter_row(settings: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Count what a method trains. More tasks than the dataset has are filled up with one-channel synthetic ones.

    Args:
        settings: As typed: sections with names, ``tasks``, and what ``--set`` gave.
        overrides: The ``--set`` arguments, repeated in the row.

    Raises:
        UsageError: An unknown name or key, or tasks that make no sense.
    """
    asked = build_on_meta(settings)
    model, ledger = asked.model, count(asked.model)
    tasks = len(model.tasks)
    return {
        "method": asked.config.method.name,
        "backbone": asked.config.backbone.name,
        "tasks": tasks,
        "synthetic_tasks": asked.synthetic_tasks,
        "execution": model.method.execution,
        "overrides": list(overrides),
        "method_parameters": ledger.method,
        "shared_parameters": ledger.shared,
        "per_task_parameters": ledger.per_task,
        "generator_parameters": ledger.generator,
        "added_parameters": ledger.added,
        "trunk_parameters": ledger.trunk,
        "active_parameters": ledger.active,
        "parameters_per_added_task": _share(ledger.per_task, tasks),
        "effective_parameters": ledger.effective,
        "parameters_after_merge": ledger.after_merge,
        "decoder_parameters": ledger.decoder,
        "trainable_parameters": ledger.trainable,
        "frozen_parameters": ledger.frozen,
        "stored_bytes": ledger.stored_bytes,
        "backbone_parameters": ledger.backbone,
        "percent_of_one_backbone": round(100 * ledger.method / ledger.backbone, 3),
        "percent_of_all_backbones": round(100 * ledger.method / (ledger.backbone * tasks), 3),
    }


def shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a table for people shows of a row; what else it holds follows from that, or is the same in all."""
    one, all_of_them = row["percent_of_one_backbone"], row["percent_of_all_backbones"]
    percent = {"% of 1, T backbones": f"{one:.3g}, {all_of_them:.3g}"}
    stored, active = row["method_parameters"], row["active_parameters"]
    own = {"stored": stored if active == stored else f"{stored:,} ({active:,} active)"}
    return {heading: row[column] for column, heading in SHOWN.items()} | own | percent


def _share(per_task: int, tasks: int) -> int | float:
    """Divide what belongs to tasks among them: a whole number where the tasks are alike."""
    share, rest = divmod(per_task, tasks)
    return share if rest == 0 else round(per_task / tasks, 1)
