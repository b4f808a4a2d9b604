"""Everything a report says of one comparison group, as numbers and sentences: the input of tables, figures and page."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from petl_bench.experiment import Roles
from petl_bench.published import Source
from petl_bench.report.aggregate import Column, Row, columns, row_of, trivial_row, trivial_scores
from petl_bench.report.commands import run_command
from petl_bench.report.facts import environment_notes, facts
from petl_bench.report.flat import flatness_notes
from petl_bench.report.gains import Baseline, baseline, with_gains
from petl_bench.report.groups import RANDOM, Comparison
from petl_bench.report.headroom import Headroom, headroom
from petl_bench.report.legacy import LegacyColumn, legacy_columns
from petl_bench.report.over_pictures import PictureRow, over_pictures
from petl_bench.report.over_seeds import OverSeeds, over_seeds

UNTUNED = "rates not tuned: no ranking"


@dataclass(frozen=True)
class Analysis:
    """One comparison group.

    Attributes:
        rows: In the order of the table: trivial predictor, controls, reference, the others by method parameters.
        legacy: delta_m relative to rows that papers print, on their data set and protocol.
        facts: What was run, as (what, text).
        notes: What a reader of the table has to know.
        missing: (what is missing, command that makes it), the reference's runs first.
        ranking: Whether the rates of the rows were tuned, and how.
        missing_references: The commands among them that make reference runs.
    """

    comparison: Comparison
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    base: Baseline
    seeds: OverSeeds | None
    headroom: Headroom | None
    pictures: tuple[PictureRow, ...]
    legacy: tuple[LegacyColumn, ...]
    facts: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    missing: tuple[tuple[str, str], ...]
    ranking: str
    missing_references: tuple[str, ...]


def analyse(comparison: Comparison, roles: Roles, published: Mapping[str, Source]) -> Analysis:
    """Compute the rows, delta_m, comparisons and notes of a comparison group.

    Args:
        comparison: The group.
        roles: Which method is the reference, which rows are the floor and the controls.
        published: What the literature prints, for delta_m relative to its rows.
    """
    cells = columns(comparison)
    trivial = trivial_scores(comparison, cells)
    base = baseline(comparison, cells, trivial, roles)
    plain = [trivial_row(trivial)] if trivial else []
    plain += [row_of(configuration, cells) for configuration in comparison.configurations]
    rows = tuple(with_gains(row, base) for row in plain)
    legacy = legacy_columns(comparison, rows, published)
    said = (
        *_warnings(comparison, cells),
        *base.notes,
        *_on_errors(rows, base),
        *flatness_notes(rows),
        *(column.note for column in legacy),
    )
    missing = tuple(_missing(comparison, roles, rows))
    return Analysis(
        comparison=comparison,
        columns=cells,
        rows=rows,
        base=base,
        seeds=over_seeds(rows, base),
        headroom=headroom(rows, cells, roles, comparison.weights),
        pictures=over_pictures(rows, cells, base),
        legacy=legacy,
        facts=tuple(facts(rows)),
        notes=(*said, *environment_notes(rows)),
        missing=missing,
        ranking=_ranking(comparison, roles),
        missing_references=tuple(command for what, command in missing if what == "reference"),
    )


def _ranking(comparison: Comparison, roles: Roles) -> str:
    """Say how the rates were found, if every run has those that were; and at which budget, if not at its own."""
    tuned = roles.tuned
    if tuned is None:
        return UNTUNED
    others = sorted({run.method for run in comparison.runs if not tuned.holds(run.settings)})
    if others:
        return f"{UNTUNED} (of {', '.join(others)} there are runs at other rates than were found)"
    moved = tuned.budget is not None and {tuned.budget} != {run.settings["budget"] for run in comparison.runs}
    return f"rates tuned{f' at budget {tuned.budget}, not at this one' if moved else ''}: {tuned.how}"


def _missing(comparison: Comparison, roles: Roles, rows: Sequence[Row]) -> Iterator[tuple[str, str]]:
    """Yield the part that is missing and the command that makes it: the reference for every seed, the rest for one."""
    like, seeds = comparison.runs[0], sorted({run.seed for run in comparison.runs})
    own = next(run for run in comparison.runs if run.weights == comparison.weights)
    command = partial(run_command, like, axes=roles.axes)
    weights = str(own.settings["backbone.weights"])
    if not comparison.references:
        for seed in seeds:
            yield "reference", command(method=roles.reference, weights=weights, seed=seed)
    present = {row.method for row in rows if row.runs and row.weights == comparison.weights}
    for method in roles.floor:
        if method not in present:
            yield f"floor `{method}`", command(method=method, weights=weights, seed=seeds[0])
    for row in rows:
        if row.missing:
            yield f"control `{row.label}`", command(method=row.method, weights=row.weights, seed=seeds[0])


def _warnings(comparison: Comparison, cells: Sequence[Column]) -> list[str]:
    notes: list[str] = []
    from_random = [row.label for row in comparison.configurations if row.weights == RANDOM and row.kind != "control"]
    if from_random:
        named = ", ".join(f"`{label}`" for label in from_random)
        notes.append(f"Warning: the backbone of {named} started from random weights, outside of the controls.")
    others = [f"`{row.label}`" for row in comparison.configurations if row.weights != comparison.weights and row.runs]
    if others:
        notes.append(
            f"Controls on other initial weights than the rest, compared with it on purpose: {', '.join(others)}."
        )
    notes += [
        f"Caveat, {caveat}."
        for caveat in dict.fromkeys(caveat for run in comparison.runs for caveat in run.record.caveats)
    ]
    partly = {
        f"{result.labelled_images} of {result.scored_images} for `{task}`"
        for run in comparison.runs
        for task, result in run.record.metrics.items()
        if result.labelled_images is not None and result.labelled_images < result.scored_images
    }
    if partly:
        notes.append(f"Test images with a label: {', '.join(sorted(partly))}.")
    split = sorted({column.task for column in cells if column.name != column.task})
    if split:
        notes.append(
            f"Runs of this group measured {', '.join(f'`{task}`' for task in split)} under different conventions; "
            "each convention has its own column and none is compared with another."
        )
    return notes


def _on_errors(rows: Sequence[Row], base: Baseline) -> list[str]:
    told = [row for row in rows if row.delta_m is not None]
    if not told:
        return []
    tasks = ", ".join(f"`{column.name}`" for column in base.tasks)
    seeds = len(base.runs)
    reference = base.reference.label if base.reference else ""
    notes = [
        f"delta_m and the floor-corrected gain are means over {tasks}, relative to `{reference}`; "
        "± is one standard deviation of the seeds."
    ]
    errors = [row.reference_error for row in told if row.reference_error is not None and row.kind != "trivial"]
    finite = [error for error in errors if not math.isnan(error)]
    if finite:
        low, high = min(finite), max(finite)
        span = f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"
        notes.append(
            f"The reference is the mean of {seeds} seeds; its standard error moves every delta_m together by {span} "
            "percentage points, on top of the ± shown (CSV column delta_m.reference_error)."
        )
    elif seeds == 1:
        notes.append("The reference has one seed: the error that it adds to every delta_m is not known.")
    left_out = [row.label for row in rows if row.scores and row.delta_m is None]
    if left_out:
        named = ", ".join(f"`{label}`" for label in left_out)
        notes.append(f"No delta_m for {named}: a task that enters was not measured under the reference's convention.")
    return notes
