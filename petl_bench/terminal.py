"""What a person sees: results on stdout, as a table or as JSON or CSV for programs; progress on stderr."""

import csv
import io
import json
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from petl_bench.escape import csv as csv_cell
from petl_bench.escape import plain

NAME = 28  # characters of a name, which is kept on one line


def print_rows(rows: Sequence[Mapping[str, Any]], form: str, title: str) -> None:
    """Print rows that share their keys as ``table``, ``json`` or ``csv``."""
    if form == "json":
        sys.stdout.write(json.dumps(list(rows), indent=1) + "\n")
    elif form == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: csv_cell(_plain(value)) for key, value in row.items()} for row in rows)
        sys.stdout.write(text.getvalue())
    else:
        header = list(rows[0]) if rows else []
        print_table(title, header, [[_shown(row[key]) for key in header] for row in rows])


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table of text; columns that hold numbers are right-aligned."""
    table = Table(title=plain(title), title_justify="left", header_style="bold")
    for number, name in enumerate(header):
        numeric = all(_is_number(row[number]) for row in rows) and bool(rows)
        table.add_column(
            name.replace("_", " "),
            justify="right" if numeric else "left",
            overflow="fold",
            no_wrap=number == 0 and all(len(row[0]) <= NAME for row in rows),
        )
    for row in rows:
        table.add_row(*map(plain, row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False).print(table)


def bar(console: Console) -> Progress:
    """Return the bar of everything that takes over two seconds; its field ``state`` is free text."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
        console=console,
    )


def _plain(value: Any) -> Any:
    return " ".join(str(part) for part in value) if isinstance(value, (list, tuple)) else value


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, (list, tuple)):
        return ", ".join(str(part) for part in value)
    return "-" if value is None else str(value)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-|[+-]?[\d,.]+( ± [\d,.]+)?", text) is not None
