"""The ten further tasks of scenes: losses and metrics by hand and by torchmetrics, drawing, the trivial predictor."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchmetrics.classification import BinaryRecall, BinarySpecificity, MulticlassJaccardIndex
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError

import petl_bench
from petl_bench.data.geometry import REAL_WITHOUT_TRUTH
from petl_bench.data.scenes import FURTHER, PART_NAMES, SEMSEG_CLASSES, SUBSTANCES
from petl_bench.data.scenes.dataset import Scenes
from petl_bench.tasks import (
    albedo,
    boundary_distance,
    centres,
    curvature,
    height,
    layout,
    material,
    orientation,
    shading,
    shadow,
)
from petl_bench.tasks.base import TASKS, TaskSpec

MODULES = (albedo, boundary_distance, centres, curvature, height, layout, material, orientation, shading, shadow)
REGRESSIONS = ("shading", "boundary_distance", "centres", "height", "albedo")
CLASSES = ("material", "orientation", "curvature", "layout")


def task_of(name: str) -> TaskSpec:
    return TASKS[name](Scenes.tasks[name])


def case(name: str, seed: int = 0, images: int = 4) -> tuple[Tensor, Tensor]:
    """Return predictions and labels; some pixels, and all of the last image, have no truth."""
    generator = torch.Generator().manual_seed(seed)
    channels = Scenes.tasks[name]
    prediction = torch.randn(images, channels, 6, 7, generator=generator)
    missing = torch.rand(images, 6, 7, generator=generator) < 0.2
    missing[-1] = True
    if name in REGRESSIONS:
        shape = (images, 3, 6, 7) if name == "albedo" else (images, 6, 7)
        label = 0.1 + torch.rand(shape, generator=generator)
        where = missing.unsqueeze(1) if name == "albedo" else missing
        return prediction, label.masked_fill(where, REAL_WITHOUT_TRUTH[name])
    label = torch.randint(0, max(2, channels), (images, 6, 7), generator=generator)
    return prediction, label.masked_fill(missing, 255)


def valid_pairs(name: str, prediction: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Return the numbers that are compared, one after another."""
    label = label if label.dim() == 4 else label.unsqueeze(1)
    valid = ((label != 0).any(1) if name == "albedo" else label.isfinite().all(1)).unsqueeze(1).expand_as(label)
    return prediction[valid], label[valid]


def test_scenes_has_sixteen_tasks_of_which_the_last_ten_are_the_further_labels() -> None:
    names = list(Scenes.tasks)
    assert names[:6] == ["semseg", "human_parts", "saliency", "normals", "depth", "edges"]
    assert names[6:] == list(FURTHER) == [*dict.fromkeys(FURTHER)]
    assert len(names) == 16
    counts = {"semseg": len(SEMSEG_CLASSES), "human_parts": len(PART_NAMES), "material": len(SUBSTANCES)}
    assert {name: Scenes.tasks[name] for name in counts} == counts
    assert {name: TASKS[name].fixed_channels for name in ("orientation", "curvature", "layout")} == {
        "orientation": 5,
        "curvature": 3,
        "layout": 5,
    }


