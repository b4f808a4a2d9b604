"""Runs on a Ray cluster: one task a run, in a process of its own. The store must lie where every node reaches it.

Ray Core alone. What it is told about retries: a worker or a node that dies, ``retries`` times; a worker that is killed
for memory, as often (on a cluster that we start; else as its own settings say); an error of the run never, it is a
record. A run that is begun again takes over the claim of the one that died, and goes on from its last state.
"""

import os
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

from petl_bench.errors import UsageError
from petl_bench.records.status import log_path
from petl_bench.records.store import Store
from petl_bench.sweep.failure import record_failure
from petl_bench.sweep.job import Job
from petl_bench.sweep.local import last_line
from petl_bench.sweep.show import Show
from petl_bench.sweep.work import main as work

POLL_SECONDS = 0.5


def connect(cores: int, retries: int) -> Any:
    """Join the cluster that ``RAY_ADDRESS`` or this machine has, or else start one here.

    Raises:
        UsageError: Ray is not installed.
    """
    try:
        ray = import_module("ray")
    except ImportError:
        raise UsageError("Ray is not installed.\nType: pip install 'petl-bench[ray]'") from None
    os.environ.setdefault("RAY_task_oom_retries", str(retries))
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    if not ray.is_initialized():
        try:
            ray.init(address="auto", log_to_driver=False)
        except ConnectionError:
            ray.init(num_cpus=cores, include_dashboard=False, log_to_driver=False)
    return ray


def largest_node(ray: Any) -> tuple[int, int]:
    """Return the cores and accelerators of the node that has most."""
    nodes: list[Mapping[str, float]] = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return tuple(int(max((node.get(kind, 0) for node in nodes), default=0)) for kind in ("CPU", "GPU"))  # pyright: ignore[reportReturnType]


def run_on_ray(
    ray: Any, store: Store, jobs: Sequence[Job], show: Show, *, at_once: int | None, retries: int
) -> dict[str, bool]:
    """Do all the runs, and go on when one fails.

    Args:
        ray: The module, connected to a cluster.
        store: Where they are planned, on a file system that all nodes share.
        jobs: The runs.
        show: Told what happens.
        at_once: So many tasks at a time at most; None: as the cluster's resources allow.
        retries: How often a run is begun again whose process or node died.

    Returns:
        Whether each is finished, by name.
    """
    task = ray.remote(max_calls=1, max_retries=retries, retry_exceptions=False)(_claim_and_run)
    folder = store.folder.resolve()
    waiting, finished = list(jobs), dict[str, bool]()
    running: dict[Any, tuple[Job, float]] = {}
    while waiting or running:
        while waiting and (at_once is None or len(running) < at_once):
            job = waiting.pop(0)
            resources = {"num_cpus": job.cores, "num_gpus": job.gpus, "name": job.name}
            running[task.options(**resources).remote(str(folder), job.name)] = (job, time.monotonic())
            show.began(job, log_path(folder, job.name))
        done, _ = ray.wait(list(running), num_returns=1, timeout=POLL_SECONDS)
        for reference in done:
            job, began = running.pop(reference)
            finished[job.name] = _judged(ray, reference, store, job)
            log = log_path(folder, job.name)
            how = "done" if finished[job.name] else f"failed, see {log}"
            show.ended(job, how, time.monotonic() - began)
        logs = {job.name: log_path(folder, job.name) for job, _ in running.values()}
        show.at({name: last_line(log) for name, log in logs.items() if log.is_file()})
    return finished


def _judged(ray: Any, reference: Any, store: Store, job: Job) -> bool:
    """Return whether a task finished its run; what left no record gets one."""
    try:
        code = ray.get(reference)
        why = f"Its process ended with exit status {code} and left no record."
    except ray.exceptions.RayError as error:
        code, why = 2, f"{type(error).__name__}: {error}"
    if code not in (0, 1):
        record_failure(store, job, why, log_path(store.folder, job.name))
    return code == 0


def _claim_and_run(store: str, name: str) -> int:
    """Do one run in a worker of Ray's, with its own log."""
    log = log_path(Path(store), name)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
        print(f"--- {time.strftime('%FT%T')} a task of Ray's", flush=True)
        return work([store, name])
