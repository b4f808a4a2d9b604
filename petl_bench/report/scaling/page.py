"""Scaling records as files and pages: cost against the number of tasks, relative to the frozen backbone."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from petl_bench.config import in_words
from petl_bench.records.growth import ENOUGH_PROCESSES
from petl_bench.records.refit import read_scaling
from petl_bench.records.scaling import ScalingRecord
from petl_bench.report.scaling.figure import draw_scaling, range_of
from petl_bench.report.scaling.headline import headline_rows
from petl_bench.report.scaling.tables import agreement_table, markdown, time_tables, work_table

SCALING = "scaling"
RECORD = "scaling.json"
PAGE = "README.md"
CURVES = "scaling.csv"
FIGURE = "scaling.png"
FILES = (RECORD, PAGE, CURVES, FIGURE)

_PAGE = """\
# Cost against the number of tasks

{where}.

{headline}

Times are in passes of the plain frozen backbone, medians; *by count* are multiply-adds. Bytes saved are those of one
image; a gradient that does not go back through the trunk needs none of its activations.

m is the cost of one task more, relative to one pass of the plain frozen backbone (inference) or to the same part of the
method's own step with one task (training), with its 95 % t interval over the lines of the processes. The cost ratio
is the cost with {most} tasks over that with {fewest}. Labels hold for these numbers of tasks alone and need the whole
interval: *constant* (nothing added by count, and the interval holds 0 and lies within 3 % a task), *near-constant*
(within 3 % a task), *sub-linear* (3 to 50 %), *linear* (50 % and more), *none* (the interval does not decide). The
encoder's label says nothing of the total: every task brings a decoder.

{notes}
{figure}{times}{work}{agreement}
Every curve with its values and fit: [{csv}]({csv}). Raw samples, what each module keeps for the backward pass, and the
machine: [{record}]({record}).
"""


def write_scaling(record: ScalingRecord, folder: Path) -> None:
    """Write the record, its page, its curves and its figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_scaling(record, folder / FIGURE)
    tasks = record.rows[0].tasks
    text = _PAGE.format(
        where=_where(record),
        headline=_headline(record),
        fewest=tasks[0],
        most=16 if 16 in tasks else tasks[-1],
        notes="\n".join(f"- {note}" for note in scaling_notes(record)),
        times=time_tables(record),
        work=work_table(record),
        agreement=agreement_table(record),
        csv=CURVES,
        record=RECORD,
        figure=f"\n![Cost against the number of tasks]({FIGURE})\n" if drawn else "",
    )
    pd.DataFrame(row.model_dump() for row in record.rows).to_csv(folder / CURVES, index=False)
    (folder / PAGE).write_text(text, encoding="utf-8")
    write_scaling_record(record, folder)


def write_scaling_record(record: ScalingRecord, folder: Path) -> None:
    """Write the record alone, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f"{RECORD}.tmp"
    draft.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    draft.replace(folder / RECORD)


def scaling_section(folders: Sequence[Path], out: Path) -> str:
    """Write the newest scaling record of the stores below ``out``, and return what the report's page shows of it."""
    found = [record for folder in folders if (record := read_scaling(folder / SCALING / RECORD)) is not None]
    if not found:
        return ""
    record = max(found, key=lambda record: record.created)
    write_scaling(record, out / SCALING)
    drawn = f"![Cost against the number of tasks]({SCALING}/{FIGURE})\n\n" if (out / SCALING / FIGURE).exists() else ""
    notes = "".join(f"- {note}\n" for note in scaling_notes(record))
    whole = f"[{SCALING}/{PAGE}]({SCALING}/{PAGE})"
    head = f"\n## Cost against the number of tasks\n\n{_where(record)}. All of it: {whole}.\n\n"
    head += f"{_headline(record)}\n\n"
    return f"{head}{notes}\n{drawn}{(time_tables(record) + work_table(record)).replace('## ', '### ')}"


def _headline(record: ScalingRecord) -> str:
    rows = headline_rows(record)
    return markdown(list(rows[0]), [list(row.values()) for row in rows])


def scaling_notes(record: ScalingRecord) -> list[str]:
    """Return what a reader must know: missed controls, contradictions, noise."""
    notes = [f"**The controls missed, so no time has a label:** {missed}." for missed in record.missed]
    notes += [
        f"**Contradiction:** {row.label} ({row.phase}, encoder) {row.contradiction}."
        for row in record.rows
        if row.contradiction
    ]
    if any(row.phase == "train" for row in record.rows):
        notes.append(_training_step(record.balancer))
    notes += _on_processes(record)
    if record.noise is not None:
        notes.append(f"Noise: the plain backbone's pass over itself spreads by {100 * record.noise:.1f} % (quartiles).")
    else:
        notes.append("Nothing was timed.")
    return notes


def _training_step(balancer: str | None) -> str:
    if balancer is None:
        return (
            "A training step is a forward and a backward pass without losses, balancer, clipping and optimiser: "
            "gradients of one begin at the outputs."
        )
    return (
        "A training step is a run's without clipping and optimiser: forward pass, the tasks' losses, the balancer "
        f"`{balancer}`, backward pass. Losses belong to the decoders, what the balancer does with gradients of the "
        "encoder belongs to the encoder."
    )


def _on_processes(record: ScalingRecord) -> list[str]:
    number = record.processes
    if not 0 < number < ENOUGH_PROCESSES:
        return []
    wanted = f"take at least {ENOUGH_PROCESSES} (`petl-bench scaling --processes {ENOUGH_PROCESSES}`)"
    if number == 1:
        return [f"**One process:** the intervals are over its rounds and say nothing of another process; {wanted}."]
    return [
        f"**{number} processes are too few for an interval that both holds and is narrow:** those shown hold, and many "
        f"are too wide for a label; {wanted}."
    ]


def _where(record: ScalingRecord) -> str:
    batches = sorted(set(record.batch_sizes.values()))
    processes = "1 process" if record.processes == 1 else f"{record.processes} processes"
    timed = f", {record.mode}, batch {', '.join(map(str, batches))}, {processes} of {record.rounds} rounds or more"
    environment = record.environment
    machine = f"{environment.device}, {environment.threads} threads, torch {environment.versions['torch']}"
    machine += ", freed memory kept" if environment.keeps_freed_memory else ""
    shape = f"{record.backbone} at {in_words(record.image_size)} px, decoder {record.decoder}, {range_of(record)}"
    return shape + (timed if batches else "") + f"; {machine}"