def test_the_identity_of_the_first_six_is_what_it_was() -> None:
    config = Scenes.Config(name="scenes", image_size=64, train_images=2, test_images=2)
    assert Scenes.content_hash(config, tasks=list(Scenes.tasks)[:6]) == "scenes/1"
    assert Scenes.content_hash(config) == "scenes/1"
    assert {Scenes.content_hash(config, tasks=["semseg", name]) for name in FURTHER} == {"scenes/1/further/1"}


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions_are_those_of_torchmetrics(name: str) -> None:
    task = task_of(name)
    prediction, label = case(name)
    metric = task.metric()
    scores = torch.cat([metric.update(p, t) for p, t in zip(prediction.split(3), label.split(3), strict=True)])
    guess, truth = valid_pairs(name, prediction, label)
    absolute, square = float(MeanAbsoluteError()(guess, truth)), float(MeanSquaredError()(guess, truth))
    assert metric.compute() == pytest.approx({"mean_absolute_error": absolute, "rmse": square**0.5}, rel=1e-5)
    assert float(task.loss(prediction, label)) == pytest.approx(square if name == "centres" else absolute, rel=1e-5)
    for image in range(3):
        pairs = valid_pairs(name, prediction[image : image + 1], label[image : image + 1])
        errors = {"rmse": MeanSquaredError(squared=False), "mean_absolute_error": MeanAbsoluteError()}
        assert float(scores[image]) == pytest.approx(float(errors[task.primary](*pairs)), rel=1e-5)
    assert math.isnan(float(scores[3]))


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regressions_by_hand(name: str) -> None:
    channels = Scenes.tasks[name]
    label = torch.tensor([[0.5, 0.25, REAL_WITHOUT_TRUTH[name]]])  # [1, 3]
    prediction = torch.tensor([[1.5, 0.25, 9.0]]).expand(1, channels, 1, 3)
    label = label.expand(1, 3, 1, 3) if name == "albedo" else label.view(1, 1, 3)
    metric = task_of(name).metric()
    metric.update(prediction, label)
    assert metric.compute() == pytest.approx({"mean_absolute_error": 0.5, "rmse": 0.5**0.5})
    assert float(task_of(name).loss(prediction, label)) == 0.5


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_those_of_torchmetrics(name: str) -> None:
    prediction, label = case(name)
    metric = task_of(name).metric()
    metric.update(prediction, label)
    theirs = MulticlassJaccardIndex(Scenes.tasks[name], average="macro", ignore_index=255)
    assert metric.compute()["miou"] == pytest.approx(100 * float(theirs(prediction, label)), rel=1e-6)
    expected = torch.nn.functional.cross_entropy(prediction, label, ignore_index=255)
    assert float(task_of(name).loss(prediction, label)) == pytest.approx(float(expected), rel=1e-6)


def test_shadow_by_hand() -> None:
    label = torch.tensor([[[1, 1, 1, 1, 0, 0, 255]]])
    probability = torch.tensor([0.9, 0.9, 0.9, 0.2, 0.6, 0.1, 0.9]).view(1, 1, 1, 7)
    metric = task_of("shadow").metric()
    score = metric.update(probability.logit(), label)
    # At 0.5 a quarter of the shadow is missed and half of the light is taken for it; at 0.65 no light is; at 0.15 no
    # shadow is missed, and half of the light is taken: 12.5 is the least.
    assert score.item() == pytest.approx(50 * (0.25 + 0.5))
    assert metric.compute() == pytest.approx({"ber": 12.5, "iou": 80.0})  # 4 of 5 pixels at 0.15, 3 of 4 at 0.65


def test_shadow_is_the_mean_of_the_two_rates_of_torchmetrics() -> None:
    prediction, label = case("shadow", seed=3, images=6)
    metric = task_of("shadow").metric()
    scores = metric.update(prediction, label)
    probability, truth = prediction[:, 0].sigmoid(), label
    rates = []
    for threshold in range(5, 96, 5):
        at = {"threshold": threshold / 100, "ignore_index": 255}
        recall, specificity = BinaryRecall(**at)(probability, truth), BinarySpecificity(**at)(probability, truth)
        rates.append(100 - 50 * float(recall + specificity))
    assert metric.compute()["ber"] == pytest.approx(min(rates), abs=1e-4)
    assert scores[:-1].isfinite().all()
    assert math.isnan(float(scores[-1]))


def test_shadow_without_light_or_without_shadow_is_a_rate_of_what_there_is() -> None:
    for truth, logit, expected in ((0, -9.0, 0.0), (0, 9.0, 50.0), (1, 9.0, 0.0), (1, -9.0, 50.0)):
        metric = task_of("shadow").metric()
        score = metric.update(torch.full((1, 1, 2, 2), logit), torch.full((1, 2, 2), truth))
        assert score.item() == expected


