"""Older scaling records, their lines fitted again when they are read. Files are never rewritten.

Version 1 resampled rounds inside processes alone; where processes differ its intervals held the truth about four times
in ten. Every sample is in the record, so intervals and labels are made anew.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from petl_bench.records.labels import contradiction, controls_missed, timed_fields, without_labels
from petl_bench.records.scaling import SCHEMA_VERSION, ScalingRecord, ScalingRow

COUNTED = ("macs", "elementwise")


def read_scaling(path: Path) -> ScalingRecord | None:
    """Read one record; None if the file is not one."""
    try:
        text = path.read_text(encoding="utf-8")
        record = ScalingRecord.model_validate_json(text)
    except (OSError, ValueError):
        return None
    return record if record.schema_version == SCHEMA_VERSION else refitted(record)


def refitted(record: ScalingRecord) -> ScalingRecord:
    """Return a record with the lines of its times, and what follows from them, made from its samples."""
    held = {(row.label, row.phase, row.part, row.metric): row for row in record.rows}
    rows = [_again(row, record, held) if row.metric == "latency" else row for row in record.rows]
    missed = controls_missed(rows, record.controls)
    update = {"schema_version": SCHEMA_VERSION, "missed": tuple(missed), "rows": tuple(without_labels(missed, rows))}
    return record.model_copy(update=update)


def _again(row: ScalingRow, record: ScalingRecord, held: Mapping[tuple[str, ...], ScalingRow]) -> ScalingRow:
    samples = record.samples[row.label][f"{row.phase}/{row.part}"]
    base = "reference" if row.phase == "infer" else str(row.tasks[0])
    fields = timed_fields(row.tasks, samples, base, sum(_added(row, held)) if _is_counted(row, held) else None)
    wrong = contradiction(row.execution, fields["verdict"], backward=record.backward.get(row.label))
    wrong = wrong if row.part == "encoder" else None
    return ScalingRow.model_validate({**row.model_dump(), **fields, "contradiction": wrong})


def _is_counted(row: ScalingRow, held: Mapping[tuple[str, ...], ScalingRow]) -> bool:
    return all((row.label, row.phase, row.part, metric) in held for metric in COUNTED)


def _added(row: ScalingRow, held: Mapping[tuple[str, ...], ScalingRow]) -> Iterator[float]:
    for metric in COUNTED:
        values = held[row.label, row.phase, row.part, metric].values
        yield values[-1] - values[0]
