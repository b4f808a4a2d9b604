"""Schedules in epochs, how rates fall, and batches that are passed through in parts."""

import math
from pathlib import Path

import pytest
import torch
from conftest import Noise, resolved
from torch import nn
from trees import write_folder

from petl_bench.config import TrainConfig
from petl_bench.data.base import DATASETS
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.optimise import optimiser, schedule
from petl_bench.engine.run import run
from petl_bench.engine.train import Loop
from petl_bench.errors import UsageError
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store


def test_epochs_decide_the_steps_of_the_folder_at_hand(tmp_path: Path) -> None:
    root = str(write_folder(tmp_path, images=14))  # 7 to train on
    asked = {"dataset": {"name": "folder"}, "runtime": {"root": root}}
    run = resolved("decoders", ("semseg",), **asked, train={"epochs": 5, "batch_size": 3, "steps": 10})
    assert (run.train.epochs, run.train.steps) == (5, 10)  # two whole batches an epoch
    with pytest.raises(UsageError, match=r"epochs = 5 means 10 steps .7 images, batches of 3., and train.steps = 11"):
        resolved("decoders", ("semseg",), **asked, train={"epochs": 5, "batch_size": 3, "steps": 11})


def test_without_a_folder_the_published_number_of_images_counts() -> None:
    settings = {"name": "pascal-context", "train_images": 4998}
    run = resolved("decoders", ("semseg",), dataset=settings, train={"epochs": 300, "batch_size": 32, "steps": 46800})
    assert run.train.steps == 300 * (4998 // 32)


def rates(**settings: object) -> list[float]:
    config = TrainConfig(steps=100, batch_size=1, **settings)  # pyright: ignore[reportArgumentType]
    made = torch.optim.AdamW([nn.Parameter(torch.zeros(1))], lr=1.0)
    falling = schedule(made, config)
    seen = []
    for _ in range(100):
        seen.append(made.param_groups[0]["lr"])
        made.step()
        falling.step()
    return seen


def test_rates_fall_as_the_schedule_says() -> None:
    poly = rates(schedule="poly", warmup_fraction=0)
    assert poly == pytest.approx([(1 - step / 100) ** 0.9 for step in range(100)])
    cosine = rates(warmup_fraction=0.1)
    assert cosine[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert cosine[55] == pytest.approx(0.5 * (1 + math.cos(math.pi * 45 / 90)))


def test_adam_decays_weights_in_the_gradient() -> None:
    model = build(resolved("full", ("semseg",), train={"optimizer": "adam", "weight_decay": 0.1}))
    config = TrainConfig(steps=1, batch_size=1, optimizer="adam")
    assert type(optimiser(model, config)) is torch.optim.Adam
    assert type(optimiser(model, TrainConfig(steps=1, batch_size=1))) is torch.optim.AdamW


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS._classes, "noise", Noise)


@pytest.mark.usefixtures("noise", "one_thread")
@pytest.mark.parametrize("parts", [2, 3, 8])
def test_a_batch_in_parts_is_the_same_step(parts: int) -> None:
    """The linear decoder has no batch norm; saliency's loss weighs by the positives of the whole batch."""

    def trained(accumulation: int) -> dict[str, torch.Tensor]:
        run = resolved(
            "full",
            dataset={"name": "noise"},
            decoder={"name": "linear"},
            train={"accumulation": accumulation, "batch_size": 6, "steps": 3, "learning_rate": {"backbone": 1e-3}},
        )
        model = build(run)
        loop = Loop(model, task_specs(run), run, make_accelerator(run))
        dataset = Noise(run.dataset, "train", run.tasks)
        batch = dataset.batch(range(6))
        batch.labels["semseg"][:2] = 255  # parts with unlike numbers of valid pixels
        seen = [loop.take(batch) for _ in range(1)]
        assert all(math.isfinite(total) for total, _ in seen)
        return {
            name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
        } | {"losses": torch.tensor([*seen[0][1].values()])}

    whole, cut = trained(1), trained(parts)
    assert whole.keys() == cut.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(cut[name], gradient, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.usefixtures("noise")
def test_balancers_that_read_whole_batches_refuse_parts() -> None:
    run = resolved("full", dataset={"name": "noise"}, train={"accumulation": 2, "balancer": {"name": "uncertainty"}})
    with pytest.raises(UsageError, match="cuts into parts"):
        Loop(build(run), task_specs(run), run, make_accelerator(run))


@pytest.mark.usefixtures("noise", "one_thread")
def test_looking_at_images_set_apart_changes_no_number(tmp_path: Path) -> None:
    def recorded(**train: object) -> RunRecord:
        settings = {"steps": 7, "batch_size": 4, **train}  # 12 images: 3 steps an epoch
        store = Store(tmp_path / f"runs{len(train)}")
        return run(resolved("lora", dataset={"name": "noise"}, train=settings), store).record

    plain, watched = recorded(), recorded(validate_epochs=1)
    assert [point.step for point in watched.validation] == [3, 6]
    assert plain.validation == ()
    assert watched.history == plain.history
    assert watched.metrics == plain.metrics
    assert set(watched.validation[0].metrics) == {"semseg", "saliency", "normals"}
    apart = [point.metrics["semseg"]["miou"] for point in watched.validation]
    assert all(0 <= value <= 100 for value in apart)
    assert watched.metrics["semseg"].score not in apart  # other images


@pytest.mark.usefixtures("noise")
def test_what_was_seen_so_far_is_part_of_the_state_of_a_training() -> None:
    config = resolved("lora", dataset={"name": "noise"})
    loop = Loop(build(config), task_specs(config), config, make_accelerator(config))
    loop.validate(lambda: {"semseg": {"miou": 12.5}})
    assert loop.model.training
    loop.validate(lambda: {} if loop.model.for_inference().training else {"semseg": {"miou": 13.0}})
    assert all(module.training for module in loop.model.modules())
    again = Loop(build(config), task_specs(config), config, make_accelerator(config))
    again.load_state_dict(loop.state_dict())
    assert again.validation == loop.validation
