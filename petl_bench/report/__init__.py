"""From a store of runs to a page: tables, figures and what a reader has to know. Never re-runs, never imports torch."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pandas as pd

from petl_bench import escape
from petl_bench.experiment import Roles, experiments_folder
from petl_bench.published import read_claims
from petl_bench.report.analysis import analyse
from petl_bench.report.frames import Frames, frames
from petl_bench.report.groups import comparisons
from petl_bench.report.load import Loaded, choosing, load
from petl_bench.report.page import Section, render
from petl_bench.report.raw import runs_frame
from petl_bench.report.scaling.page import scaling_section
from petl_bench.report.style import colours
from petl_bench.report.tables import main_table, narrow_table
from petl_bench.report.write import FIGURES, PAGE, RUNS, TABLES, replacing, write_group

__all__ = ["GroupTable", "Report", "report"]


@dataclass(frozen=True)
class GroupTable:
    """The main table of one comparison group, as text.

    Attributes:
        table: As on the page.
        narrow: Those of its columns that fit a terminal.
        notes: What a reader has to know.
    """

    title: str
    table: pd.DataFrame
    narrow: pd.DataFrame
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        page: The page in Markdown.
        files: Everything written, the page included.
        groups: The main tables.
        missing_references: Commands that make the reference runs without which there is no delta_m.
        notes: What concerns the report as a whole: files that could not be read, runs that failed.
    """

    page: Path
    files: tuple[Path, ...]
    groups: tuple[GroupTable, ...]
    missing_references: tuple[str, ...]
    notes: tuple[str, ...]


def report(folders: Sequence[Path], out: Path, roles: Roles, metrics: Mapping[str, str] | None = None) -> Report:
    """Write the report on all runs below ``folders`` to the folder ``out``, replacing an older report there.

    Args:
        folders: Stores or run folders.
        out: May lie inside a store. Replaced as a whole once the new report is complete.
        roles: Which method is the reference, which rows are the floor and the controls, what may differ in a table.
        metrics: By task, the metric that stands for it in place of the data set's choice.

    Raises:
        UsageError: There is no run to report or no such metric, or ``out`` cannot be written or holds something else.
    """
    loaded = load(folders)
    runs = choosing(loaded.runs, metrics or {})
    published = read_claims(experiments_folder() / "published")
    analyses = tuple(analyse(comparison, roles, published) for comparison in comparisons(runs, roles))
    notes = _notes(loaded)
    palette = colours(run.method for run in loaded.runs)
    with replacing(out) as scratch:
        (scratch / TABLES).mkdir()
        (scratch / FIGURES).mkdir()
        sections = [write_group(scratch, analysis, palette) for analysis in analyses]
        if analyses:
            runs_frame(analyses).map(escape.csv).to_csv(scratch / RUNS, index=False)
        scaling = scaling_section(folders, scratch)
        (scratch / PAGE).write_text(render(sections, loaded, notes) + scaling, encoding="utf-8")
        files = sorted(path.relative_to(scratch) for path in scratch.rglob("*") if path.is_file())
    return Report(
        page=out / PAGE,
        files=tuple(out / path for path in files),
        groups=tuple(_group_table(section) for section in sections),
        missing_references=tuple(command for analysis in analyses for command in analysis.missing_references),
        notes=notes,
    )


def _notes(loaded: Loaded) -> tuple[str, ...]:
    notes: list[str] = []
    if loaded.damaged:
        named = ", ".join(f"`{path}`" for path in loaded.damaged)
        notes.append(f"Left out, no record of this version ({len(loaded.damaged)}): {named}.")
    if loaded.repeated:
        notes.append(f"Left out, runs of which a newer one with the same fingerprint is there: {loaded.repeated}.")
    if loaded.failed:
        notes.append(f"Failed runs, left out of every table: {len(loaded.failed)}.")
    return tuple(notes)


def _group_table(section: Section) -> GroupTable:
    analysis = section.analysis
    notes = (analysis.ranking, *section.notes)
    return GroupTable(analysis.comparison.title, main_table(analysis), narrow_table(analysis), notes)


class _CallableModule(ModuleType):
    """``petl_bench.report(folder)``, although the name is this package's as soon as it is imported."""

    def __call__(self, *folders: str | Path, experiment: str = "main") -> Frames:
        return frames(*folders, experiment=experiment)


sys.modules[__name__].__class__ = _CallableModule
