"""Whether a row's curves were flat at the end: what still falls says how soon a method learns, not how well."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from petl_bench.report.aggregate import Row

THRESHOLD = 1.0
"""A loss that falls by more than so many % for 100 steps is not at its end."""
ERRORS = 2.0
"""A slope is told from another number where they are so many standard errors apart."""


@dataclass(frozen=True)
class Slope:
    """Of a task's loss over the last fifth of the steps, the mean over seeds.

    Attributes:
        percent: For 100 steps, of the loss.
        error: Standard error by the scatter of the steps.
    """

    percent: float
    error: float

    @property
    def verdict(self) -> str:
        """``falling``, ``flat``, or ``undecided`` where the noise of the steps hides which."""
        if self.percent < -THRESHOLD and self.percent < -ERRORS * self.error:
            return "falling"
        return "flat" if self.percent - ERRORS * self.error >= -THRESHOLD else "undecided"


def slopes_of(row: Row) -> dict[str, Slope]:
    """Return the slope of every task that all runs of a row tell of."""
    told = [run.record.flatness or {} for run in row.runs]
    tasks = [task for task in (told[0] if told else {}) if all(task in one for one in told)]
    return {
        task: Slope(
            percent=sum(one[task].percent for one in told) / len(told),
            error=math.hypot(*(one[task].error for one in told)) / len(told),
        )
        for task in tasks
    }


def falling(row: Row) -> tuple[str, ...]:
    """Return the tasks whose loss was still falling."""
    return tuple(task for task, slope in slopes_of(row).items() if slope.verdict == "falling")


def flatness_notes(rows: Sequence[Row]) -> list[str]:
    """Say which rows were still falling, and of which it is not known."""
    ran = [row for row in rows if row.runs]
    found: Mapping[str, tuple[str, ...]] = {row.label: falling(row) for row in ran}
    unfinished = [f"`{label}` ({', '.join(tasks)})" for label, tasks in found.items() if tasks]
    unknown = [f"`{row.label}`" for row in ran if not slopes_of(row)]
    notes: list[str] = []
    if unfinished:
        notes.append(
            f"**Still falling at the end, so not to be ranked:** {', '.join(unfinished)}; in the last fifth of the "
            f"steps the loss fell by more than {THRESHOLD:g} % for 100 steps. They differ at this budget, "
            "and have no tier."
        )
    if unknown:
        which = "any row" if len(unknown) == len(ran) else ", ".join(unknown)
        notes.append(f"Whether the curves were flat at the end is unknown for {which}: no run of it tells.")
    return notes
