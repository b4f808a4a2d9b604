"""Tables as text, for Markdown and LaTeX."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from petl_bench.report.aggregate import Column, Row
from petl_bench.report.analysis import Analysis
from petl_bench.report.paired import PairedRow
from petl_bench.report.stats import Estimate

NOTHING = "-"
_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",
    "]": "{]}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "°": r"$^\circ$",
}


@dataclass(frozen=True)
class Table:
    """Text cells.

    Attributes:
        best: (row, column) of the cells to set off.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    best: frozenset[tuple[int, int]] = frozenset()


def main_table(analysis: Analysis) -> Table:
    """Return the main table; the best values are set off only if every run's learning rates were tuned."""
    header = ["method", "method parameters", "decoder parameters", "% of one backbone"]
    tasks = len(analysis.comparison.runs[0].tasks)
    header += [f"% of {tasks} backbones"] if tasks > 1 else []
    header += [f"{column.name} {column.metric} ({column.unit}) {column.arrow}" for column in analysis.columns]
    header += ["delta_m (%) ↑", "floor-corrected gain (%) ↑", "train seconds", "seeds"]
    digits = {column.name: _digits(analysis.rows, column) for column in analysis.columns}
    rows: list[tuple[str, ...]] = []
    for row in analysis.rows:
        if row.missing:
            rows.append((row.label, "missing", *[NOTHING] * (len(header) - 2)))
            continue
        cells = [row.label, *_parameter_cells(row, tasks)]
        cells += [_estimate(row.scores.get(column.name), digits[column.name]) for column in analysis.columns]
        cells += [_estimate(row.delta_m, 2, sign="+"), _estimate(row.gain, 2, sign="+")]
        cells += [_estimate(row.train_seconds, 1), str(len(row.seeds)) if row.runs else NOTHING]
        rows.append(tuple(cells))
    first_task = len(header) - 4 - len(analysis.columns)
    best = _best(analysis, first_task) if analysis.rates_tuned else frozenset[tuple[int, int]]()
    return Table(header=tuple(header), rows=tuple(rows), best=best)


def paired_table(analysis: Analysis) -> Table:
    """Return the comparison with the reference over images: a line per row, a column per task."""
    units = {line.column.name: line.column.unit for line in analysis.paired}
    cells = {(line.label, line.column.name): line for line in analysis.paired}
    labels = list(dict.fromkeys(line.label for line in analysis.paired))
    rows = tuple((label, *(_paired_cell(cells.get((label, name))) for name in units)) for label in labels)
    return Table(header=("method", *(f"{name} ({unit})" for name, unit in units.items())), rows=rows)


def to_markdown(table: Table) -> str:
    """Return a GitHub table: first column left, the others right."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"

    lines = [line(table.header), line([":--", *["--:"] * (len(table.header) - 1)])]
    lines += [line(cells) for cells in _set_off(table, str, lambda cell: f"**{cell}**")]
    return "\n".join(lines)


def to_latex(table: Table) -> str:
    """Return a ``tabular`` for the package booktabs, every cell escaped."""

    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + r" \\"

    lines = [r"\begin{tabular}{l" + "r" * (len(table.header) - 1) + "}", r"\toprule"]
    lines += [line([escape_latex(cell) for cell in table.header]), r"\midrule"]
    lines += [line(cells) for cells in _set_off(table, escape_latex, lambda cell: rf"\textbf{{{cell}}}")]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def escape_latex(text: str) -> str:
    """Return ``text`` with everything that LaTeX would read as a command escaped."""
    escaped = "".join(_LATEX.get(character, character) for character in text).replace(r"delta\_m", r"$\Delta_m$")
    return re.sub(r"(?<![\w.\-])-(?=\d)", "$-$", escaped)


def _parameter_cells(row: Row, tasks: int) -> list[str]:
    if row.kind == "trivial":
        return ["0", "0", "0", "0"] if tasks > 1 else ["0", "0", "0"]
    if row.parameters is None:
        return [NOTHING] * (4 if tasks > 1 else 3)
    one = row.percent_of_backbone
    cells = [f"{row.parameters.method:,}", f"{row.parameters.decoder:,}", f"{one:.3g}"]
    return [*cells, f"{one / tasks:.3g}"] if tasks > 1 else cells


def _estimate(value: Estimate | None, digits: int, *, sign: str = "") -> str:
    if value is None:
        return NOTHING
    mean = f"{value.mean:{sign}z.{digits}f}"
    return mean if math.isnan(value.sd) else f"{mean} ± {value.sd:.{digits}f}"


def _paired_cell(line: PairedRow | None) -> str:
    if line is None:
        return NOTHING
    test = line.test
    p_value = "p < 0.001" if test.p_value < 0.001 else f"p = {test.p_value:.3f}"
    return f"{test.difference:+.3g} ({test.low:+.3g} to {test.high:+.3g}), {p_value}"


def _digits(rows: Sequence[Row], column: Column) -> int:
    largest = max((abs(row.scores[column.name].mean) for row in rows if column.name in row.scores), default=0.0)
    return 2 if largest >= 10 else 3 if largest >= 1 else 4


def _best(analysis: Analysis, first_task: int) -> frozenset[tuple[int, int]]:
    """Return the best cell among reference and methods of every task, of delta_m and of the gain."""
    ranked = [(index, row) for index, row in enumerate(analysis.rows) if row.kind in ("reference", "method")]
    readers: list[tuple[Callable[[Row], Estimate | None], int]] = [
        (lambda row, name=column.name: row.scores.get(name), 1 if column.higher_is_better else -1)
        for column in analysis.columns
    ]
    readers += [(lambda row: row.delta_m, 1), (lambda row: row.gain, 1)]
    best: set[tuple[int, int]] = set()
    for offset, (read, sign) in enumerate(readers):
        values = {index: sign * value.mean for index, row in ranked if (value := read(row)) is not None}
        if len(values) > 1:
            best.add((max(values, key=values.__getitem__), first_task + offset))
    return frozenset(best)


def _set_off(table: Table, escape: Callable[[str], str], emphasise: Callable[[str], str]) -> list[list[str]]:
    return [
        [emphasise(escape(cell)) if (i, j) in table.best else escape(cell) for j, cell in enumerate(cells)]
        for i, cells in enumerate(table.rows)
    ]
