"""Split what a clock or a counter shows by the parts of a step."""

from collections.abc import Callable
from typing import Generic, Protocol, Self, TypeVar

Lap = Callable[[str], None]


class Additive(Protocol):
    """What can be added and subtracted: seconds, or work."""

    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...


Reading = TypeVar("Reading", bound=Additive)


class Laps(Generic[Reading]):
    """Called with a part's name when it is done; a part may be done in several laps.

    Attributes:
        by_part: By part, how much the reading has grown in its laps.
    """

    def __init__(self, read: Callable[[], Reading]) -> None:
        self.by_part: dict[str, Reading] = {}
        self._read = read
        self._last = read()

    def __call__(self, part: str) -> None:
        """End a lap of ``part``."""
        now = self._read()
        grown = now - self._last
        self.by_part[part] = self.by_part[part] + grown if part in self.by_part else grown
        self._last = now
