"""What ``petl-bench list`` says. Reads files as text; imports no torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from petl_bench import plugins
from petl_bench.backbones.names import SEEN_IN_PRETRAINING, backbone_names
from petl_bench.cli.support import read_properties
from petl_bench.experiment import expand, read_experiment


def rows_of(kind: str, experiments: Path) -> list[dict[str, Any]]:
    """Return one row for everything of a kind."""
    match kind:
        case "methods":
            seen = read_properties()
            return [_method(listing, seen.get(name, {})) for name, listing in plugins.listings("methods").items()]
        case "backbones":
            return [vars(known) for known in backbone_names().values()]
        case "tasks":
            return _tasks()
        case "datasets":
            return [
                {"name": name, "tasks": list(listing.attributes["tasks"]), "summary": listing.summary}
                for name, listing in plugins.listings("datasets").items()
            ]
        case "experiments":
            read = {path.stem: read_experiment(path) for path in sorted(experiments.glob("*.toml"))}
            return [
                {"name": name, "runs": len(expand(experiment, {})), "title": experiment.title}
                for name, experiment in read.items()
            ]
        case _:
            return [{"name": name, "summary": listing.summary} for name, listing in plugins.listings(kind).items()]


def _method(listing: plugins.Listing, seen: Mapping[str, str]) -> dict[str, Any]:
    return {
        "name": listing.name,
        "executions": list(listing.attributes.get("executions", ("shared",))),
        "scopes": list(listing.attributes.get("scopes", ("shared",))),
        "seen": [f"{key} {seen[key]}" for key in ("tasks", "start", "backward") if key in seen],
        "needs": list(listing.attributes.get("needs", ())),
        "paper": listing.attributes.get("paper", ""),
        "summary": listing.summary,
        "differs_from_paper": listing.provenance.partition(". ")[0].rstrip("."),
    }


def _tasks() -> list[dict[str, Any]]:
    datasets = plugins.listings("datasets")
    order = {name: place for d in datasets.values() for place, name in enumerate(d.attributes["tasks"])}
    tasks = plugins.listings("tasks")
    return [
        {
            "name": name,
            "metric": tasks[name].attributes["primary"],
            "unit": tasks[name].attributes["metrics"][tasks[name].attributes["primary"]][0],
            "higher_is_better": tasks[name].attributes["metrics"][tasks[name].attributes["primary"]][1],
            "other_metrics": [m for m in tasks[name].attributes["metrics"] if m != tasks[name].attributes["primary"]],
            "loss_weight": tasks[name].attributes["loss_weight"],
            "datasets": [d for d, listing in datasets.items() if name in listing.attributes["tasks"]],
            "seen_in_pretraining": any(name in tasks for tasks in SEEN_IN_PRETRAINING.values()),
        }
        for name in sorted(tasks, key=lambda name: order.get(name, len(order)))
    ]
