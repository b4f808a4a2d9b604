"""From methods to a record of how their cost grows: count, time, fit, label."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from petl_bench.engine.environment import environment
from petl_bench.measure.cost.agreement import agreements, require_agreement
from petl_bench.measure.cost.flops import Work
from petl_bench.measure.cost.latency import noise
from petl_bench.measure.cost.timing import REFERENCE, Timed, plain_step, prepare, time_method
from petl_bench.measure.cost.work import Costs, count_backbone, count_method
from petl_bench.measure.cost.workload import Setup
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.labels import contradiction, controls_missed, exact_fields, timed_fields, without_labels
from petl_bench.records.scaling import Agreement, Samples, ScalingRecord, ScalingRow

UNITS = {"macs": "macs", "elementwise": "operations", "bytes": "bytes", "memory": "bytes", "parameters": "parameters"}
BY_LABEL = ("samples", "batch_sizes", "saved_bytes", "peak_bytes", "backward")
FIELDS = {"macs": "macs", "elementwise": "elementwise_ops", "bytes": "bytes_written"}


def scale(
    setup: Setup,
    methods: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str],
    *,
    processes: int,
    controls: Mapping[str, str],
    progress: Callable[[str], None],
    keep: Callable[[ScalingRecord], None] = lambda record: None,
    begun: ScalingRecord | None = None,
    say: Callable[[str], None] = lambda words: None,
) -> ScalingRecord:
    """Measure methods, the controls first, or go on where a measurement was broken off.

    Args:
        setup: What is measured, for every method alike.
        methods: The ``method`` section of each, by label.
        metrics: ``latency``, ``macs``, ``elementwise``, ``bytes``, ``memory``, ``parameters``.
        processes: How often each method is timed, every time in a process of its own.
        controls: ``floor`` and ``ceiling``, names of methods.
        progress: Called with what comes next, and once at the end with nothing.
        keep: Called after every method with the record so far, so that an interruption loses one method at most.
        begun: A record that may be of the same command, broken off: then the methods that it has are taken from it.
        say: Told which those are.

    Raises:
        DisagreementError: The multiply-adds or parameters of a method differ by how they are counted.
    """
    first = sorted(methods, key=lambda label: methods[label]["name"] not in controls.values())
    config = build_on_meta({**setup.settings, "method": methods[first[0]], "tasks": 1}).config
    unit, is_timed, device = count_backbone(config), "latency" in metrics, torch.device(setup.device)
    prepare(setup)
    facts: dict[str, Any] = {
        "asked": _asked(setup, methods, metrics),
        "backbone": config.backbone.name,
        "image_size": config.dataset.image_size,
        "decoder": config.decoder.name,
        "balancer": config.train.balancer.name if "train" in setup.phases and setup.follows_losses(config) else None,
        "mode": setup.mode,
        "rounds": setup.min_rounds,
        "processes": processes if is_timed else 0,
        "controls": dict(controls),
        "environment": environment(device, "bfloat16" if setup.mode == "bf16" else "float32"),
    }
    progress("the machine's noise")
    if begun is None or not _goes_on(begun, facts):
        begun = None
        facts["created"] = datetime.now(UTC).isoformat(timespec="seconds")
        facts["noise"] = noise(plain_step(setup, config), min_rounds=10, device=device) if is_timed else None
    else:
        facts |= {"created": begun.created, "noise": begun.noise}
    rows, agreed = (list(begun.rows), list(begun.agreements)) if begun else (list[ScalingRow](), list[Agreement]())
    by_label: dict[str, dict[str, Any]] = {name: dict(getattr(begun, name)) if begun else {} for name in BY_LABEL}
    measured = list(dict.fromkeys(row.label for row in rows))
    if measured:
        say(f"This was broken off before; taken from its record: {', '.join(measured)}. Another --out measures anew.")
    for label in first:
        progress(label)
        if label in measured:
            continue
        counted = {tasks: count_method(setup, methods[label], tasks) for tasks in setup.tasks}
        named = {"method": methods[label]["name"], "label": label}
        if "macs" in metrics:
            agreed += agreements({**setup.settings, "method": methods[label]}, label, setup.tasks)
            require_agreement(agreed)
        rows += _counted_rows(setup, named, counted, metrics, unit)
        if is_timed:
            timed = [time_method(setup, methods[label]) for _ in range(processes)]
            samples = _joined(timed)
            rows += _timed_rows(setup, named, counted, samples)
            by_label["samples"][label] = samples
            by_label["batch_sizes"][label] = min(one.batch_size for one in timed)
            by_label["peak_bytes"] |= _peaks(label, timed)
        if "train" in setup.phases:
            by_label["backward"][label] = counted[setup.tasks[-1]].backward
        if "memory" in metrics and "encoder" in setup.parts:
            by_label["saved_bytes"][label] = counted[setup.tasks[-1]].saved["encoder"].by_module
        keep(_record(facts, rows, by_label, agreed, controls))
    progress("")
    return _record(facts, rows, by_label, agreed, controls)


def _asked(setup: Setup, methods: Mapping[str, Mapping[str, Any]], metrics: Sequence[str]) -> dict[str, Any]:
    """Return everything that was asked for, as a record has it when it is read again."""
    return json.loads(json.dumps({**vars(setup), "methods": methods, "metrics": metrics}))


def _goes_on(begun: ScalingRecord, facts: Mapping[str, Any]) -> bool:
    """Return whether a record is of the same command, machine and code, lacks a method, and can be trusted."""
    is_same = all(getattr(begun, name) == value for name, value in facts.items())
    is_whole = begun.asked.get("methods", {}).keys() <= {row.label for row in begun.rows}
    return is_same and not is_whole and not begun.missed and not begun.environment.dirty


def _record(
    facts: Mapping[str, Any],
    rows: Sequence[ScalingRow],
    by_label: Mapping[str, Any],
    agreed: Sequence[Agreement],
    controls: Mapping[str, str],
) -> ScalingRecord:
    """Return what was measured so far; without trusted controls no time has a label."""
    missed = controls_missed(rows, controls)
    rows = without_labels(missed, rows)
    return ScalingRecord(**facts, **by_label, agreements=tuple(agreed), rows=tuple(rows), missed=tuple(missed))


def _counted_rows(
    setup: Setup,
    named: Mapping[str, str],
    counted: Mapping[int, Costs],
    metrics: Sequence[str],
    unit: Work,
) -> list[ScalingRow]:
    rows: list[ScalingRow] = []
    for phase in setup.phases:
        for part in setup.parts:
            place = {**named, **_facts(counted), "phase": phase, "part": part}
            for metric in metrics:
                if metric in FIELDS:
                    values = [float(getattr(one.work[phase, part], FIELDS[metric])) for one in counted.values()]
                    base = float(getattr(unit, FIELDS[metric])) if phase == "infer" else values[0]
                elif metric == "memory" and phase == "train" and part != "decoders":
                    values = [float(one.saved[part].total_bytes) for one in counted.values()]
                    base = values[0]
                elif metric == "parameters" and (phase, part) == (setup.phases[0], setup.parts[0]):
                    values = [float(one.parameters) for one in counted.values()]
                    base = float(next(iter(counted.values())).backbone_parameters)
                else:
                    continue
                fields = exact_fields(setup.tasks, values, base)
                rows.append(ScalingRow.model_validate({**place, **fields, "metric": metric, "unit": UNITS[metric]}))
    return rows


def _timed_rows(
    setup: Setup,
    named: Mapping[str, str],
    counted: Mapping[int, Costs],
    samples: Mapping[str, Mapping[str, Samples]],
) -> list[ScalingRow]:
    rows: list[ScalingRow] = []
    facts = _facts(counted)
    fewest, most = counted[setup.tasks[0]], counted[setup.tasks[-1]]
    for phase in setup.phases:
        for part in setup.parts:
            added = most.work[phase, part] - fewest.work[phase, part]
            base = REFERENCE if phase == "infer" else str(setup.tasks[0])
            exact = float(added.macs + added.elementwise_ops)
            fields = timed_fields(setup.tasks, samples[f"{phase}/{part}"], base, exact)
            wrong = contradiction(facts["execution"], fields["verdict"], backward=most.backward)
            wrong = wrong if part == "encoder" else None
            place = {**named, **facts, "phase": phase, "part": part, "metric": "latency", "unit": "ms"}
            rows.append(ScalingRow.model_validate({**place, **fields, "contradiction": wrong}))
    return rows


def _facts(counted: Mapping[int, Costs]) -> dict[str, Any]:
    return {
        "execution": list(counted.values())[-1].execution,
        "synthetic_tasks": tuple(one.synthetic_tasks for one in counted.values()),
    }


def _peaks(label: str, timed: Sequence[Timed]) -> dict[str, dict[str, tuple[int, int]]]:
    """Return the allocator's peaks of the last process, by label and phase, then by T."""
    return {
        f"{label} {phase}": {tasks: (one.allocated_bytes, one.reserved_bytes) for tasks, one in by_tasks.items()}
        for phase, by_tasks in timed[-1].peaks.items()
        if by_tasks
    }


def _joined(timed: Sequence[Timed]) -> dict[str, dict[str, Samples]]:
    """Put the rounds of several processes beside each other."""
    return {
        f"{phase}/{part}": {name: tuple(one.milliseconds[phase, part][name] for one in timed) for name in by_name}
        for (phase, part), by_name in timed[0].milliseconds.items()
    }
