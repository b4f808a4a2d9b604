"""Tables as text: of the page, for LaTeX, and the narrower one of a terminal."""

import math
import re
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from petl_bench import escape
from petl_bench.records.run import Ledger
from petl_bench.report.aggregate import Column, Row
from petl_bench.report.analysis import Analysis
from petl_bench.report.flat import falling, slopes_of
from petl_bench.report.headroom import Headroom
from petl_bench.report.over_pictures import PictureRow
from petl_bench.report.over_seeds import OverSeeds
from petl_bench.report.stats import Estimate

NOTHING = "-"
FALLING = " (still falling)"
NARROW = ("method", "method parameters", "delta_m (%) ↑", "seeds")
"""Columns of the terminal beside those of the tasks; the page has all."""
_SYMBOLS = str.maketrans(
    {"↑": r"$\uparrow$", "↓": r"$\downarrow$", "±": r"$\pm$", "°": r"$^\circ$", "[": "{[}", "]": "{]}"}
)


def main_table(analysis: Analysis) -> pd.DataFrame:
    """Return the main table. No value is set off as the best: seeds and pictures decide (``over_seeds``)."""
    tasks = len(analysis.comparison.runs[0].tasks)
    counts = _parameter_columns(analysis.rows, tasks)
    header = ["method", *counts]
    header += [_heading(column) for column in analysis.columns]
    header += ["delta_m (%) ↑", "floor-corrected gain (%) ↑"]
    header += [f"{column.name} (%) ↑" for column in analysis.legacy]
    header += ["train seconds", "seeds"]
    digits = {column.name: decimals(analysis.rows, column) for column in analysis.columns}
    rows: list[list[str]] = []
    for row in analysis.rows:
        if row.missing:
            rows.append([row.label, "missing", *[NOTHING] * (len(header) - 2)])
            continue
        cells = [f"{row.label}{FALLING if falling(row) else ''}", *(column(row) for column in counts.values())]
        cells += [_estimate(row.scores.get(column.name), digits[column.name]) for column in analysis.columns]
        cells += [_estimate(row.delta_m, 2, sign="+"), _estimate(row.gain, 2, sign="+")]
        cells += [_estimate(column.values.get(row.label), 2, sign="+") for column in analysis.legacy]
        cells += [_estimate(row.train_seconds, 1), str(len(row.seeds)) if row.runs else NOTHING]
        rows.append(cells)
    return pd.DataFrame(rows, columns=header, dtype=str)


def narrow_table(analysis: Analysis) -> pd.DataFrame:
    """Return what of the main table fits a terminal: parameters, every task, delta_m."""
    whole = main_table(analysis)
    tasks = {_heading(column) for column in analysis.columns}
    return whole.filter(items=[name for name in whole.columns if name in NARROW or name in tasks])


def seeds_table(compared: OverSeeds) -> pd.DataFrame:
    """Return the comparison over seeds: a line per row, tiers, and the difference from the reference."""
    lines: list[tuple[str, ...]] = []
    for label in compared.labels:
        tier = compared.tiers.get(label, NOTHING)
        pair = compared.between(compared.reference, label) or compared.between(label, compared.reference)
        if pair is None:
            lines.append((label, tier, *[NOTHING] * 4))
            continue
        turn = -1 if pair.first == compared.reference else 1
        low, high = sorted(turn * end for end in pair.interval)
        share = [one if turn > 0 else 1 - one for one in pair.better]
        ends = sorted(share[1:])
        difference = f"{turn * pair.difference:+.2f}"
        lines.append(
            (
                label,
                tier,
                difference if math.isnan(low) else f"{difference} ({low:+.2f} to {high:+.2f})",
                f"{pair.p_holm:.3g}",
                f"{100 * share[0]:.0f} % ({100 * ends[0]:.0f} to {100 * ends[1]:.0f})",
                str(len(pair.seeds)),
            )
        )
    reference = compared.reference
    header = ["method", "tier", f"delta_m beyond {reference} (% points)", "p (Holm)", f"P(better than {reference})"]
    return pd.DataFrame(lines, columns=[*header, "seeds"], dtype=str)


def better_table(compared: OverSeeds) -> pd.DataFrame:
    """Return in how many of the seeds that two rows share the one of the line was better than that of the column."""
    labels = compared.labels
    lines = [[first, *(_wins(compared, first, second) for second in labels)] for first in labels]
    return pd.DataFrame(lines, columns=["P(line better than column)", *labels], dtype=str)


def flatness_table(analysis: Analysis) -> pd.DataFrame:
    """Return how flat the curves were at the end: a line per row that tells, a column per task."""
    told = {row.label: slopes for row in analysis.rows if (slopes := slopes_of(row))}
    tasks = list(dict.fromkeys(task for slopes in told.values() for task in slopes))
    lines = [
        [
            label,
            *(
                f"{(s := slopes[task]).percent:+.1f} ± {s.error:.1f}, {s.verdict}" if task in slopes else NOTHING
                for task in tasks
            ),
        ]
        for label, slopes in told.items()
    ]
    return pd.DataFrame(lines, columns=["method", *tasks], dtype=str)


