"""Which point a row gets, from records alone: the one with the highest delta_m on the validation split."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from petl_bench.delta import delta_m
from petl_bench.records.run import RunRecord, TaskResult
from petl_bench.tuning.points import Point
from petl_bench.tuning.rows import TuningRow

KEYS = ("decoder", "method", "backbone")


@dataclass(frozen=True)
class Trial:
    """A run of a row.

    Attributes:
        point: None for the row's default.
        record: None while it is not there.
    """

    point: Point | None
    record: RunRecord | None

    @property
    def is_finished(self) -> bool:
        """Whether it has numbers."""
        return self.record is not None and self.record.status == "finished"


@dataclass(frozen=True)
class Choice:
    """What was found for a row.

    Attributes:
        deltas: delta_m of every trial in %, NaN where it has none. The row's default is the first.
    """

    row: TuningRow
    trials: tuple[Trial, ...]
    deltas: tuple[float, ...]

    @property
    def chosen(self) -> Trial | None:
        """The trial with the highest delta_m; of equal ones the first, so that the default is kept unless beaten."""
        known = [place for place, delta in enumerate(self.deltas) if math.isfinite(delta)]
        return self.trials[max(known, key=lambda place: self.deltas[place])] if known else None

    @property
    def is_complete(self) -> bool:
        """Whether every trial has ended, well or not."""
        return all(trial.record is not None for trial in self.trials)

    @property
    def edges(self) -> tuple[str, ...]:
        """The ends of the box that the chosen point is near to.

        Where decoders alone are trained the rate ratio changes nothing, and none of its ends is told.
        """
        chosen = self.chosen
        if chosen is None or chosen.point is None or chosen.record is None:
            return ()
        parameters = chosen.record.parameters
        silent = "rate ratio" if parameters is not None and parameters.method == 0 else None
        return tuple(edge for edge in chosen.point.edges if silent is None or not edge.startswith(silent))

    @property
    def failures(self) -> tuple[tuple[str, str], ...]:
        """Name and last line of the error of every run that failed."""
        records = [trial.record for trial in self.trials if trial.record is not None and not trial.is_finished]
        return tuple((one.folder_name, (one.error or "").strip().rpartition("\n")[2]) for one in records)

    def as_row(self) -> dict[str, Any]:
        """Return it as a row of a table; what is not known is None."""
        chosen, known = self.chosen, [delta for delta in self.deltas if math.isfinite(delta)]
        train = chosen.record.config["train"] if chosen is not None and chosen.record is not None else None
        spent = [sum(trial.record.seconds.model_dump().values()) for trial in self.trials if trial.record is not None]
        default = self.deltas[0]
        return {
            "row": self.row.label,
            "finished": sum(trial.is_finished for trial in self.trials),
            "failed": sum(trial.record is not None and not trial.is_finished for trial in self.trials),
            "minutes": round(sum(spent) / 60, 1),
            "default": _rounded(default),
            "chosen": _rounded(max(known, default=math.nan)),
            "gained": _rounded(max(known, default=math.nan) - default),
            "median": _rounded(statistics.median(known) if known else math.nan),
            "worst": _rounded(min(known, default=math.nan)),
            **{f"{key}_rate": train["learning_rate"][key] if train else None for key in KEYS},
            "weight_decay": train["weight_decay"] if train else None,
            "at_the_edge": "the default" if chosen is not None and chosen.point is None else ", ".join(self.edges),
        }


@dataclass(frozen=True)
class Tuned:
    """What was found for all rows.

    Attributes:
        tasks: Those of delta_m, with the convention of each; none while the reference has no numbers.
    """

    choices: tuple[Choice, ...]
    tasks: dict[str, str]

    @property
    def is_whole(self) -> bool:
        """Whether all runs have ended and every row has a choice."""
        return all(choice.is_complete and choice.chosen is not None for choice in self.choices)


def choose(reference: TuningRow, trials: Sequence[tuple[TuningRow, Sequence[Trial]]]) -> Tuned:
    """Compare every run with the reference's at its default.

    Args:
        reference: One of the rows.
        trials: Every row with its runs, the default first.
    """
    first = next(own[0] for row, own in trials if row is reference)
    base = _scored(first.record) if first.is_finished else {}
    choices = [Choice(row, tuple(own), tuple(_delta(trial.record, base) for trial in own)) for row, own in trials]
    return Tuned(tuple(choices), {task: result.chosen.convention for task, result in base.items()})


def _scored(record: RunRecord | None) -> dict[str, TaskResult]:
    """Return the tasks that can enter delta_m."""
    metrics = {} if record is None else record.metrics
    return {
        task: result
        for task, result in metrics.items()
        if not result.seen_in_pretraining and math.isfinite(result.score) and result.score
    }


def _delta(record: RunRecord | None, base: dict[str, TaskResult]) -> float:
    """Return delta_m in %; NaN without a number for every task, under the reference's convention."""
    if record is None or record.status != "finished" or not base:
        return math.nan
    for task, result in base.items():
        own = record.metrics.get(task)
        if own is None or own.chosen.convention != result.chosen.convention:
            return math.nan
    scores = {task: record.metrics[task].score for task in base}
    references = {task: result.score for task, result in base.items()}
    return delta_m(scores, references, {task: result.chosen.higher_is_better for task, result in base.items()})


def _rounded(value: float) -> float | None:
    return round(value, 2) if math.isfinite(value) else None
