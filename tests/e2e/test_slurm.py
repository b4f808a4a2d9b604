"""Runs in jobs of submitit's, on its local executor and on a real Slurm."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, merge
from petl_bench.errors import UsageError
from petl_bench.launch import Launch
from petl_bench.records.store import Store
from petl_bench.records.working import CHECKPOINT, header_of
from petl_bench.sweep.job import Job, jobs_of, plan_into
from petl_bench.sweep.slurm import Pack, _array_size, submit

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.usefixtures("submitit")]
LONG = 1200  # steps, of which a job has time for half or so


@pytest.fixture(scope="module")
def submitit() -> None:
    if find_spec("submitit") is None:
        pytest.fail("submitit is not installed. Type: pip install -e '.[dev,ray,slurm]'")


@pytest.fixture
def slurm() -> None:
    if shutil.which("sbatch") is None:
        pytest.fail("Slurm is not installed: slurmctld, slurmd and munge of the distribution, running on one node.")


def smoke(**sections: object) -> RunConfig:
    settings = {
        "method": {"name": "decoders"},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32},
        "decoder": {"name": "segformer", "width": 16},
        "train": {"steps": 400},
        "budget": "smoke",
        "tasks": 1,
        "runtime": {"device": "cpu", "threads": 1, "checkpoint_steps": 1},
    }
    return plan.plan(merge(settings, sections), plugins.vocabulary)


def planned(store: Store, *configs: RunConfig) -> tuple[Job, ...]:
    jobs = jobs_of(configs, cores=2, gpus=0)
    for job in jobs:
        plan_into(store, job)
    return jobs


def until(holds: Callable[[], bool], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)


def has_state(store: Store, job: Job) -> bool:
    return header_of(store.working(job.name) / CHECKPOINT) is not None


def test_a_job_that_times_out_on_the_local_executor_is_queued_again_and_goes_on(tmp_path: Path) -> None:
    """The signal is that of a time-out; it is sent as soon as a state is on disk."""
    store = Store(tmp_path / "runs")
    jobs = planned(store, smoke(), smoke(seed=1))
    interrupting = subprocess.Popen([sys.executable, "-c", INTERRUPT, str(store.folder), str(signal.SIGUSR2.value)])
    identifiers = submit(store, jobs, Launch(executor="local", runs_per_job=2), at_once=1)
    assert interrupting.wait() == 0, "no job was interrupted, so nothing was tested"
    assert len(identifiers) == 1
    resumed = [record.resumed_at for job in jobs if (record := store.find(job.name)) is not None]
    assert len(resumed) == 2
    assert any(resumed)


INTERRUPT = """
import os, sys, time
from pathlib import Path
store, number = Path(sys.argv[1]), int(sys.argv[2])
end = time.monotonic() + 200
while not list(store.glob(".*/checkpoint.safetensors")):
    assert time.monotonic() < end
    time.sleep(0.05)
for process in Path("/proc").iterdir():
    try:
        words = (process / "cmdline").read_bytes().split(b"\\0") if process.name.isdigit() else []
    except OSError:
        continue
    if b"submitit.core._submit" in words and str(store).encode() in b" ".join(words):
        os.kill(int(process.name), number)
"""


def test_code_that_changed_in_the_queue_is_refused(tmp_path: Path) -> None:
    store = Store(tmp_path / "runs")
    jobs = planned(store, smoke())
    with pytest.raises(UsageError, match="changed between submission and start"):
        Pack(str(store.folder), jobs, "another digest")()
    assert store.find(jobs[0].name) is None


@pytest.mark.usefixtures("slurm")
def test_jobs_of_a_real_slurm_are_packed_split_timed_out_and_finished(tmp_path: Path) -> None:
    """Runs in packs of two, arrays no larger than the site allows, and one run that is longer than its job may take."""
    store = Store(tmp_path / "runs")
    jobs = planned(store, smoke(train={"steps": LONG}), *(smoke(seed=seed) for seed in range(1, 8)))
    launch = Launch(runs_per_job=2, minutes=2, retries=10, slurm={"signal_delay_s": 45})
    identifiers = submit(store, jobs, launch, at_once=None)
    assert len(identifiers) == 4
    assert len({identifier.partition("_")[0] for identifier in identifiers}) == -(-4 // _array_size())
    until(lambda: all(store.find(job.name) is not None for job in jobs), 1200)
    long = store.find(jobs[0].name)
    assert long is not None
    assert long.resumed_at, "the long run was never timed out, so nothing was tested"
    assert [point.step for point in long.history][-1] == LONG
