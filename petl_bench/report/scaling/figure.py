"""The figure of a scaling record: cost against the number of tasks, relative to one frozen pass or one own step."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import seaborn as sns
from matplotlib.axes import Axes

from petl_bench.config import in_words
from petl_bench.records.scaling import ScalingRecord, ScalingRow
from petl_bench.report.style import MARKERS, Colours, colours, figure

PHASES = {"infer": "inference", "train": "training step"}
GREY = (0.7, 0.7, 0.7)
PARTS = {"encoder": "encoder", "decoders": "decoders alone", "total": "encoder and decoders"}


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
    found = [part for part in PARTS if any(row.part == part for row in timed)]
    parts = [part for part in found if part != "decoders"] or found
    if not timed:
        return False
    palette = _palette(timed)
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
        where = f"{record.backbone}, {in_words(record.image_size)} px, batch {sorted(set(record.batch_sizes.values()))}"
        drawn.suptitle(f"{where}, {range_of(record)}", fontsize="medium")
    return True


def _palette(rows: Sequence[ScalingRow]) -> Colours:
    """Return one colour per method; of very many, those of the commonest execution are grey, told by their marks."""
    executions = {row.label: row.execution for row in rows}
    commonest, _ = Counter(executions.values()).most_common(1)[0]
    others = [label for label, execution in executions.items() if execution != commonest]
    vivid = [colour for colour in sns.color_palette("colorblind") if max(colour) - min(colour) > 0.1]
    if len(executions) <= len(vivid) or len(others) > len(vivid):
        return colours(executions)
    return dict.fromkeys(executions, GREY) | dict(zip(others, vivid, strict=False))


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
            zorder=2 if palette[row.label] == GREY else 3,
            label=row.label,
        )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(tasks, [f"{int(t)}" for t in tasks])
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("tasks")
    axes.set_ylabel("relative cost")
