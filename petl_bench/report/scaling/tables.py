"""Scaling records as tables: one row a curve, one row a method, and what an image costs by count."""

from collections.abc import Sequence

from petl_bench import escape
from petl_bench.records.scaling import ScalingRecord, ScalingRow

PHASES = {"infer": "Inference", "train": "Training step"}
QUANTITIES = ("encoder_macs", "decoder_macs", "method_parameters", "trained_parameters", "all_parameters")
STATED = ("encoder_macs", "decoder_macs", "method_parameters")
AGREEMENT = """\
Multiply-adds of one image in inference, and parameters. torch's figure is that of all other tables, from what it
dispatches on the meta device; fvcore's comes from the trace of a real forward pass. fvcore cannot go onto the meta
device nor into a backward pass, and is left out where a real pass is large, above four tasks: there torch's counter
stands alone. `-`: no closed form is stated for these settings or this backbone."""
HEADER: tuple[str, ...] = (
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


def time_tables(record: ScalingRecord) -> str:
    """Return how time grows, as Markdown: a table a phase, a row a method, the encoder never without the total."""
    timed = {(row.label, row.phase, row.part): row for row in record.rows if row.metric == "latency"}
    labels = dict.fromkeys(row.label for row in record.rows)
    parts = [part for part in ("encoder", "decoders", "total") if any(key[2] == part for key in timed)]
    told = {"encoder": ("m", "cost ratio", "doubles at T", "label"), "decoders": ("m",)}
    told["total"] = told["encoder"]
    header = ["method", "execution", *(f"{part}: {what}" for part in parts for what in told[part])]
    text = ""
    for phase in PHASES:
        lines: list[list[str]] = []
        for label in labels:
            rows = [timed[label, phase, part] for part in parts if (label, phase, part) in timed]
            values: list[dict[str, str]] = [dict(zip(HEADER, cells, strict=True)) for cells in _cells(rows)]
            own = [
                f"{held['m per task']} ({held['95 % interval']})" if what == "m" else held[what]
                for held, row in zip(values, rows, strict=True)
                for what in told[row.part]
            ]
            if rows:
                lines.append([label, rows[0].execution, *own])
        text += f"\n## {PHASES[phase]}: time\n\n{markdown(header, lines)}\n" if lines else ""
    return text


def work_table(record: ScalingRecord) -> str:
    """Return what one image costs by count at four tasks: backbone, method and decoders apart; nothing if uncounted."""
    tasks = record.rows[0].tasks
    place = tasks.index(4) if 4 in tasks else len(tasks) - 1
    held = {(row.label, row.metric, row.phase, row.part): row for row in record.rows}
    lines: list[tuple[str, ...]] = []
    for label in dict.fromkeys(row.label for row in record.rows):
        encoder = held.get((label, "macs", "infer", "encoder"))
        if encoder is None:
            return ""
        cells = [f"{encoder.reference / 1e9:.3f}", f"{(encoder.values[place] - encoder.reference) / 1e9:.3f}"]
        for key in (("macs", "infer", "decoders"), ("elementwise", "infer", "encoder"), ("memory", "train", "encoder")):
            row = held.get((label, *key))
            cells.append("-" if row is None else f"{row.values[place] / (1e9 if key[0] == 'macs' else 1e6):.3f}")
        lines.append((label, *cells))
    header = (
        "method",
        "backbone, GMAC",
        "method, GMAC",
        "decoders, GMAC",
        "encoder, M elementwise",
        "saved in training, MB",
    )
    return f"\n## One image by count, T = {tasks[place]}\n\n{markdown(header, lines)}\n"


def agreement_table(record: ScalingRecord) -> str:
    """Return what was counted in several ways, as Markdown: a row a method and number of tasks; nothing if nothing was.

    One figure stands where all ways agree; a record is not finished where they do not.
    """
    if not record.agreements:
        return ""
    rows = {(row.label, row.tasks, row.quantity): row for row in record.agreements}
    lines: list[list[str]] = []
    for label, tasks in dict.fromkeys((row.label, row.tasks) for row in record.agreements):
        cells = [label, str(tasks)]
        for quantity in QUANTITIES:
            row = rows[label, tasks, quantity]
            cells += [f"{row.counted:,}", f"{row.fvcore:,}"]
            if quantity in STATED:
                cells.append("-" if row.closed_form is None else f"{row.closed_form:,}")
        lines.append(cells)
    header = ["method", "T"]
    for quantity in QUANTITIES:
        own = "torch" if quantity.endswith("macs") else "ledger"
        header += [f"{quantity.replace('_', ' ')}: {way}" for way in (own, "fvcore")]
        header += ["closed form"] if quantity in STATED else []
    traced = ", ".join(str(number) for number in dict.fromkeys(row.tasks for row in record.agreements))
    return f"\n## Counted in several ways, T = {traced}\n\n{AGREEMENT}\n\n{markdown(header, lines)}\n"


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = (header, ["---" for _ in header], *([escape.markdown(cell) for cell in row] for row in rows))
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)
