"""The traps of the metrics' conventions, each in a case small enough to check by hand."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import one_hot
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.segmentation import MeanIoU

from petl_bench.tasks import depth, edges, human_parts, normals, saliency, semseg, synthetic
from petl_bench.tasks.base import TASKS, Metric

MODULES = (depth, edges, human_parts, normals, saliency, semseg, synthetic)
CHANNELS = {"semseg": 6, "human_parts": 4, "saliency": 1, "edges": 1, "normals": 3, "depth": 1, "synthetic": 1}


def metric_of(name: str) -> Metric:
    return TASKS[name](CHANNELS[name]).metric()


def blank(name: str) -> tuple[Tensor, Tensor]:
    """Return predictions and labels of two images, all 0."""
    label = torch.zeros(2, 3, 4, 4) if name == "normals" else torch.zeros(2, 4, 4)
    whole = name in ("semseg", "human_parts", "saliency", "edges")
    return torch.zeros(2, CHANNELS[name], 4, 4), label.to(torch.uint8) if whole else label


@pytest.mark.parametrize("name", ["semseg", "human_parts"])
def test_miou_is_of_the_set_and_not_the_mean_of_images(name: str) -> None:
    generator = torch.Generator().manual_seed(0)
    num_classes = CHANNELS[name]
    label = torch.randint(0, num_classes - 1, (5, 8, 8), generator=generator)
    label[0] = 0
    prediction = torch.randn(5, num_classes, 8, 8, generator=generator) + 2 * one_hot(label, num_classes).movedim(-1, 1)
    metric = metric_of(name)
    metric.update(prediction, label)
    miou = metric.compute()["miou"]
    of_set = MulticlassJaccardIndex(num_classes, average="macro", ignore_index=255)
    assert miou == pytest.approx(100 * float(of_set(prediction, label)), rel=1e-6)
    of_images = MeanIoU(num_classes, input_format="index")
    assert abs(miou - 100 * float(of_images(prediction.argmax(1), label))) > 0.5


def test_miou_counts_a_class_only_predicted_and_miou_all_also_an_absent_one() -> None:
    classes, label = torch.tensor([[[0, 0, 0, 2]]]), torch.tensor([[[0, 0, 0, 255]]])
    metric = TASKS["semseg"](4).metric()
    metric.update(one_hot(classes, 4).movedim(-1, 1).float(), label)
    assert metric.compute() == {"miou": 100.0, "miou_all": 25.0, "pixel_accuracy": 100.0}
    classes[0, 0, 0] = 1
    metric.update(one_hot(classes, 4).movedim(-1, 1).float(), label)
    # Class 0: 5 of 6; class 1: 0 of 1; classes 2 and 3: absent, as the prediction of 2 has no truth beside it.
    assert metric.compute()["miou"] == pytest.approx(100 * (5 / 6) / 2, rel=1e-6)
    assert metric.compute()["miou_all"] == pytest.approx(100 * (5 / 6) / 4, rel=1e-6)


def test_saliency_takes_probabilities_strictly_above_and_one_threshold_for_all_images() -> None:
    # Logit 0 is probability 0.5: predicted below the threshold 0.50, no longer at it.
    label = torch.tensor([[[1, 1, 0, 0]], [[1, 0, 0, 0]]], dtype=torch.uint8)
    prediction = torch.tensor([[[[9.0, 0.0, -9.0, -9.0]]], [[[9.0, 0.0, 0.0, -9.0]]]])
    metric = TASKS["saliency"](1).metric()
    scores = metric.update(prediction, label)
    assert scores.tolist() == [50.0, 100.0]
    # Below 0.5: (1 + 1/3) / 2; from 0.5 on: (1/2 + 1) / 2. The best of each image would give 1.
    assert metric.compute()["max_miou"] == pytest.approx(75.0)


@pytest.mark.parametrize(("name", "percents"), [("saliency", range(20, 91, 5)), ("edges", range(1, 100))])
def test_each_threshold_of_the_convention_separates_and_no_other(name: str, percents: range) -> None:
    label = torch.tensor([[[0, 1]]], dtype=torch.uint8)
    for percent in range(1, 100):
        probability = torch.tensor([percent - 0.4, percent + 0.4]) / 100
        metric = metric_of(name)
        metric.update(probability.logit().view(1, 1, 1, 2), label)
        assert (metric.compute()[TASKS[name].primary] == 100.0) == (percent in percents), percent


@pytest.mark.parametrize(("logit", "expected"), [(-9.0, 100.0), (9.0, 0.0)])
def test_empty_truth_is_matched_by_an_empty_prediction_alone(logit: float, expected: float) -> None:
    for name in ("saliency", "edges"):
        metric = metric_of(name)
        assert metric.update(torch.full((1, 1, 4, 4), logit), torch.zeros(1, 4, 4, dtype=torch.uint8)) == expected
        assert set(metric.compute().values()) == {expected}


def test_predictions_that_are_not_numbers_are_never_above_a_threshold() -> None:
    metric = metric_of("saliency")
    metric.update(torch.full((1, 1, 4, 4), math.nan), torch.ones(1, 4, 4, dtype=torch.uint8))
    assert metric.compute() == dict.fromkeys(("max_miou", "max_f", "max_f_pooled", "max_f_invpt"), 0.0)


def test_small_angles_are_exact() -> None:
    angle = math.radians(0.001)
    prediction = torch.tensor([math.sin(angle), 0.0, math.cos(angle)]).view(1, 3, 1, 1)
    metric = metric_of("normals")
    metric.update(prediction, torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1))
    assert metric.compute()["mean_angular_error"] == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize(("name", "wrong"), [("semseg", 6), ("human_parts", 4), ("saliency", 2), ("edges", 200)])
def test_label_out_of_range_is_an_error_and_not_another_image(name: str, wrong: int) -> None:
    prediction, label = blank(name)
    label[0, 0, 0] = wrong
    with pytest.raises(ValueError, match=str(wrong)):
        metric_of(name).update(prediction, label)


@pytest.mark.parametrize("name", CHANNELS)
def test_shapes_that_do_not_belong_together_are_an_error(name: str) -> None:
    prediction, label = blank(name)
    for wrong in (label.unsqueeze(1), label[:1], label[..., :1]):
        with pytest.raises(ValueError, match="Expected a prediction"):
            metric_of(name).update(prediction, wrong)


def test_a_second_sigmoid_leaves_five_cuts_of_the_probability() -> None:
    """F of pooled counts where sigmoid(p) > t for t = 0.05, 0.10 ... 0.95, literally."""
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 1, 9, 11, generator=generator) * 3
    label = (torch.rand(3, 9, 11, generator=generator) < 0.3).long()
    label[0, :2] = 255
    metric = TASKS["saliency"](1).metric()
    metric.update(logits, label)
    p, truth = logits[:, 0].sigmoid()[label != 255], label[label != 255] == 1
    best = 0.0
    for percent in range(5, 96, 5):
        found = p.sigmoid() > percent / 100
        hits = float((found & truth).sum())
        best = max(best, 1.3 * hits / float(found.sum() + 0.3 * truth.sum()))
    assert metric.compute()["max_f_invpt"] == pytest.approx(100 * best, rel=1e-6)
