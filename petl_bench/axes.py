"""Lists of settings and how they are combined: crossed, in step, one by one, and left out."""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, Self

from pydantic import model_validator

from petl_bench.config import Section

Point = dict[str, Any]
"""Values by the keys of ``--set``."""


class Axes(Section):
    """What varies over the runs of an experiment, or of one of its rows.

    Attributes:
        grid: Lists of values by key, every combination of them.
        zip: Lists of values by key, all of one length, taken in step.
        points: Settings that belong together, one combination each.
        exclude: What a combination must not have all of; ``method`` and ``seed`` may be named as well.
    """

    grid: dict[str, list[Any]] = {}
    zip: dict[str, list[Any]] = {}
    points: tuple[Point, ...] = ()
    exclude: tuple[Point, ...] = ()

    @model_validator(mode="after")
    def _are_in_step(self) -> Self:
        lengths = {key: len(values) for key, values in self.zip.items()}
        if len(set(lengths.values())) > 1:
            named = ", ".join(f"{key} has {number}" for key, number in lengths.items())
            raise ValueError(f"zip takes lists of one length in step: {named}")
        if {} in self.exclude:
            raise ValueError("an exclude without a key would leave nothing")
        return self

    @property
    def size(self) -> int:
        """The number of combinations, those that are left out included."""
        in_step = max((len(values) for values in self.zip.values()), default=0)
        return math.prod(map(len, self.grid.values())) * (in_step or 1) * (len(self.points) or 1)

    def combinations(self) -> Iterator[Point]:
        """Yield every combination of the three kinds of lists; one empty one if there are none."""
        crossed = [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]
        in_step = [dict(zip(self.zip, values, strict=True)) for values in zip(*self.zip.values(), strict=True)]
        for parts in itertools.product(crossed, in_step or [{}], self.points or [{}]):
            yield {key: value for part in parts for key, value in part.items()}

    def leaves_out(self, settings: Mapping[str, Any]) -> bool:
        """Return whether the settings of a run have all of what one ``exclude`` names."""
        return any(all(_value(settings, key) == value for key, value in point.items()) for point in self.exclude)


def _value(settings: Mapping[str, Any], key: str) -> Any:
    value: Any = settings
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value.get("name") if isinstance(value, Mapping) else value
