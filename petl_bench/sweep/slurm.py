"""Runs under Slurm, submitted by submitit: a job does several runs side by side, each in a process of its own.

A job that is about to time out, or is preempted, has its runs save their states and is queued again; they go on from
there. Nothing is read from submitit's results: the store says what is done, and `petl-bench status` what is at work.
The store, the cache and the package must lie where the nodes reach them. What submitit pickles for its jobs lies in
``logs/slurm`` of the store: as with every pickle, let nobody write there whom you would not let run programs.
"""

import shutil
import subprocess
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from petl_bench.errors import UsageError
from petl_bench.launch import Launch
from petl_bench.records.status import LOGS
from petl_bench.records.store import Store
from petl_bench.sweep.job import Job, planned
from petl_bench.sweep.local import Local
from petl_bench.sweep.machine import Budget, gpus_here
from petl_bench.sweep.pin import code_digest, require_code
from petl_bench.sweep.show import Printed

SIGNAL_SECONDS = 120  # before the end of a job: Slurm may send its signal a minute early or late
ARRAY_SIZE = 1001  # Slurm's default
POLL_SECONDS = 0.5


class Pack:
    """The runs of one job: what submitit calls on the node, again after every time-out.

    Args:
        store: The folder.
        jobs: The runs, and what they are given of the node.
        digest: Of the code that was submitted.
    """

    def __init__(self, store: str, jobs: Sequence[Job], digest: str) -> None:
        self.store, self.digest = store, digest
        self.runs = [(job.name, job.cores, job.gpus) for job in jobs]
        self._local: Local | None = None

    def __call__(self) -> None:
        """Do the runs; what fails is a record, and no failure of the job.

        Raises:
            UsageError: The code changed since.
        """
        require_code(self.digest)
        store = Store(Path(self.store))
        configs = [(run, planned(store, run[0])) for run in self.runs]
        jobs = [Job(name, config, cores, gpus) for (name, cores, gpus), config in configs if config is not None]
        budget = Budget(sum(job.cores for job in jobs), gpus_here(), len(jobs))
        self._local = Local(store, jobs, budget, Printed())
        self._local.run()

    def checkpoint(self) -> Any:
        """Have every run save its state, and return what is to be queued again."""
        if self._local is not None:
            self._local.end()
        self._local = None
        return import_module("submitit.helpers").DelayedSubmission(self)


def submit(store: Store, jobs: Sequence[Job], launch: Launch, *, at_once: int | None) -> list[str]:
    """Submit all the runs and return the identifiers of the jobs, which do not need this process any more.

    Args:
        store: Where they are planned.
        jobs: The runs.
        launch: What the cluster is asked for.
        at_once: So many jobs at a time at most.

    Raises:
        UsageError: submitit or Slurm is not here, or refuses what it is asked for.
    """
    if launch.executor == "slurm" and shutil.which("sbatch") is None:
        raise UsageError(
            "There is no sbatch here: submit from a machine of the cluster.\n"
            "Type: petl-bench sweep ... --launcher local"
        )
    identifiers: list[str] = []
    for cores, gpus, packs in _packs(store, jobs, launch):
        executor = _executor(store, launch, cores, gpus, at_once)
        if launch.executor == "local":
            identifiers += _limited(executor, packs, at_once or 1)
            continue
        size = _array_size()
        for start in range(0, len(packs), size):
            with executor.batch():
                made = [executor.submit(pack) for pack in packs[start : start + size]]
            identifiers += [job.job_id for job in made]
    return identifiers


def _packs(store: Store, jobs: Sequence[Job], launch: Launch) -> list[tuple[int, int, list[Pack]]]:
    """Divide runs into jobs of runs with the same needs; return the cores and accelerators of a job with its packs."""
    digest, folder = code_digest(), str(store.folder.resolve())
    kinds: dict[tuple[int, int], list[Job]] = {}
    for job in jobs:
        kinds.setdefault((job.cores, job.gpus), []).append(job)
    divided: list[tuple[int, int, list[Pack]]] = []
    for (cores, gpus), alike in kinds.items():
        size = min(launch.runs_per_job, len(alike))
        packs = [Pack(folder, alike[start : start + size], digest) for start in range(0, len(alike), size)]
        divided.append((cores * size, gpus * size, packs))
    return divided


def _executor(store: Store, launch: Launch, cores: int, gpus: int, at_once: int | None) -> Any:
    try:
        submitit = import_module("submitit")
    except ImportError:
        raise UsageError("submitit is not installed.\nType: pip install 'petl-bench[slurm]'") from None
    folder = (store.folder / LOGS / "slurm").resolve()
    executor = submitit.AutoExecutor(
        folder=folder, cluster=launch.executor, **{f"{launch.executor}_max_num_timeout": launch.retries}
    )
    own = {f"slurm_{key}": value for key, value in launch.slurm.items()}
    asked = {"timeout_min": launch.minutes, "cpus_per_task": cores, "name": "petl-bench", **own}
    if gpus:
        asked["gpus_per_node"] = gpus
    asked.setdefault("slurm_signal_delay_s", min(SIGNAL_SECONDS, launch.minutes * 30))
    if at_once is not None:
        asked["slurm_array_parallelism"] = at_once
    try:
        executor.update_parameters(**asked)
    except (ValueError, NameError, TypeError) as error:
        raise UsageError(f"[launch] slurm: {error}") from None
    return executor


def _array_size() -> int:
    """Return how many jobs the site allows in one array."""
    try:
        told = subprocess.run(["scontrol", "show", "config"], capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ARRAY_SIZE
    lines = (line.split("=") for line in told.stdout.splitlines() if line.startswith("MaxArraySize"))
    return max(1, next((int(value) for _, value in lines), ARRAY_SIZE))


def _limited(executor: Any, packs: Sequence[Pack], at_once: int) -> list[str]:
    """Submit to submitit's local executor, which itself begins everything at once, and wait."""
    waiting, running, identifiers = list(packs), list[Any](), list[str]()
    while waiting or running:
        running = [job for job in running if not job.done()]
        while waiting and len(running) < at_once:
            running.append(executor.submit(waiting.pop(0)))
            identifiers.append(running[-1].job_id)
        time.sleep(POLL_SECONDS)
    return identifiers
