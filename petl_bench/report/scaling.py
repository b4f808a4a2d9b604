"""Scaling records as a table and a figure: cost against the number of tasks, relative to the frozen backbone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from petl_bench.cost import ScalingRecord, ScalingRow
from petl_bench.report.style import MARKERS, Colours, colours, figure

SCALING = "scaling"
RECORD = "scaling.json"
PAGE = "README.md"
FIGURE = "scaling.png"
PHASES = {"infer": "inference", "train": "training step"}
PARTS = {"encoder": "encoder", "decoders": "decoders alone", "total": "encoder and decoders"}
HEADER = (
    "method",
    "execution",
    "metric",
    "phase",
    "part",
    "m per task",
    "95 % interval",
    "cost ratio",
    "doubles at T",
    "label",
)


def scaling_table(record: ScalingRecord) -> list[dict[str, str]]:
    """Return one row of text for every curve."""
    return [dict(zip(HEADER, cells, strict=True)) for cells in _cells(record.rows)]


def _cells(rows: Sequence[ScalingRow]) -> list[tuple[str, ...]]:
    return [
        (
            row.label,
            row.execution,
            row.metric,
            row.phase,
            row.part,
            f"{100 * row.relative_marginal_cost:.2f} %",
            f"{100 * row.interval[0]:.2f} to {100 * row.interval[1]:.2f} %",
            f"{row.cost_ratio:.2f}",
            "never" if row.doubling_tasks is None else f"{row.doubling_tasks:.1f}",
            row.verdict if row.is_straight else f"{row.verdict}, not straight",
        )
        for row in rows
    ]


def range_of(record: ScalingRecord) -> str:
    """Say for which numbers of tasks the labels hold; they are never given without."""
    tasks = record.rows[0].tasks
    synthetic = max(record.rows[0].synthetic_tasks)
    filled = f", up to {synthetic} of them synthetic" if synthetic else ""
    return f"T = {', '.join(map(str, tasks))}{filled}"


def draw_scaling(record: ScalingRecord, path: Path) -> bool:
    """Draw latency against T, one panel per phase and part; False if nothing was timed."""
    timed = [row for row in record.rows if row.metric == "latency"]
    phases = [phase for phase in PHASES if any(row.phase == phase for row in timed)]
    parts = [part for part in PARTS if any(row.part == part for row in timed)]
    if not timed:
        return False
    palette = colours(row.label for row in timed)
    with figure(path, width=6.2 * len(parts), height=4.6 * len(phases)) as drawn:
        grid = drawn.subplots(len(phases), len(parts), squeeze=False)
        for line, phase in enumerate(phases):
            for column, part in enumerate(parts):
                shown = [row for row in timed if (row.phase, row.part) == (phase, part)]
                _draw_panel(grid[line, column], record, shown, palette)
                unit = "one frozen pass" if phase == "infer" else "its own step at T = 1"
                grid[line, column].set_title(f"{PHASES[phase]}, {PARTS[part]}; in units of {unit}", fontsize="medium")
        handles, labels = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside right upper", fontsize="small")
        where = f"{record.backbone}, {record.image_size} px, batch {sorted(set(record.batch_sizes.values()))}"
        drawn.suptitle(f"{where}, {range_of(record)}", fontsize="medium")
    return True


def _draw_panel(axes: Axes, record: ScalingRecord, rows: Sequence[ScalingRow], palette: Colours) -> None:
    tasks = np.asarray(rows[0].tasks, dtype=float)
    axes.plot(tasks, np.ones_like(tasks), color="0.5", linestyle=":", linewidth=1)
    axes.plot(tasks, tasks, color="0.5", linestyle="--", linewidth=1)
    axes.annotate("T x", (tasks[-1], tasks[-1]), color="0.4", fontsize="small", ha="right", va="bottom")
    axes.annotate("1 x", (tasks[-1], 1.0), color="0.4", fontsize="small", ha="right", va="top")
    for number, row in enumerate(rows):
        held = record.samples[row.label][f"{row.phase}/{row.part}"]
        base = np.concatenate(held["reference" if row.phase == "infer" else str(row.tasks[0])])
        ratios = np.asarray([np.concatenate(held[str(t)]) for t in row.tasks]) / base
        low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75], axis=1)
        axes.errorbar(
            tasks,
            middle,
            yerr=[middle - low, high - middle],
            color=palette[row.label],
            marker=MARKERS[number % len(MARKERS)],
            markersize=4,
            linewidth=1.2,
            capsize=2,
            label=row.label,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(tasks, [f"{int(t)}" for t in tasks])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("tasks")
    axes.set_ylabel("relative cost")


_PAGE = """\
# Cost against the number of tasks

