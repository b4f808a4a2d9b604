"""Who is told what a launcher does."""

from pathlib import Path
from typing import Protocol

from petl_bench.sweep.job import Job


class Show(Protocol):
    """Who is told what happens."""

    def began(self, job: Job, log: Path) -> None:
        """A process was started."""

    def ended(self, job: Job, how: str, seconds: float) -> None:
        """A process is no more: ``done``, ``failed`` or what is done about it."""

    def at(self, lines: dict[str, str]) -> None:
        """The last line of the log of every run at work, by name."""


class Printed:
    """Prints what happens, a line each."""

    def began(self, job: Job, log: Path) -> None:
        """Print that a run begins."""
        print(f"{job.name} begins, log: {log}", flush=True)

    def ended(self, job: Job, how: str, seconds: float) -> None:
        """Print how a run ended."""
        print(f"{job.name} {how} ({seconds:.0f} s)", flush=True)

    def at(self, lines: dict[str, str]) -> None:
        """Print nothing: the logs say it."""
