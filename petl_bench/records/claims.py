"""Claims: one process at a time works in a folder, on one machine or on many that share it.

A claim is a file ``claim-N.json`` that is created exclusively; the highest N owns the folder. Its owner touches it at
every beat. A claim whose process is gone from this machine is stale at once; any other one is stale when the waiting
process has seen it unchanged for a lease by a clock of its own, so no clock is compared with another machine's. A
stale claim N is taken over by creating N + 1 and removing what is stale: of several that try, one can, and where it is
killed in between, both are stale to the next. Nothing is appended and nothing is locked: exclusive creation and times
of change are all that is needed of a network's file system.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from petl_bench.errors import UsageError
from petl_bench.records.owner import UNKNOWN, Owner, myself, place

LEASE_SECONDS = 60.0
BEATS = 6
"""Beats in a lease."""
POLLS = 60
"""Looks at another's claim in a lease."""

Say = Callable[[str], None]


class ClaimedError(UsageError):
    """Another process works there."""


class ClaimLostError(UsageError):
    """Another process took the claim over, because this one was silent for too long."""


@dataclass(frozen=True)
class Seen:
    """A claim as it lay there at one moment."""

    number: int
    owner: Owner
    changed: int

    @property
    def is_fresh(self) -> bool:
        """Whether it was renewed within a lease, as far as the machines' clocks agree: to show, not to decide."""
        if self.owner.place == place():
            return not self.owner.is_gone
        return time.time() - self.changed / 1e9 < LEASE_SECONDS


def look(folder: Path) -> Seen | None:
    """Return the claim on a folder, or None."""
    return next(reversed(_look_at_all(folder)), None)


def _look_at_all(folder: Path) -> list[Seen]:
    """Return all claims on a folder, the highest last: lower ones were left where a process was killed."""
    there = (_look_at(folder, number) for number in sorted(_numbers(folder)))
    return [seen for seen in there if seen is not None]


def _look_at(folder: Path, number: int) -> Seen | None:
    try:
        with (folder / _name(number)).open(encoding="utf-8") as file:
            changed = os.fstat(file.fileno()).st_mtime_ns
            text = file.read()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError):
        return Seen(number, UNKNOWN, 0)
    try:
        return Seen(number, Owner.model_validate_json(text), changed)
    except ValueError:
        return Seen(number, UNKNOWN, changed)


class Claim:
    """A claim of this process, renewed by a thread until it is released."""

    def __init__(self, folder: Path, number: int, owner: Owner, lease_seconds: float) -> None:
        self.folder, self.number, self.owner = folder, number, owner
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(lease_seconds / BEATS,), daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / _name(self.number)

    def require(self) -> None:
        """Go on only as long as the claim is this process's.

        Raises:
            ClaimLostError: Another process has it now, or its folder is gone.
        """
        seen = look(self.folder)
        if seen is None or seen.owner.token != self.owner.token:
            whose = "nobody: its folder was removed" if seen is None else str(seen.owner)
            raise ClaimLostError(
                f"The claim on {str(self.folder)!r} is no longer this process's but of {whose}. This process was "
                "silent for longer than a lease; nothing of it is kept.\nType: petl-bench status   to see who works."
            )

    def release(self) -> None:
        """Give the folder free; an empty one is removed."""
        self._over.set()
        self._thread.join()
        seen = look(self.folder)
        if seen is not None and seen.owner.token == self.owner.token:
            self.path.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def _beat(self, seconds: float) -> None:
        while not self._over.wait(seconds):
            with suppress(OSError):
                os.utime(self.path)


@contextmanager
def claimed(
    folder: Path, *, say: Say, wait: bool = True, lease_seconds: float = LEASE_SECONDS
) -> Generator[Claim, None, None]:
    """Hold the claim on a folder, which is made, while the block runs.

    Args:
        folder: What is claimed.
        say: Told in words whose claim is waited for, and whose is taken over.
        wait: Wait for another's claim instead of refusing.
        lease_seconds: How long a claim may be silent; the same for all who share a folder.

    Raises:
        ClaimedError: Another process has the claim, and ``wait`` is False.
        OSError: The folder cannot be made or written.
    """
    claim = _acquire(folder, say, wait, lease_seconds)
    try:
        yield claim
    finally:
        claim.release()


def _acquire(folder: Path, say: Say, wait: bool, lease_seconds: float) -> Claim:
    judged = _Judgement(lease_seconds)
    told = ""
    while True:
        there = _look_at_all(folder)
        alive = [seen for seen in there if not judged.is_stale(seen)]
        if alive:
            seen = alive[-1]
            whose = f"{folder.name.removeprefix('.')} is being run by {seen.owner}"
            if not wait:
                raise ClaimedError(f"{whose}.\nType: petl-bench status {folder.parent}")
            if told != seen.owner.token:
                told = seen.owner.token
                say(f"{whose}: waiting for it")
            time.sleep(lease_seconds / POLLS)
            continue
        number = there[-1].number + 1 if there else 1
        owner = _create(folder, number, there)
        if owner is None:
            time.sleep(lease_seconds / POLLS / 10)
            continue
        if there:
            say(f"took over {folder.name.removeprefix('.')} from {there[-1].owner}, which is gone")
        return Claim(folder, number, owner, lease_seconds)


def _create(folder: Path, number: int, stale: Sequence[Seen]) -> Owner | None:
    """Create the claim after the stale ones, which go; None if another process came first."""
    path = folder / _name(number)
    owner = myself()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(owner.model_dump_json())
    except (FileExistsError, FileNotFoundError):  # taken, or the folder went between the two calls
        return None
    if any(seen.number != number and seen not in stale for seen in _look_at_all(folder)):
        path.unlink(missing_ok=True)
        return None
    for seen in stale:
        (folder / _name(seen.number)).unlink(missing_ok=True)
    return owner


class _Judgement:
    """Whether a claim is stale, from what this process saw of it."""

    def __init__(self, lease_seconds: float) -> None:
        self._lease_seconds = lease_seconds
        self._first_seen: dict[Seen, float] = {}

    def is_stale(self, seen: Seen) -> bool:
        if seen.owner.is_gone:
            return True
        first = self._first_seen.setdefault(seen, time.monotonic())
        return seen.owner.place != place() and time.monotonic() - first > self._lease_seconds


def _name(number: int) -> str:
    return f"claim-{number}.json"


def _numbers(folder: Path) -> set[int]:
    try:
        names = [entry.name for entry in folder.iterdir()]
    except OSError:
        return set()
    return {int(match.group(1)) for name in names if (match := re.fullmatch(r"claim-([1-9][0-9]{0,8})\.json", name))}
