"""The first table of a scaling record: one row a method, training beside inference."""

from petl_bench.records.scaling import ScalingRecord, ScalingRow

NOTHING = "-"
PASSES = {
    "shared": "1",
    "tapped": "1",
    "side": "1",
    "streamed": "1 and parts",
    "forked": "T from the fork on",
    "branched": "one a branch",
    "replicated": "T",
}
"""Passes of the trunk that T tasks take, by execution."""


def headline_rows(record: ScalingRecord) -> list[dict[str, str]]:
    """Return what every method costs at four tasks (or the most below): passes, time and memory of both phases.

    Times are of the largest part that was timed, in passes of the plain frozen backbone. Empty columns are left out.
    """
    held = {(row.label, row.metric, row.phase, row.part): row for row in record.rows}
    rows = [_row(record, label, held) for label in dict.fromkeys(row.label for row in record.rows)]
    return [{name: row[name] for name in row if any(one[name] != NOTHING for one in rows)} for row in rows]


def _row(record: ScalingRecord, label: str, held: dict[tuple[str, ...], ScalingRow]) -> dict[str, str]:
    tasks = record.rows[0].tasks
    place = max((n for n, number in enumerate(tasks) if number <= 4), default=0)
    at = f"T = {tasks[place]}"
    execution = next(row.execution for row in record.rows if row.label == label)
    counted = held.get((label, "macs", "infer", "encoder"))
    saved = held.get((label, "memory", "train", "encoder"))
    timed = {key[3] for key in held if key[1:3] == ("latency", "infer")}
    part = next((part for part in ("total", "encoder") if part in timed), None)
    infer, train = (held.get((label, "latency", phase, str(part))) for phase in ("infer", "train"))
    peak = record.peak_bytes.get(f"{label} train", {}).get(str(tasks[place]))
    through = record.backward.get(label)
    what = {"total": "encoder and decoders", "encoder": "encoder", None: ""}[part]
    return {
        "method": label,
        "execution": execution,
        "passes of the trunk": PASSES.get(execution, NOTHING),
        "a task more, by count": NOTHING
        if counted is None
        else f"{100 * counted.relative_marginal_cost:.1f} % of a pass",
        "backward through the trunk": NOTHING if through is None else "yes" if through else "no",
        f"inference, {what}, {at}": _in_passes(infer, infer, place),
        f"training step, {what}, {at}": _in_passes(train, infer, place),
        f"encoder saves for backward, {at}": NOTHING if saved is None else f"{saved.values[place] / 1e6:.1f} MB",
        f"accelerator's peak in training, {at}": NOTHING if peak is None else f"{peak[0] / 1e6:.1f} MB",
    }


def _in_passes(row: ScalingRow | None, inference: ScalingRow | None, place: int) -> str:
    if row is None or inference is None or not inference.reference:
        return NOTHING
    return f"{row.values[place] / inference.reference:.2f} passes"
