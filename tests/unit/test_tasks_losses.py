"""Every loss against a formula written pixel by pixel, and what its gradient must not touch."""

import math

import pytest
import torch
from torch import Tensor

from petl_bench.tasks import depth, edges, human_parts, normals, saliency, semseg, synthetic
from petl_bench.tasks.base import TASKS

MODULES = (depth, edges, human_parts, normals, saliency, semseg, synthetic)
CHANNELS = {"semseg": 5, "human_parts": 3, "saliency": 1, "edges": 1, "normals": 3, "depth": 1, "synthetic": 1}
WITH_INVALID = [name for name in CHANNELS if name != "synthetic"]
SIZE = (4, 5)


def case(name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Return predictions of three images, their labels, and where these are valid [B, H, W]."""
    generator = torch.Generator().manual_seed(11)
    channels = CHANNELS[name]
    prediction = torch.randn(3, channels, *SIZE, generator=generator)
    valid = torch.rand(3, *SIZE, generator=generator) < 0.7
    valid[2] = False
    if name in ("semseg", "human_parts"):
        return prediction, torch.randint(0, channels, (3, *SIZE), generator=generator).where(valid, 255), valid
    if name in ("saliency", "edges"):
        # The images differ in their share of positives, so a balance by image would give another loss.
        share = torch.tensor([0.1, 0.6, 0.5])[:, None, None]
        label = (torch.rand(3, *SIZE, generator=generator) < share).long()
        return prediction, label.where(valid, 255).to(torch.uint8), valid
    if name == "normals":
        label = torch.randn(3, 3, *SIZE, generator=generator)
        return prediction, (label / label.norm(dim=1, keepdim=True)).where(valid.unsqueeze(1), 0), valid
    label = 1 + torch.rand(3, *SIZE, generator=generator)
    return prediction, label if name == "synthetic" else label.where(valid, -1.0), valid


def pixels(prediction: Tensor, label: Tensor, valid: Tensor) -> list[tuple[list[float], list[float]]]:
    """Return the channels of prediction and label of each valid pixel."""
    label = label if label.ndim == 4 else label.unsqueeze(1)
    return [
        (prediction[b, :, y, x].double().tolist(), label[b, :, y, x].tolist()) for b, y, x in valid.nonzero().tolist()
    ]


def cross_entropy(points: list[tuple[list[float], list[float]]]) -> float:
    terms = [math.log(sum(math.exp(z) for z in logits)) - logits[int(truth)] for logits, [truth] in points]
    return sum(terms) / len(terms)


def weighted_bce(points: list[tuple[list[float], list[float]]], weight: float) -> float:
    probabilities = [(1 / (1 + math.exp(-z)), truth) for [z], [truth] in points]
    positive = sum(-math.log(p) for p, truth in probabilities if truth == 1)
    negative = sum(-math.log(1 - p) for p, truth in probabilities if truth == 0)
    return (weight * positive + (1 - weight) * negative) / len(points)


def expected_loss(name: str, points: list[tuple[list[float], list[float]]]) -> float:
    if name in ("semseg", "human_parts"):
        return cross_entropy(points)
    if name == "saliency":
        return weighted_bce(points, sum(truth == 0 for _, [truth] in points) / len(points))
    if name == "edges":
        return weighted_bce(points, 0.95)
    if name == "normals":
        lengths = [math.hypot(*raw) for raw, _ in points]
        unit = [[v / length for v in raw] for (raw, _), length in zip(points, lengths, strict=True)]
        terms = [abs(a - b) for n, (_, truth) in zip(unit, points, strict=True) for a, b in zip(n, truth, strict=True)]
        return sum(terms) / len(terms)
    return sum(abs(raw - truth) for [raw], [truth] in points) / len(points)


@pytest.mark.parametrize("name", CHANNELS)
def test_loss_equals_its_formula(name: str) -> None:
    prediction, label, valid = case(name)
    loss = TASKS[name](CHANNELS[name]).loss(prediction, label)
    points = pixels(prediction, label, torch.ones_like(valid) if name == "synthetic" else valid)
    assert loss.shape == ()
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected_loss(name, points), rel=1e-5)


@pytest.mark.parametrize("name", WITH_INVALID)
def test_loss_pulls_at_valid_pixels_alone(name: str) -> None:
    prediction, label, valid = case(name)
    prediction.requires_grad_()
    TASKS[name](CHANNELS[name]).loss(prediction, label).backward()
    assert prediction.grad is not None
    touched = (prediction.grad != 0).any(dim=1)
    assert torch.equal(touched, valid)


@pytest.mark.parametrize("name", WITH_INVALID)
def test_loss_of_no_valid_pixel_is_zero_with_a_zero_gradient(name: str) -> None:
    prediction, label, _ = case(name)
    prediction = prediction[2:].requires_grad_()
    loss = TASKS[name](CHANNELS[name]).loss(prediction, label[2:])
    loss.backward()
    assert loss.item() == 0.0
    assert prediction.grad is not None
    assert not prediction.grad.any()


@pytest.mark.parametrize("name", CHANNELS)
def test_loss_takes_half_precision_and_answers_in_float32(name: str) -> None:
    prediction, label, _ = case(name)
    task = TASKS[name](CHANNELS[name])
    loss = task.loss(prediction.bfloat16(), label)
    assert loss.dtype == torch.float32
    assert loss.item() == float(task.loss(prediction.bfloat16().float(), label))


def test_edge_loss_is_a_twentieth_of_bce_with_positive_weight_19() -> None:
    prediction, label, valid = case("edges")
    reference = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(19.0))(prediction[:, 0][valid], label[valid].float())
    assert float(TASKS["edges"](1).loss(prediction, label)) == pytest.approx(0.05 * float(reference), rel=1e-6)


def test_saliency_weight_is_that_of_the_whole_batch() -> None:
    prediction, label, _ = case("saliency")
    task = TASKS["saliency"](1)
    parts = [(float(task.loss(prediction[b : b + 1], label[b : b + 1])), int((label[b] != 255).sum())) for b in (0, 1)]
    by_image = sum(loss * count for loss, count in parts) / sum(count for _, count in parts)
    assert abs(task.loss(prediction, label).item() - by_image) > 0.01


def test_normals_loss_does_not_change_with_the_length_of_the_prediction() -> None:
    prediction, label, _ = case("normals")
    task = TASKS["normals"](3)
    loss = task.loss(prediction, label).item()
    for scale in (1e-6, 0.1, 37.0, 1e6):
        assert float(task.loss(prediction * scale, label)) == pytest.approx(loss, rel=1e-6)
    assert float(task.loss(-prediction, label)) != pytest.approx(loss, rel=1e-2)


def test_normals_loss_of_an_output_of_zeros_has_a_small_gradient() -> None:
    _, label, valid = case("normals")
    prediction = torch.zeros_like(label).requires_grad_()
    TASKS["normals"](3).loss(prediction, label).backward()
    assert prediction.grad is not None
    assert float(prediction.grad.abs().max()) <= 1 / (3 * int(valid.sum())) + 1e-9


@pytest.mark.parametrize("missing", [0.0, -3.0, math.nan, math.inf])
def test_depth_that_is_no_depth_is_left_out(missing: float) -> None:
    prediction, label, valid = case("depth")
    prediction.requires_grad_()
    loss = TASKS["depth"](1).loss(prediction, label.where(valid, missing))
    loss.backward()
    assert loss.item() == TASKS["depth"](1).loss(prediction, label).item()
    assert prediction.grad is not None
    assert prediction.grad.isfinite().all()
