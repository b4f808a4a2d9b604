"""Runs on a real Ray of two nodes on this machine, one of which is killed in the middle."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from petl_bench import plan, plugins
from petl_bench.config import RunConfig, merge
from petl_bench.records.claims import look
from petl_bench.records.store import Store
from petl_bench.records.working import CHECKPOINT, header_of
from petl_bench.sweep.job import Job, jobs_of, plan_into
from petl_bench.sweep.ray import largest_node, run_on_ray

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def smoke(**sections: object) -> RunConfig:
    settings = {
        "method": {"name": "decoders"},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32},
        "decoder": {"name": "segformer", "width": 16},
        "train": {"steps": 150},
        "budget": "smoke",
        "tasks": 1,
        "runtime": {"device": "cpu", "threads": 1, "checkpoint_steps": 1},
    }
    return plan.plan(merge(settings, sections), plugins.vocabulary)


@pytest.fixture(scope="module")
def ray() -> Any:
    try:
        import ray
        import ray.cluster_utils
    except ImportError:
        pytest.fail("Ray is not installed. Type: pip install -e '.[dev,ray,slurm]'")
    return ray


@pytest.fixture
def cluster(ray: Any) -> Iterator[Any]:
    nodes = ray.cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False)
    yield nodes
    ray.shutdown()
    nodes.shutdown()


class KillingANode:
    """Watches the sweep, and kills the second node as soon as two runs have states on disk."""

    def __init__(self, cluster: Any, store: Store) -> None:
        self.cluster, self.store, self.killed_at = cluster, store, 0.0
        self.ends: list[str] = []

    def began(self, job: Job, log: Path) -> None:
        pass

    def ended(self, job: Job, how: str, seconds: float) -> None:
        self.ends.append(how)

    def at(self, lines: dict[str, str]) -> None:
        if (
            not self.killed_at
            and sum(header_of(self.store.working(name) / CHECKPOINT) is not None for name in lines) > 1
        ):
            self.killed_at = time.monotonic()
            (node,) = self.cluster.worker_nodes
            self.cluster.remove_node(node, allow_graceful=False)


def test_a_node_that_is_killed_costs_no_run_and_a_run_that_fails_is_not_repeated(
    ray: Any, cluster: Any, tmp_path: Path
) -> None:
    store = Store(tmp_path / "runs")
    configs = [smoke(seed=seed) for seed in range(3)]
    configs.append(smoke(seed=3, train={"learning_rate": {"decoder": 1e30}}))
    assert largest_node(ray) == (1, 0)
    jobs = jobs_of(configs, cores=1, gpus=0, jobs=None)
    for job in jobs:
        plan_into(store, job)
    show = KillingANode(cluster, store)
    done = run_on_ray(ray, store, jobs, show, at_once=None, retries=3)
    assert show.killed_at, "no node was killed, so nothing was tested"
    assert [done[job.name] for job in jobs] == [True, True, True, False]
    assert len(show.ends) == 4
    records = [store.find(job.name) for job in jobs]
    assert [record is not None for record in records] == [True, True, True, False]
    resumed = [record.resumed_at for record in records if record is not None]
    assert any(resumed), "the run of the killed node began again at step 0"
    assert [look(store.working(job.name)) for job in jobs] == [None] * 4
    failed = (tmp_path / "runs" / "logs" / f"{jobs[3].name}.log").read_text()
    assert failed.count("not finite") >= 1
    assert failed.count("--- ") == 1, "an error of the run is a record, not a reason to repeat it"