{where}.

m is the cost of one task more, relative to one pass of the plain frozen backbone (inference) or to the method's own
step with one task (training), with its 95 % bootstrap interval over rounds. The cost ratio is the cost with {most}
tasks over that with {fewest}. Labels hold for these numbers of tasks alone: *constant* (nothing added by count, and the
interval holds 0), *near-constant* (at most 3 % a task), *sub-linear* (3 to 50 %), *linear* (50 % and more), *none* (the
interval does not decide). The encoder's label says nothing of the total: every task brings a decoder.

{notes}

{table}
{figure}"""


def write_scaling(record: ScalingRecord, folder: Path) -> None:
    """Write the record, its page and its figure into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = draw_scaling(record, folder / FIGURE)
    tasks = record.rows[0].tasks
    text = _PAGE.format(
        where=_where(record),
        fewest=tasks[0],
        most=16 if 16 in tasks else tasks[-1],
        notes="\n".join(f"- {note}" for note in scaling_notes(record)),
        table=_markdown(record.rows),
        figure=f"\n![Cost against the number of tasks]({FIGURE})\n" if drawn else "",
    )
    (folder / PAGE).write_text(text, encoding="utf-8")
    (folder / RECORD).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_scaling(path: Path) -> ScalingRecord | None:
    """Read one record; None if the file is not one."""
    try:
        return ScalingRecord.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def scaling_section(folders: Sequence[Path], out: Path) -> str:
    """Write the newest scaling record of the stores below ``out``, and return what the report's page shows of it."""
    found = [record for folder in folders if (record := read_scaling(folder / SCALING / RECORD)) is not None]
    if not found:
        return ""
    record = max(found, key=lambda record: record.created)
    write_scaling(record, out / SCALING)
    shown = [row for row in record.rows if row.metric == "latency"] or record.rows
    drawn = f"![Cost against the number of tasks]({SCALING}/{FIGURE})\n\n" if (out / SCALING / FIGURE).exists() else ""
    notes = "".join(f"- {note}\n" for note in scaling_notes(record))
    whole = f"[{SCALING}/{PAGE}]({SCALING}/{PAGE})"
    head = f"\n## Cost against the number of tasks\n\n{_where(record)}. All of it: {whole}.\n\n"
    return f"{head}{notes}\n{drawn}{_markdown(shown)}\n"


def _markdown(rows: Sequence[ScalingRow]) -> str:
    lines = (HEADER, ["---" for _ in HEADER], *_cells(rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def scaling_notes(record: ScalingRecord) -> list[str]:
    """Return what a reader must know: missed controls, contradictions, noise."""
    notes = [f"**The controls missed, so no time has a label:** {missed}." for missed in record.missed]
    notes += [
        f"**Contradiction:** {row.label} ({row.phase}, encoder) {row.contradiction}."
        for row in record.rows
        if row.contradiction
    ]
    if record.noise is not None:
        notes.append(f"Noise: the plain backbone's pass over itself spreads by {100 * record.noise:.1f} % (quartiles).")
    return notes or ["Nothing was timed."]


def _where(record: ScalingRecord) -> str:
    batches = sorted(set(record.batch_sizes.values()))
    processes = "1 process" if record.processes == 1 else f"{record.processes} processes"
    timed = f", batch {', '.join(map(str, batches))}, {processes} of {record.rounds} rounds or more"
    environment = record.environment
    machine = f"{environment.device}, {environment.threads} threads, torch {environment.versions['torch']}"
    shape = f"{record.backbone} at {record.image_size} px, decoder {record.decoder}, {range_of(record)}"
    return shape + (timed if batches else "") + f"; {machine}"
