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

from petl_bench.engine.signals import stopping
from petl_bench.records.claims import look
from petl_bench.records.status import log_path
from petl_bench.records.store import Store
from petl_bench.sweep.failure import record_failure
from petl_bench.sweep.job import Job
from petl_bench.sweep.machine import Budget
from petl_bench.sweep.show import Show

ATTEMPTS = 3
"""How often a run is begun whose process is killed; it goes on from its last state. An error of its own is final."""
POLL_SECONDS = 0.1
PATIENCE_SECONDS = 60.0
"""How long a run that is asked to end may take to save its state."""


@dataclass(frozen=True)
class _Attempt:
    job: Job
    process: subprocess.Popen[bytes]
    log: Path
    began: float


class Local:
    """Does runs on this machine.

    Args:
        store: Where they are planned.
        jobs: The runs.
        budget: What there is of the machine.
        show: Told what happens.
    """

    def __init__(self, store: Store, jobs: Sequence[Job], budget: Budget, show: Show) -> None:
        self._store, self._budget, self._show = store, budget, show
        self._waiting, self._attempts = list(jobs), dict.fromkeys((job.name for job in jobs), 0)
        self._running: list[_Attempt] = []
        self._finished: dict[str, bool] = {}

    def run(self) -> dict[str, bool]:
        """Do all the runs, and go on when one fails.

        Returns:
            Whether each is finished, by name.

        Raises:
            KeyboardInterrupt: SIGINT came; every run saved its state and ended. SystemExit by SIGTERM likewise.
        """
        with stopping() as stop, stop.deferred():
            try:
                while (self._waiting or self._running) and stop.number is None:
                    self._begin_what_fits()
                    for attempt in [one for one in self._running if one.process.poll() is not None]:
                        self._took(attempt)
                    self._show.at({one.job.name: last_line(one.log) for one in self._running})
                    time.sleep(POLL_SECONDS)
            finally:
                self.end()
            stop.leave()
        return self._finished

    def end(self) -> None:
        """Ask what still runs to save its state and end, and wait for it."""
        for attempt in self._running:
            attempt.process.send_signal(signal.SIGTERM)
        until = time.monotonic() + PATIENCE_SECONDS
        for attempt in self._running:
            try:
                attempt.process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                attempt.process.kill()
                attempt.process.wait()
        self._running = []

    def _begin_what_fits(self) -> None:
        for job in _in_order(self._store, self._waiting):
            devices = self._budget.take(job.name, job.cores, job.gpus)
            if devices is None:
                continue
            self._waiting.remove(job)
            self._attempts[job.name] += 1
            self._running.append(_begin(self._store, job, devices, self._attempts[job.name]))
            self._show.began(job, self._running[-1].log)

    def _took(self, attempt: _Attempt) -> None:
        """Judge a process that has ended."""
        job, code = attempt.job, attempt.process.returncode
        seconds = time.monotonic() - attempt.began
        self._running.remove(attempt)
        self._budget.give_back(job.name)
        if code < 0 and self._attempts[job.name] < ATTEMPTS:
            self._waiting.append(job)
            self._show.ended(job, f"killed by signal {-code}, begins again from its last state", seconds)
            return
        self._finished[job.name] = code == 0
        if code not in (0, 1):
            record_failure(self._store, job, _why(code, self._attempts[job.name]), attempt.log)
        self._show.ended(job, "done" if code == 0 else f"failed, see {attempt.log}", seconds)


def _in_order(store: Store, waiting: Sequence[Job]) -> list[Job]:
    """Return the runs that nobody works on, or else, when there are none, the others: they wait for them."""
    seen = {job.name: look(store.working(job.name)) for job in waiting}
    free = [job for job in waiting if (claim := seen[job.name]) is None or not claim.is_fresh]
    return free or list(waiting)


def _begin(store: Store, job: Job, devices: list[str], attempt: int) -> _Attempt:
    log = log_path(store.folder, job.name)
    log.parent.mkdir(parents=True, exist_ok=True)
    visible = ",".join(devices)
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


def _why(code: int, attempts: int) -> str:
    if code < 0:
        return f"Its process was killed by signal {-code}, {attempts} times."
    return f"Its process ended with exit status {code} and left no record."


def last_line(log: Path) -> str:
    """Return what a run printed last."""
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 400))
        lines = file.read().decode("utf-8", errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
