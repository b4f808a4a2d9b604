"""One table of nasty names, in every format that shows names."""

import csv as csv_module
import io
from pathlib import Path

import pandas as pd
import pytest
from test_store import record

from petl_bench import escape
from petl_bench.records.store import read_record
from petl_bench.report.style import figure
from petl_bench.report.tables import to_latex, to_markdown
from petl_bench.terminal import print_rows, print_table

NASTY = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://example.org/x.png)",
    "[x](javascript:alert(1))",
    "a|b\n|c",
    "`code`",
    "**bold**",
    "=HYPERLINK(\"http://example.org\")",
    "+1+1",
    "-cmd|' /C calc'!A0",
    "@SUM(A1)",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "$\\frac{1}{$",
    "\\input{/etc/passwd}",
    "100 % & # _ { } ~ ^",
    "\u202eevil",
    "&lt;b&gt;",
]  # fmt: skip


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_name_is_harmless_in_every_format(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = pd.DataFrame({"method": [name], f"column {name}": ["1"]})
    page, latex = to_markdown(table), to_latex(table)
    assert len(page.splitlines()) == 3, "a name broke the rows"
    for bad in ("<script", "<img", "\x1b", "\x07", "\u202e", "&lt;b"):
        assert bad not in page
    for bad in ("\x1b", "\x07", "\u202e"):
        assert bad not in latex
    assert page.count("\\[") == page.count("["), "a link or a picture"
    assert "\\input{" not in latex
    print_table(name, ["method"], [[name]])
    print_rows([{"method": name}], "csv", "")
    shown = capsys.readouterr().out
    assert not any(character in shown for character in "\x1b\x07\u202e")
    cell = next(csv_module.reader(io.StringIO(escape.csv(name))))[0]
    assert not cell.startswith(("=", "+", "@", "-c"))
    with figure(tmp_path / "figure.png", width=1, height=1) as drawn:
        drawn.text(0, 0, escape.plain(name))


def test_half_a_character_is_shown_as_none_and_no_part_of_a_record(tmp_path: Path) -> None:
    assert escape.plain("a\ud800b") == "a\N{REPLACEMENT CHARACTER}b"
    text = record(execution="HALF").model_dump_json()
    (tmp_path / "whole").write_text(text)
    (tmp_path / "half").write_text(text.replace("HALF", "\\ud800"))
    assert read_record(tmp_path / "whole") is not None
    assert read_record(tmp_path / "half") is None


@pytest.mark.parametrize("cell", ["12.3", "-0.4", "- 0.4", "-", "", "lora (scope=shared)", "p < 0.001", "human_parts"])
def test_what_is_harmless_stays_as_it_is(cell: str) -> None:
    assert escape.csv(cell) == escape.markdown(cell) == escape.plain(cell) == cell


def test_a_cell_that_is_no_text_stays_what_it_is() -> None:
    assert [escape.csv(value) for value in (1, -2.5, None, True)] == [1, -2.5, None, True]
