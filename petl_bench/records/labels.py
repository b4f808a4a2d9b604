"""Labels: what a fitted curve says, what an execution allows, and whether the controls came out right."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from petl_bench.records.growth import NEAR_CONSTANT, Line, fit, verdict
from petl_bench.records.scaling import Growth, Samples, ScalingRow

CEILING = (0.8, 1.25)  # relative marginal cost of a control that runs T backbones
COMPARED_TASKS = 16  # whose cost over that of the fewest is the cost ratio, where it was measured

# What may be measured of an encoder that declares an execution; "none" contradicts nothing.
ALLOWED: dict[str, tuple[Growth, ...]] = {
    "shared": ("constant", "near-constant"),
    "tapped": ("constant", "near-constant", "sub-linear"),
    "side": ("constant", "near-constant", "sub-linear"),
    "streamed": ("near-constant", "sub-linear"),
    "forked": ("sub-linear", "linear"),
    "branched": ("sub-linear", "linear"),
    "replicated": ("linear",),
}


def exact_fields(tasks: Sequence[int], values: Sequence[float], reference: float) -> dict[str, Any]:
    """Return the fields of a fit to counted values."""
    if len(tasks) < 2 or not reference:
        return _fields(tasks, values, reference, None, "none")
    line = fit(tasks, np.asarray([values], dtype=float) / reference)
    exact = line.slope if abs(line.slope) > 1e-9 else 0.0
    return _fields(tasks, values, reference, line, verdict(line, exact_slope=exact))


def timed_fields(
    tasks: Sequence[int],
    samples: Mapping[str, Samples],
    base: str,
    exact_slope: float | None,
) -> dict[str, Any]:
    """Return the fields of a fit to timed values.

    Args:
        tasks: The numbers of tasks.
        samples: Milliseconds by T and by ``base``.
        base: What each round is divided by.
        exact_slope: Arithmetic that one more task adds by count.
    """
    columns = np.asarray([np.concatenate(samples[str(number)]) for number in tasks]).T
    reference = np.concatenate(samples[base])
    medians = [float(value) for value in np.median(columns, axis=0)]
    if len(tasks) < 2:
        return _fields(tasks, medians, float(np.median(reference)), None, "none")
    line = fit(tasks, columns / reference[:, None], processes=tuple(map(len, samples[base])))
    return _fields(tasks, medians, float(np.median(reference)), line, verdict(line, exact_slope=exact_slope))


def _fields(
    tasks: Sequence[int], values: Sequence[float], reference: float, line: Line | None, label: Growth
) -> dict[str, Any]:
    most = tasks.index(COMPARED_TASKS) if COMPARED_TASKS in tasks else len(tasks) - 1
    return {
        "tasks": tuple(tasks),
        "values": tuple(values),
        "reference": reference,
        "intercept": line.intercept * reference if line else 0.0,
        "slope": line.slope * reference if line else 0.0,
        "relative_marginal_cost": line.slope if line else 0.0,
        "interval": line.interval if line else (0.0, 0.0),
        "cost_ratio": values[most] / values[0] if values[0] else 1.0,
        "doubling_tasks": line.doubling_tasks if line else None,
        "verdict": label,
        "is_straight": line.is_straight if line else True,
    }


def contradiction(execution: str, label: Growth, *, backward: bool | None = None) -> str | None:
    """Return what is wrong when an encoder's label, or its backward pass, does not go with the declared execution.

    Args:
        execution: As the method declares it.
        label: Of its measured cost.
        backward: Whether a training step goes back through the trunk, where that was looked at.
    """
    beside = {"side": True, "tapped": False}.get(execution)
    if backward is not None and beside == backward:
        return f"declares {execution}, but a training step goes back {'through' if backward else 'beside'} the trunk"
    allowed = ALLOWED.get(execution, ())
    if label == "none" or label in allowed:
        return None
    return f"declares {execution}, which is {' or '.join(allowed) or 'unknown'}, but was measured {label}"


def controls_missed(rows: Sequence[ScalingRow], controls: Mapping[str, str]) -> list[str]:
    """Return what the controls got wrong in the encoder's latency; without them there is no verdict on any time."""
    missed: list[str] = []
    for row in rows:
        if row.metric != "latency" or row.part != "encoder":
            continue
        cost = "relative marginal cost {:.3f} to {:.3f}".format(*row.interval)
        if row.method == controls.get("floor") and row.relative_marginal_cost > NEAR_CONSTANT:
            missed.append(f"{row.method} ({row.phase}) should cost nothing per task: {cost}")
        if row.method == controls.get("ceiling") and not CEILING[0] <= row.relative_marginal_cost <= CEILING[1]:
            missed.append(f"{row.method} ({row.phase}) should cost one backbone per task: {cost}")
    return missed


def without_labels(missed: Sequence[str], rows: Sequence[ScalingRow]) -> list[ScalingRow]:
    """Return the rows, those of times without label and contradiction where the controls ``missed``."""
    unknown = {"verdict": "none", "contradiction": None} if missed else {}
    return [row.model_copy(update=unknown) if row.metric == "latency" else row for row in rows]
