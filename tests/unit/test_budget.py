"""What runs are given of a machine, and how long they will take."""

import pytest
from conftest import resolved
from test_store import record

from petl_bench.errors import UsageError
from petl_bench.records.run import Seconds
from petl_bench.sweep.estimate import seconds_of
from petl_bench.sweep.job import jobs_of
from petl_bench.sweep.machine import Budget, gpus_here


def test_a_budget_lends_what_is_there_and_takes_it_back() -> None:
    budget = Budget(cores=3, gpus=["2", "5"], places=9)
    assert budget.take("a", 2, 1) == ["2"]
    assert budget.take("b", 2, 1) is None
    assert budget.take("c", 1, 1) == ["5"]
    assert budget.take("d", 0, 1) is None
    budget.give_back("a")
    assert (budget.cores, budget.gpus) == (2, ["2"])
    assert Budget(cores=3, gpus=[], places=0).take("a", 1, 0) is None


def test_devices_are_those_that_the_process_may_see(monkeypatch: pytest.MonkeyPatch) -> None:
    for visible, devices in (("2,5", ["2", "5"]), ("", []), ("-1", [])):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert gpus_here() == devices


def test_runs_are_given_the_threads_they_ask_for_or_a_share() -> None:
    one, two = resolved("vmt"), resolved("vmt", seed=1, runtime={"threads": 3})
    assert [job.cores for job in jobs_of([one, two, one], cores=8, gpus=0)] == [4, 3]
    assert [job.cores for job in jobs_of([one, two], cores=8, gpus=0, jobs=4)] == [2, 3]
    assert [job.gpus for job in jobs_of([one], cores=8, gpus=1)] == [1]
    with pytest.raises(UsageError, match="needs 3 cores and 0 GPUs, this machine has 2"):
        jobs_of([two], cores=2, gpus=0)
    with pytest.raises(UsageError, match="needs 4 cores and 1 GPUs, this machine has 8 and 0"):
        jobs_of([resolved("vmt", runtime={"device": "cuda"})], cores=8, gpus=0)


def test_time_is_told_by_the_records_that_are_most_alike_on_such_a_machine() -> None:
    config = resolved("vmt").model_dump(mode="json")
    config["train"].update(steps=100)
    here = record().environment

    def ran(seconds: float, steps: int, **changes: object):
        settings = {**config, "train": {**config["train"], "steps": steps}}
        return record(config=settings, seconds=Seconds(train=seconds), **changes)

    other_method = {**config, "method": {"name": "lora"}}
    elsewhere = here.model_copy(update={"device_name": "another"})
    records = [
        ran(10, 50),
        ran(40, 100),
        ran(9, 30),
        record(config=other_method, seconds=Seconds(train=1000)),
        ran(1000, 100, environment=elsewhere),
        ran(1000, 100, status="failed"),
    ]
    assert seconds_of(config, records, here) == pytest.approx(30)  # the median of 20, 40 and 30 for 100 steps
    assert seconds_of(other_method, records[:3], here) == pytest.approx(30)
    assert seconds_of(config, records[4:], here) is None
