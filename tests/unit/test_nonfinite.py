"""A number that is none: named by step, task and module, or left out and counted."""

from pathlib import Path

import pytest
import torch
from conftest import Noise, resolved
from test_resume import assert_same, smoke

from petl_bench.data.base import Batch
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.nonfinite import NonFiniteError
from petl_bench.engine.run import run
from petl_bench.engine.train import Loop
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store


def loop_and_batch(**sections: object) -> tuple[Loop, Batch]:
    config = resolved("vmt", runtime={"device": "cpu"}, **sections)
    loop = Loop(build(config), task_specs(config), config, make_accelerator(config))
    return loop, Noise(config.dataset, "train", config.tasks).batch(range(4))


def broken(batch: Batch) -> Batch:
    images = batch.images.clone()
    images[0, 0, 0, 0] = torch.nan
    return Batch(images, batch.labels)


def test_a_bad_image_is_found_in_the_first_module_that_reads_it() -> None:
    loop, batch = loop_and_batch()
    loop.take(batch)
    with pytest.raises(NonFiniteError, match=r"at step 2 .*the module `method\.backbone\.trunk\.patch_embed\.proj`"):
        loop.take(broken(batch))


def test_bad_labels_are_found_in_their_task() -> None:
    loop, batch = loop_and_batch()
    labels = {**batch.labels, "normals": torch.full_like(batch.labels["normals"], 3e38)}
    with pytest.raises(NonFiniteError, match=r"The loss of normals is not finite at step 1 .*the loss itself is not"):
        loop.take(Batch(batch.images, labels))


def test_weights_that_an_update_broke_are_named() -> None:
    loop, batch = loop_and_batch()
    name, parameter = next((n, p) for n, p in loop.model.named_parameters() if p.requires_grad)
    with torch.no_grad():
        parameter.view(-1)[0] = torch.inf
    with pytest.raises(NonFiniteError, match=f"The weights of `{name}` are not finite: the step before"):
        loop.take(batch)


def test_a_gradient_that_is_no_number_is_named_and_moves_nothing() -> None:
    loop, batch = loop_and_batch()
    name, parameter = next((n, p) for n, p in loop.model.named_parameters() if p.requires_grad)
    parameter.register_hook(lambda gradient: torch.full_like(gradient, torch.nan))
    before = {key: value.clone() for key, value in loop.model.trained_state().items() if "running" not in key}
    with pytest.raises(NonFiniteError, match=f"A gradient is not finite at step 1 .*is that of `{name}`"):
        loop.take(batch)
    after = loop.model.trained_state()
    assert all(torch.equal(value, after[key]) for key, value in before.items() if "num_batches" not in key)


@pytest.mark.parametrize("balancer", ["fixed", "dwa", "famo"])
def test_a_step_that_is_left_out_leaves_nothing_behind_but_a_count(balancer: str) -> None:
    loop, batch = loop_and_batch(train={"on_nonfinite": "skip", "balancer": {"name": balancer}})
    loop.take(batch)
    before = loop.state_dict()
    loop.take(broken(batch))
    after = loop.state_dict()
    assert (loop.step, loop.skipped) == (2, 1)
    assert all(torch.equal(value, after["trained"][name]) for name, value in before["trained"].items())
    assert str(before["balancer"]) == str(after["balancer"])
    total, _ = loop.take(batch)
    assert total == total
    assert [point.step for point in loop.history] == [1, 3]


def test_a_failed_run_names_the_last_good_state_and_it_is_good(tmp_path: Path) -> None:
    rates = {"method": 1e30, "decoder": 1e30}
    config = smoke(train={"learning_rate": rates}, runtime={"checkpoint_steps": 1})
    record = run(config, Store(tmp_path)).record
    assert record.status == "failed"
    assert record.error is not None
    assert "is not finite at step 2" in record.error
    assert "On disk is the state after step 1: " in record.error or "No state is on disk yet" in record.error
    assert "--set train.on_nonfinite=skip" in record.error


def test_a_run_without_such_steps_is_the_same_whether_they_would_be_left_out(tmp_path: Path) -> None:
    made: list[RunRecord] = []
    for name in ("stop", "skip"):
        config = smoke(train={"on_nonfinite": name})
        made.append(run(config, Store(tmp_path / name)).record)
    stop, skip = made
    assert (stop.metrics, stop.history) == (skip.metrics, skip.history)
    assert stop.fingerprint != skip.fingerprint
    assert_same(tmp_path / "stop", tmp_path / "stop", stop, stop)
