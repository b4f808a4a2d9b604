"""Runs on this machine: one process each, so many at a time as cores, accelerators and ``--jobs`` allow."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from petl_bench.engine.signals import Stop, stopping
from petl_bench.records.claims import look
from petl_bench.records.status import log_path
from petl_bench.records.store import Store
from petl_bench.sweep.failure import record_failure
from petl_bench.sweep.job import Job
from petl_bench.sweep.machine import Budget

ATTEMPTS = 3
"""How often a run is begun whose process is killed; it goes on from its last state. An error of its own is final."""
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""How long a run that is asked to end may take to save its state."""


class Show(Protocol):
    """Who is told what happens."""

    def began(self, job: Job, log: Path) -> None:
        """A process was started."""

    def ended(self, job: Job, how: str, seconds: float) -> None:
        """A process is no more: ``done``, ``failed`` or what is done about it."""

    def at(self, lines: dict[str, str]) -> None:
        """The last line of the log of every run at work, by name."""


@dataclass(frozen=True)
class _Attempt:
    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    began: float


def run_locally(store: Store, jobs: Sequence[Job], budget: Budget, show: Show) -> dict[str, bool]:
    """Do all the runs, and go on when one fails.

    Args:
        store: Where they are planned.
        jobs: The runs.
        budget: What there is of the machine.
        show: Told what happens.

    Returns:
        Whether each is finished, by name.

    Raises:
        KeyboardInterrupt: SIGINT came; every run was asked to save its state and ended. SystemExit by SIGTERM likewise.
    """
    waiting, attempts = list(jobs), dict.fromkeys((job.name for job in jobs), 0)
    running: list[_Attempt] = []
    finished: dict[str, bool] = {}
    with stopping() as stop, stop.deferred():
        while (waiting or running) and stop.number is None:
            for job in _in_order(store, waiting):
                devices = budget.take(job.name, job.cores, job.gpus)
                if devices is None:
                    continue
                attempts[job.name] += 1
                waiting.remove(job)
                running.append(_begin(store, job, devices, attempts[job.name]))
                show.began(job, running[-1].log)
            for attempt in [one for one in running if one.process.poll() is not None]:
                running.remove(attempt)
                budget.give_back(attempt.job.name)
                code = attempt.process.returncode
                seconds = time.monotonic() - attempt.began
                if code < 0 and attempts[attempt.job.name] < ATTEMPTS:
                    waiting.append(attempt.job)
                    show.ended(attempt.job, f"killed by signal {-code}, begins again from its last state", seconds)
                    continue
                finished[attempt.job.name] = code == 0
                if code not in (0, 1):
                    record_failure(store, attempt.job, _why(code, attempts[attempt.job.name]), attempt.log)
                show.ended(attempt.job, "done" if code == 0 else f"failed, see {attempt.log}", seconds)
            show.at({one.job.name: _last_line(one.log) for one in running})
            time.sleep(POLL_SECONDS)
        _end(running, stop)
    return finished


def _in_order(store: Store, waiting: Sequence[Job]) -> list[Job]:
    """Return the runs that nobody works on, or else, when there are none, the others: they wait for them."""
    seen = {job.name: look(store.working(job.name)) for job in waiting}
    free = [job for job in waiting if (claim := seen[job.name]) is None or not claim.is_fresh]
    return free or list(waiting)


def _begin(store: Store, job: Job, devices: list[int], attempt: int) -> _Attempt:
    log = log_path(store.folder, job.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    visible = ",".join(str(device) for device in devices)
    environment = {**os.environ, "OMP_NUM_THREADS": str(job.cores), "CUDA_VISIBLE_DEVICES": visible}
    with log.open("ab") as file:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        file.write(f"--- {now} attempt {attempt}, {job.cores} cores, CUDA devices: {visible or 'none'}\n".encode())
        file.flush()
        process = subprocess.Popen(
            [sys.executable, "-m", "petl_bench.sweep.work", str(store.folder), job.name],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches the sweep, which asks every run to end
        )
    return _Attempt(job, process, log, time.monotonic())


def _end(running: Sequence[_Attempt], stop: Stop) -> None:
    """Ask what still runs to save and end, and wait for it."""
    for attempt in running:
        attempt.process.send_signal(signal.SIGTERM)
    until = time.monotonic() + PATIENCE_SECONDS
    for attempt in running:
        try:
            attempt.process.wait(max(0.0, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            attempt.process.kill()
            attempt.process.wait()
    stop.leave()


def _why(code: int, attempts: int) -> str:
    if code < 0:
        return f"Its process was killed by signal {-code}, {attempts} times."
    return f"Its process ended with exit status {code} and left no record."


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
