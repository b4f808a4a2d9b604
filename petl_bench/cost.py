"""The record of a scaling measurement: curves of cost against the number of tasks, their fits and labels."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from pydantic import Field

from petl_bench.fit import Line, Verdict, fit, verdict
from petl_bench.record import Entry, Environment

SCHEMA_VERSION = 1
CEILING = (0.8, 1.25)  # m of a control that runs T backbones

# What may be measured of an encoder that declares an execution; "none" contradicts nothing.
ALLOWED: dict[str, tuple[Verdict, ...]] = {
    "shared": ("constant", "near-constant"),
    "tapped": ("constant", "near-constant", "sub-linear"),
    "streamed": ("near-constant", "sub-linear"),
    "forked": ("sub-linear", "linear"),
    "replicated": ("linear",),
}


Samples = tuple[tuple[float, ...], ...]  # by process, then by round


class ScalingRow(Entry):
    """One curve.

    Attributes:
        values: Cost at each number of tasks, in the unit of the metric.
        unit: ``ms``, ``macs``, ``operations``, ``bytes``, ``parameters``.
        reference: What the cost is relative to, in the same unit: one pass of the plain frozen backbone (inference),
            the method's own step with one task (training), the backbone's parameters.
        intercept: Of the fit, in the unit.
        slope: Of the fit, in the unit for one task more.
        relative_marginal_cost: m = slope / reference.
        interval: 95 % interval of m; a point where nothing is random.
        cost_ratio: Cost at 16 tasks, or at the most measured, over cost at the fewest.
        doubling_tasks: The T at which the cost is twice that of one task.
        synthetic_tasks: Per number of tasks, how many fill up what the dataset lacks.
        is_straight: The slopes on few and on many tasks agree.
        contradiction: What is wrong when the label does not go with the declared execution.
    """

    method: str
    label: str
    metric: str
    phase: Literal["infer", "train"]
    part: Literal["encoder", "decoders", "total"]
    execution: str
    tasks: tuple[int, ...]
    values: tuple[float, ...]
    unit: str
    reference: float
    intercept: float
    slope: float
    relative_marginal_cost: float
    interval: tuple[float, float]
    cost_ratio: float
    doubling_tasks: float | None
    verdict: Verdict
    synthetic_tasks: tuple[int, ...]
    is_straight: bool = True
    contradiction: str | None = None


class ScalingRecord(Entry):
    """One measurement of several methods on one machine.

    Attributes:
        batch_sizes: By method, images of a timed pass.
        mode: How passes were executed: ``eager``, ``compiled``, in ``bf16``, as ``cuda-graphs``.
        noise: Interquartile range of the ratio of the plain backbone's pass to itself.
        rounds: Rounds of every process.
        processes: Processes per method.
        missed: What the controls got wrong; then no time has a verdict.
        controls: The methods whose curves are known: ``floor`` costs nothing per task, ``ceiling`` one backbone.
        saved_bytes: By method and module of the encoder, bytes kept for the backward pass of one image at most tasks.
        peak_bytes: By method and phase, then by T: bytes an accelerator allocated beyond the models, and reserved.
        samples: By method, phase/part and ``reference`` or T: milliseconds by process, one a round.
    """

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    backbone: str
    image_size: int
    decoder: str
    batch_sizes: dict[str, int] = {}
    mode: str = "eager"
    noise: float | None = None
    rounds: int = 0
    processes: int = 0
    controls: dict[str, str] = {}
    missed: tuple[str, ...] = ()
    environment: Environment
    rows: tuple[ScalingRow, ...] = Field(min_length=1)
    saved_bytes: dict[str, dict[str, int]] = {}
    peak_bytes: dict[str, dict[str, tuple[int, int]]] = {}
    samples: dict[str, dict[str, dict[str, Samples]]] = {}


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
    tasks: Sequence[int], values: Sequence[float], reference: float, line: Line | None, label: Verdict
) -> dict[str, Any]:
    most = tasks.index(16) if 16 in tasks else len(tasks) - 1
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


def contradiction(execution: str, label: Verdict) -> str | None:
    """Return what is wrong when an encoder's label does not go with the execution that the method declares."""
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
        low, high = row.interval
        if row.method == controls.get("floor") and row.verdict not in ("constant", "near-constant"):
            missed.append(f"{row.method} ({row.phase}) should cost nothing per task: m = {low:.3f} to {high:.3f}")
        if row.method == controls.get("ceiling") and not CEILING[0] <= row.relative_marginal_cost <= CEILING[1]:
            missed.append(f"{row.method} ({row.phase}) should cost one backbone per task: m = {low:.3f} to {high:.3f}")
    return missed
