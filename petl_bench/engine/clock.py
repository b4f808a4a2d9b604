"""How far a run is, and where its wall time goes."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field

from petl_bench.records.run import Seconds

Watch = Callable[[str, int, int, str], None]
"""Told how far a run is: phase (``train``, ``evaluate``), done, of how many, and the state in words."""


def unwatched(phase: str, done: int, total: int, state: str) -> None:
    """Show nothing."""


@dataclass
class Clock:
    """Adds up wall seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Generator[None, None, None]:
        """Count the block to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds to a phase."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @property
    def account(self) -> Seconds:
        """The seconds as a record has them."""
        return Seconds(**self.seconds)