@pytest.mark.parametrize("name", FURTHER)
def test_losses_of_the_parts_add_up_and_pull_at_valid_pixels_alone(name: str) -> None:
    task = task_of(name)
    prediction, label = case(name)
    prediction.requires_grad_()
    loss = task.loss(prediction, label)
    parts = sum(task.loss(p, t, label) for p, t in zip(prediction.split(1), label.split(1), strict=True))
    torch.testing.assert_close(loss, torch.as_tensor(parts))
    loss.backward()
    assert prediction.grad is not None
    touched = (prediction.grad != 0).any(dim=1)
    valid = {"albedo": lambda: (label != 0).any(1), **dict.fromkeys(REGRESSIONS[:-1], label.isfinite)}
    assert torch.equal(touched, valid.get(name, lambda: label != 255)())
    empty = task.loss(prediction[-1:], label[-1:])
    assert empty.item() == 0.0
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("name", FURTHER)
def test_a_set_without_truth_has_no_value(name: str) -> None:
    prediction, label = case(name)
    metric = task_of(name).metric()
    metric.update(prediction[-1:], label[-1:])
    assert set(map(math.isnan, metric.compute().values())) == {True}
    assert metric.compute().keys() == TASKS[name].metrics.keys()


@pytest.mark.parametrize("name", FURTHER)
def test_shapes_that_do_not_belong_together_are_an_error(name: str) -> None:
    prediction, label = case(name)
    for wrong in (label[:1], label[..., :1]):
        with pytest.raises(ValueError, match="Expected a prediction"):
            task_of(name).metric().update(prediction, wrong)


@pytest.mark.parametrize("name", FURTHER)
def test_labels_and_decoded_predictions_are_drawn_and_what_is_missing_is_hatched(name: str) -> None:
    task = task_of(name)
    prediction, label = case(name)
    decoded = task.decode(prediction.bfloat16())
    assert decoded.shape == label.shape
    for value in (decoded[0], label[0]):
        drawn = task.render((value.movedim(0, -1) if value.ndim == 3 else value).numpy())
        assert (drawn.shape, drawn.dtype) == ((6, 7, 3), np.uint8)
        assert len(np.unique(drawn)) > 2
    nothing = label[-1].movedim(0, -1) if name == "albedo" else label[-1]
    assert set(np.unique(task.render(nothing.numpy()))) == {215, 255}


@pytest.mark.parametrize("name", [name for name in FURTHER if name not in ("material", "curvature")])
def test_the_trivial_predictor_is_at_least_as_good_as_random_ones(name: str) -> None:
    task = task_of(name)
    label = torch.cat([case(name, seed)[1][:-1] for seed in range(3)])
    trivial = task.trivial(iter(label.split(2)))
    assert (trivial.shape, trivial.dtype) == ((Scenes.tasks[name], 6, 7), torch.float32)

    def reached(prediction: Tensor) -> float:
        metric = task.metric()
        metric.update(prediction, label)
        value = metric.compute()[task.primary]
        return value if task.metrics[task.primary][1] else -value

    fixed = reached(trivial.expand(len(label), -1, -1, -1))
    for seed in range(4):
        noise = torch.randn(1, Scenes.tasks[name], 6, 7, generator=torch.Generator().manual_seed(seed))
        assert fixed > reached(noise.expand(len(label), -1, -1, -1))


@pytest.mark.parametrize("name", ["layout", "orientation"])
def test_the_trivial_class_of_a_place_is_the_most_frequent_one_there(name: str) -> None:
    label = torch.tensor([[[1, 0, 255]], [[1, 3, 255]], [[2, 3, 4]]])
    assert task_of(name).decode(task_of(name).trivial([label])[None]).tolist() == [[[1, 3, 4]]]


def test_a_run_of_sixteen_tasks_trains_and_scores_all_of_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path / "cache"))
    record = petl_bench.run(
        method="decoders",
        backbone={"name": "embedded", "weights": "random"},
        decoder={"width": 8},
        dataset={"image_size": 32, "train_images": 4, "test_images": 2},
        tasks=16,
        budget="smoke",
        train={"steps": 1, "batch_size": 2},
        out=tmp_path / "runs",
    )
    assert record.status == "finished"
    assert list(record.metrics) == list(Scenes.tasks)
    assert record.data_hash == "scenes/1/further/1"