def headroom_table(found: Headroom, columns: Sequence[Column]) -> pd.DataFrame:
    """Return by how many standard deviations every row is above the floor; a line per row, a column per task."""
    lines = [
        [label, *(f"{values[column.name]:+.1f}" if column.name in values else NOTHING for column in columns)]
        for label, values in found.above.items()
    ]
    return pd.DataFrame(lines, columns=["method", *(column.name for column in columns)], dtype=str)


def noise_table(found: Headroom, columns: Sequence[Column]) -> pd.DataFrame:
    """Return the noise of seeds and of pictures, a line per task."""
    lines = [
        [column.name, f"{noise.seeds:.3g}", f"{noise.pictures:.3g}"]
        for column in columns
        if (noise := found.noise.get(column.name)) is not None
    ]
    header = ["task", "seeds: standard deviation", "pictures: standard error"]
    return pd.DataFrame(lines, columns=header, dtype=str)


def pictures_table(analysis: Analysis) -> pd.DataFrame:
    """Return the comparison with the reference over pictures: a line per row, a column per task."""
    lines = [
        (line.label, f"{line.column.name} ({line.column.unit})", _picture_cell(line)) for line in analysis.pictures
    ]
    cells = pd.DataFrame(lines, columns=["method", "task", "cell"], dtype=str)
    wide = cells.pivot(index="method", columns="task", values="cell").fillna(NOTHING)
    return wide.loc[cells["method"].unique(), cells["task"].unique()].rename_axis(columns=None).reset_index()


def to_markdown(table: pd.DataFrame) -> str:
    """Return a GitHub table: first column left, the others right."""
    cells = table.map(escape.markdown).rename(columns=escape.markdown)
    sides = ["left", *["right"] * (len(table.columns) - 1)]
    return cells.to_markdown(index=False, disable_numparse=True, colalign=sides)


def to_latex(table: pd.DataFrame) -> str:
    """Return a ``tabular`` for the package booktabs, every cell escaped."""
    style = table.map(escape.plain).rename(columns=escape.plain).style.hide(axis="index")
    style.format(escape="latex").format_index(escape="latex", axis=1)
    return with_symbols(style.to_latex(hrules=True, column_format="l" + "r" * (len(table.columns) - 1)))


def with_symbols(escaped: str) -> str:
    """Return escaped LaTeX with arrows, signs and delta_m as mathematics, and brackets that end no line early."""
    text = escaped.translate(_SYMBOLS).replace(r"delta\_m", r"$\Delta_m$")
    return re.sub(r"(?<![\w.\-])-(?=\d)", "$-$", text)


def _heading(column: Column) -> str:
    return f"{column.name} {column.metric} ({column.unit}) {column.arrow}"


def _parameter_columns(rows: Sequence[Row], tasks: int) -> dict[str, Callable[[Row], str]]:
    """Return, by heading, what trained parameters a row shows; a part that no row has, has no column."""
    parts: dict[str, Callable[[Ledger], int | None]] = {
        "of them the trunk's own": lambda ledger: ledger.trunk,
        "of them a generator's": lambda ledger: ledger.generator,
        "of them active": lambda ledger: None if ledger.active == ledger.method else ledger.active,
    }
    held = [row.parameters for row in rows if row.parameters is not None]
    shown = {name: part for name, part in parts.items() if any(part(ledger) for ledger in held)}
    added: dict[str, Callable[[Ledger], int | None]] = {"of them added": lambda ledger: ledger.added} if shown else {}
    shown = {"method parameters": lambda ledger: ledger.method} | added | shown
    shown["decoder parameters"] = lambda ledger: ledger.decoder
    columns = {name: partial(_count, part=part) for name, part in shown.items()}
    columns |= {"% of one backbone": partial(_percent, backbones=1)}
    return columns | ({f"% of {tasks} backbones": partial(_percent, backbones=tasks)} if tasks > 1 else {})


def _count(row: Row, part: Callable[[Ledger], int | None]) -> str:
    number = 0 if row.kind == "trivial" else None if row.parameters is None else part(row.parameters)
    return NOTHING if number is None else f"{number:,}"


def _percent(row: Row, backbones: int) -> str:
    if row.kind == "trivial":
        return "0"
    return NOTHING if row.parameters is None else f"{row.percent_of_backbone / backbones:.3g}"


def _estimate(value: Estimate | None, digits: int, *, sign: str = "") -> str:
    if value is None:
        return NOTHING
    mean = f"{value.mean:{sign}z.{digits}f}"
    return mean if math.isnan(value.sd) else f"{mean} ± {value.sd:.{digits}f}"


def _wins(compared: OverSeeds, first: str, second: str) -> str:
    pair, back = compared.between(first, second), compared.between(second, first)
    if pair is None and back is None:
        return NOTHING
    share = pair.better[0] if pair else 1 - back.better[0] if back else math.nan
    return f"{100 * share:.0f} %"


def _picture_cell(line: PictureRow) -> str:
    test = line.test
    p_value = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return f"{test.difference:+.3g} ({test.low:+.3g} to {test.high:+.3g}), {p_value}"


def decimals(rows: Sequence[Row], column: Column) -> int:
    """Return how many decimals a column of scores has: about four figures of the largest."""
    largest = max((abs(row.scores[column.name].mean) for row in rows if column.name in row.scores), default=0.0)
    return 2 if largest >= 10 else 3 if largest >= 1 else 4
