"""What moves no number of a run: data workers, a new process, a break; and what fails instead of being wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from conftest import Noise, resolved

from petl_bench.data.base import Batch
from petl_bench.engine.batches import Order, batches
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import choose_device, make_accelerator
from petl_bench.engine.frozen import frozen_digests, require_counted, require_unmoved
from petl_bench.engine.train import Loop, train
from petl_bench.engine.trivial import trivial_values
from petl_bench.errors import UsageError
from petl_bench.files import cache_folder

TASKS = ("semseg", "saliency", "normals")


def drawn(workers: int, **settings: object) -> list[Batch]:
    config = resolved("vmt", runtime={"workers": workers}, train={"steps": 7, "batch_size": 4, **settings})
    return list(batches(Noise(config.dataset, "train", TASKS), config))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_are_the_same_with_any_number_of_workers(workers: int) -> None:
    for one, other in zip(drawn(0), drawn(workers), strict=True):
        assert torch.equal(one.images, other.images)
        assert all(torch.equal(one.labels[task], other.labels[task]) for task in TASKS)


def trained(workers: int) -> list[list[float]]:
    config = resolved("vmt", runtime={"workers": workers}, train={"steps": 5, "batch_size": 4})
    values: list[list[float]] = []
    data = Noise(config.dataset, "train", TASKS)
    train(build(config), task_specs(config), data, config, Accelerator(cpu=True), lambda at: values.append([at.loss]))
    return values


def test_a_training_is_the_same_with_workers_and_in_a_new_process(one_thread) -> None:
    expected = trained(0)
    assert trained(2) == expected
    code = (
        "import json, torch; torch.set_num_threads(1); from test_what_moves_no_number import trained; "
        "print(json.dumps(trained(1)))"
    )
    folders = [str(Path(__file__).parent), str(Path(__file__).parents[1]), *sys.path]
    started = f"import sys; sys.path[:0] = {folders!r}; {code}"
    done = subprocess.run([sys.executable, "-c", started], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == expected


def test_a_batch_larger_than_the_split_goes_through_several_permutations() -> None:
    config = resolved("vmt", train={"steps": 3, "batch_size": 10})
    order = [one for batch in Order(4, config) for one in batch]
    epochs = [[one.index for one in order if one.epoch == epoch] for epoch in range(7)]
    assert all(sorted(epoch) == [0, 1, 2, 3] for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert [one.epoch for one in order[:10]] == [0] * 4 + [1] * 4 + [2] * 2


@pytest.mark.parametrize("balancer", ["fixed", "uncertainty", "dwa", "famo"])
def test_a_loop_goes_on_from_its_state_bit_for_bit(balancer: str) -> None:
    settings = {"name": balancer, **({"period": 1} if balancer == "dwa" else {})}
    config = resolved("vmt", train={"steps": 6, "batch_size": 4, "balancer": settings})
    data, specs = Noise(config.dataset, "train", TASKS), task_specs(config)

    def loop() -> Loop:
        return Loop(build(config), specs, config, Accelerator(cpu=True))

    whole, first = loop(), loop()
    for batch in batches(data, config):
        whole.take(batch)
    for _, batch in zip(range(3), batches(data, config), strict=False):
        first.take(batch)
    second = loop()
    second.load_state_dict(first.state_dict())
    for batch in batches(data, config, start=3):
        second.take(batch)
    for name, tensor in whole.model.trained_state().items():
        assert torch.equal(tensor, second.model.trained_state()[name]), name
    assert whole.history == second.history


def test_a_frozen_weight_that_moves_is_an_error_with_the_methods_name() -> None:
    model = build(resolved("vmt"))
    before = frozen_digests(model)
    require_unmoved(model.method, before, frozen_digests(model))
    with torch.no_grad():
        next(model.method.backbone.parameters()).view(-1)[0] += 1e-7
    with pytest.raises(RuntimeError, match=r"'vmt' moved weights that it holds frozen.*1 of"):
        require_unmoved(model.method, before, frozen_digests(model))


def test_a_miscount_is_an_error_with_both_counts() -> None:
    method = build(resolved("vmt")).method
    require_counted(method)
    next(method.backbone.parameters()).requires_grad_(True)
    with pytest.raises(RuntimeError, match=r"'vmt' trains [\d,]+ shared parameters, its closed form says"):
        require_counted(method)


def test_fp16_on_a_cpu_is_refused_because_it_would_train_in_float32() -> None:
    config = resolved("vmt", train={"precision": "fp16"}, runtime={"device": "cpu"})
    with pytest.raises(UsageError, match=r"train.precision = fp16 needs an accelerator[\s\S]*precision=bf16"):
        make_accelerator(config)


@pytest.mark.parametrize("device", ["meta", "cuda:7", "nonsense"])
def test_a_device_that_cannot_compute_is_refused(device: str) -> None:
    with pytest.raises(UsageError, match=f"--device {device}[\\s\\S]*--device cpu"):
        choose_device(device)


def test_one_process_runs_several_precisions() -> None:
    for precision in ("no", "bf16", "no"):
        accelerator = make_accelerator(resolved("vmt", train={"precision": precision}, runtime={"device": "cpu"}))
        assert accelerator.mixed_precision == precision
        assert accelerator.device.type == "cpu"


def test_the_trivial_predictor_is_scored_once_and_again_where_its_file_is_damaged(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path))
    config = resolved("vmt")
    opened: list[str] = []

    def split(name: str) -> Noise:
        opened.append(name)
        return Noise(config.dataset, name, TASKS)

    def values() -> dict[str, float]:
        return trivial_values("normals", task_specs(config)["normals"], config, "noise", split, batch_size=5)

    first = values()
    assert opened == ["train", "test"]
    assert values() == first
    assert opened == ["train", "test"]
    (kept,) = (cache_folder() / "trivial").iterdir()
    kept.write_text(kept.read_text().replace("mean_angular_error", "mean_angular_errer"))
    assert values() == first
    kept.write_text(kept.read_text().replace('"median": ', '"median": 1'))
    assert values() == first
    assert len(opened) == 6
