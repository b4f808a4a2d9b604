"""Which process, on which machine, and whether it is still there."""

import os
import socket
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from petl_bench.config import Section


class Owner(Section):
    """Who has a claim.

    Attributes:
        place: Identifies the machine, since when it is up, and the name space of its process numbers.
        started: When the process began, in the machine's ticks: numbers of processes come again.
        token: Of this one claim.
    """

    host: str
    pid: int
    place: str
    started: str
    since: str
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"

    @property
    def is_gone(self) -> bool:
        """Whether it is a process of this machine that is no more; False where that cannot be known."""
        return self.place == place() and _started(self.pid) != self.started


UNKNOWN = Owner(host="an unknown machine", pid=0, place="", started="", since="an unknown time", token="")
"""Of a claim that cannot be read, as in the instant between its creation and its first words."""


def myself() -> Owner:
    """Return this process, with a token of its own."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    pid = os.getpid()
    host, token = socket.gethostname(), uuid.uuid4().hex
    return Owner(host=host, pid=pid, place=place(), started=_started(pid), since=now, token=token)


@cache
def place() -> str:
    """Identify the machine, since when it is up, and the name space of its process numbers."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _started(pid: int) -> str:
    """Return when a process of this machine began, in ticks; "gone" if there is none, "" where it cannot be known."""
    if not Path("/proc/self/stat").exists():
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return "gone"
        except OSError:
            return ""
        return ""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "gone"
    state, *fields = line.rpartition(")")[2].split()
    return "gone" if state in "ZX" else fields[18]
