"""What of a sweep is done, failed, at work and left, and how long the rest will take."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from petl_bench.engine.environment import environment
from petl_bench.records.run import RunRecord
from petl_bench.records.status import State, status_of
from petl_bench.records.store import Store
from petl_bench.sweep.estimate import seconds_of
from petl_bench.sweep.job import Job
from petl_bench.sweep.machine import gpus_here


@dataclass(frozen=True)
class Planned:
    """A run of a sweep: what the store says of it, whether it is to be done, and the seconds that it will take."""

    job: Job
    state: State | None
    is_to_be_done: bool
    seconds: float | None


@dataclass(frozen=True)
class Survey:
    """All runs of a sweep."""

    runs: tuple[Planned, ...]

    @property
    def to_do(self) -> tuple[Job, ...]:
        """What is left to do."""
        return tuple(run.job for run in self.runs if run.is_to_be_done)

    @property
    def seconds(self) -> float | None:
        """How long what is left takes one after the other; None if no record can tell of any of it."""
        known = [run.seconds for run in self.runs if run.is_to_be_done and run.seconds is not None]
        left = len(self.to_do)
        return sum(known) * left / len(known) if known else None


def survey(store: Store, jobs: Sequence[Job], *, retry_failed: bool) -> Survey:
    """Look up every run in the store."""
    states = {job.name: status_of(store.folder, job.name) for job in jobs}
    records = _records(store)
    device = "cuda" if any(job.gpus for job in jobs) else "cpu"
    # A machine that only submits may have no accelerator; then nothing tells on what kind the runs will be.
    here = environment(torch.device(device), "") if device == "cpu" or gpus_here() else None
    runs: list[Planned] = []
    for job in jobs:
        status = states[job.name]
        state = None if status is None else status.state
        is_final = store.find(job.name) is not None or (state == "failed" and not retry_failed)
        plain = job.config.model_dump(mode="json")
        seconds = None if is_final or here is None else seconds_of(plain, records, here)
        runs.append(Planned(job, state, not is_final, seconds))
    return Survey(tuple(runs))


def _records(store: Store) -> list[RunRecord]:
    folders = store.folder.iterdir() if store.folder.is_dir() else ()
    names = [folder.name for folder in folders if not folder.name.startswith(".")]
    return [record for name in names if (record := store.find(name)) is not None]
