"""Every metric against its definition, written here a second time in numpy: images one by one, pixels in float64."""

import math
import warnings
from collections.abc import Mapping, Sequence
from statistics import fmean

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from petl_bench.tasks import depth, edges, human_parts, normals, saliency, semseg, synthetic
from petl_bench.tasks.base import TASKS, Metric

MODULES = (depth, edges, human_parts, normals, saliency, semseg, synthetic)
CHANNELS = {"semseg": 6, "human_parts": 4, "saliency": 1, "edges": 1, "normals": 3, "depth": 1, "synthetic": 1}
SALIENCY_THRESHOLDS = [0.20 + 0.05 * step for step in range(15)]
POOLED_THRESHOLDS = [0.05 + 0.05 * step for step in range(19)]
EDGE_THRESHOLDS = [0.01 * step for step in range(1, 100)]

Values = tuple[Mapping[str, float], Sequence[float]]
"""The values of the set and the score of each image."""


def make_set(name: str, seed: int, images: int = 5) -> tuple[Tensor, Tensor]:
    """Return predictions and labels; the last image has no valid pixel where the task knows such pixels."""
    generator = torch.Generator().manual_seed(seed)
    channels, size = CHANNELS[name], (7, 9)
    prediction = torch.randn(images, channels, *size, generator=generator) * 2
    invalid = torch.rand(images, *size, generator=generator) < 0.2
    invalid[-1] = True
    if name in ("semseg", "human_parts"):
        # The last class never occurs in the labels, the last but one nowhere at all.
        prediction[:, -2] = -100.0
        label = torch.randint(0, channels - 2, (images, *size), generator=generator, dtype=torch.uint8)
        return prediction, label.masked_fill(invalid, 255)
    if name in ("saliency", "edges"):
        prediction[0, :, :2] = 0.0
        label = (torch.rand(images, *size, generator=generator) < 0.3).to(torch.uint8)
        prediction += 2 * label.unsqueeze(1)
        label[1] = 0
        prediction[1] -= 30.0
        return prediction, label.masked_fill(invalid, 255)
    if name == "normals":
        label = torch.nn.functional.normalize(torch.randn(images, 3, *size, generator=generator), dim=1)
        return prediction * 0.2 + label, label.masked_fill(invalid.unsqueeze(1), 0.0)
    label = 0.5 + 9 * torch.rand(images, *size, generator=generator)
    prediction = prediction * 0.7 + label.unsqueeze(1)
    return prediction, label if name == "synthetic" else label.masked_fill(invalid, 0.0)


def class_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    """Intersection over union by class of all pixels together, then of each image."""

    def overlaps(guess: np.ndarray, truth: np.ndarray) -> list[float]:
        guess, truth = guess[truth != 255], truth[truth != 255]
        unions = [((guess == c) | (truth == c)).sum() for c in range(prediction.shape[1])]
        both = [((guess == c) & (truth == c)).sum() for c in range(prediction.shape[1])]
        return [b / u if u else math.nan for b, u in zip(both, unions, strict=True)]

    guess = prediction.argmax(axis=1)
    ious = np.array(overlaps(guess, label))
    values = {
        "miou": 100 * float(np.nanmean(ious)),
        "miou_all": 100 * float(np.nan_to_num(ious, nan=0.0).mean()),
        "pixel_accuracy": 100 * float((guess == label)[label != 255].mean()),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        scores = [100 * float(np.nanmean(overlaps(g, t))) for g, t in zip(guess, label, strict=True)]
    return values, scores


def foreground_iou(mask: np.ndarray, truth: np.ndarray) -> float:
    return 1.0 if not (mask | truth).any() else (mask & truth).sum() / (mask | truth).sum()


def f_score(mask: np.ndarray, truth: np.ndarray, beta_squared: float) -> float:
    if not mask.any() and not truth.any():
        return 1.0
    if not (mask & truth).any():
        return 0.0
    precision, recall = (mask & truth).sum() / mask.sum(), (mask & truth).sum() / truth.sum()
    return (1 + beta_squared) * precision * recall / (beta_squared * precision + recall)


def valid_parts(probability: np.ndarray, label: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(p[t != 255], t[t != 255] == 1) for p, t in zip(probability, label, strict=True)]


def saliency_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    parts = valid_parts(torch.from_numpy(prediction[:, 0]).sigmoid().numpy(), label)
    kept = [(p, t) for p, t in parts if len(t)]
    cuts = [np.float32(threshold) for threshold in SALIENCY_THRESHOLDS]
    everything, truth = np.concatenate([p for p, _ in parts]), np.concatenate([t for _, t in parts])
    values = {
        "max_miou": 100 * max(fmean(foreground_iou(p > cut, t) for p, t in kept) for cut in cuts),
        "max_f": 100 * max(fmean(f_score(p > cut, t, 0.3) for p, t in kept) for cut in cuts),
        "max_f_pooled": 100 * max(f_score(everything > np.float32(cut), truth, 0.3) for cut in POOLED_THRESHOLDS),
        "max_f_invpt": 100 * max(f_score(1 / (1 + np.exp(-everything)) > cut, truth, 0.3) for cut in POOLED_THRESHOLDS),
    }
    return values, [100 * foreground_iou(p > 0.5, t) if len(t) else math.nan for p, t in parts]


def edge_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    parts = valid_parts(torch.from_numpy(prediction[:, 0]).sigmoid().numpy(), label)
    everything, truth = np.concatenate([p for p, _ in parts]), np.concatenate([t for _, t in parts])
    best = max(f_score(everything > np.float32(threshold), truth, 1.0) for threshold in EDGE_THRESHOLDS)
    return {"pixel_f": 100 * best}, [100 * f_score(p > 0.5, t, 1.0) if len(t) else math.nan for p, t in parts]


def normal_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    a, b = prediction.astype(np.float64), label.astype(np.float64)
    valid = (b != 0).any(axis=1)
    cosine = (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + 1e-300)
    angles = np.degrees(np.arccos(cosine.clip(-1, 1)))
    pooled = angles[valid]
    values = {
        "mean_angular_error": pooled.mean(),
        "median": np.median(pooled),
        "rmse": math.sqrt((pooled**2).mean()),
        "within_11_25": 100 * (pooled < 11.25).mean(),
        "within_22_5": 100 * (pooled < 22.5).mean(),
        "within_30": 100 * (pooled < 30).mean(),
    }
    return values, [a[v].mean() if v.any() else math.nan for a, v in zip(angles, valid, strict=True)]


def depth_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    guess, valid = prediction[:, 0].astype(np.float64), label > 0
    p, t = guess[valid], label[valid].astype(np.float64)
    ratio = np.where(p > 0, np.maximum(p / t, t / np.where(p > 0, p, 1)), math.inf)
    images = zip(guess, label, valid, strict=True)
    scores = [math.sqrt(((p - t)[v] ** 2).mean()) if v.any() else math.nan for p, t, v in images]
    values = {
        "rmse": math.sqrt(((p - t) ** 2).mean()),
        "image_rmse": fmean(score for score in scores if not math.isnan(score)),
        "abs_rel": (np.abs(p - t) / t).mean(),
        "delta_1_25": 100 * (ratio < 1.25).mean(),
    }
    return values, scores


def absolute_values(prediction: np.ndarray, label: np.ndarray) -> Values:
    error = np.abs(prediction[:, 0].astype(np.float64) - label)
    return {"mean_absolute_error": error.mean()}, list(error.mean(axis=(1, 2)))


DEFINITIONS = {
    "semseg": class_values,
    "human_parts": class_values,
    "saliency": saliency_values,
    "edges": edge_values,
    "normals": normal_values,
    "depth": depth_values,
    "synthetic": absolute_values,
}


def metric_of(name: str) -> Metric:
    return TASKS[name](CHANNELS[name]).metric()


def assert_equals_definition(name: str, prediction: Tensor, label: Tensor, batches: list[int]) -> None:
    metric = metric_of(name)
    parts = zip(prediction.split(batches), label.split(batches), strict=True)
    scores = torch.cat([metric.update(p, t) for p, t in parts])
    values, expected_scores = DEFINITIONS[name](prediction.numpy(), label.numpy())
    computed = metric.compute()
    assert computed.keys() == values.keys()
    for key, value in values.items():
        if key != "median":
            assert computed[key] == pytest.approx(value, rel=2e-6, abs=1e-6), key
    assert scores.tolist() == pytest.approx(expected_scores, rel=2e-6, abs=1e-5, nan_ok=True)


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("batches", [[5], [2, 2, 1], [1, 1, 1, 1, 1]], ids=str)
def test_metric_equals_its_definition_however_the_set_is_batched(name: str, batches: list[int]) -> None:
    assert_equals_definition(name, *make_set(name, seed=3), batches)


@pytest.mark.parametrize("name", DEFINITIONS)
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32), images=st.integers(2, 6))
def test_metric_equals_its_definition_on_any_set(name: str, seed: int, images: int) -> None:
    assert_equals_definition(name, *make_set(name, seed, images), [1, images - 1])


def test_the_median_angle_is_that_of_bins_of_a_quarter_degree() -> None:
    angles = np.linspace(0.1, 60.1, 241)  # each in a bin of its own: the middle one is 30.1
    prediction = torch.tensor(np.stack([np.sin(np.radians(angles)), 0 * angles, np.cos(np.radians(angles))]))
    label = torch.tensor([0.0, 0.0, 1.0]).view(1, 3, 1, 1).expand(1, 3, 1, len(angles))
    metric = metric_of("normals")
    metric.update(prediction.float().view(1, 3, 1, -1), label)
    # 120 bins below and half of the bin from 30.00 to 30.25.
    assert metric.compute()["median"] == pytest.approx(30.125)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_any_resample_of_images_is_computed_from_what_was_stored(name: str) -> None:
    prediction, label = make_set(name, seed=5)
    rows = [0, 2, 2, 3, 0, 1]
    metric, again = metric_of(name), metric_of(name)
    metric.update(prediction, label)
    again.update(prediction[rows], label[rows])
    stored = {key: array[rows] for key, array in metric.statistics().items()}
    values = TASKS[name](CHANNELS[name]).values(stored)
    assert values == pytest.approx(again.compute(), rel=1e-9)


@pytest.mark.parametrize("name", ["semseg", "human_parts"])
def test_torchmetrics_computes_the_same_intersection_over_union(name: str) -> None:
    from torchmetrics.classification import MulticlassJaccardIndex

    prediction, label = make_set(name, seed=7)
    metric = metric_of(name)
    metric.update(prediction, label)
    theirs = MulticlassJaccardIndex(CHANNELS[name], average="macro", ignore_index=255)
    assert metric.compute()["miou"] == pytest.approx(100 * float(theirs(prediction, label.long())), rel=1e-6)


@pytest.mark.parametrize("name", ["normals", "depth"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_label_that_is_no_number_is_no_truth(name: str, bad: float) -> None:
    prediction, label = make_set(name, seed=2)
    spoiled, ignored = label.clone(), label.clone()
    spoiled[0, ..., 0, 0] = bad
    ignored[0, ..., 0, 0] = 0
    values, losses, maps = [], [], []
    for one in (spoiled, ignored):
        metric = metric_of(name)
        metric.update(prediction, one)
        values.append(metric.compute())
        losses.append(float(TASKS[name](CHANNELS[name]).loss(prediction, one)))
        maps.append(TASKS[name](CHANNELS[name]).trivial([one]))
    assert values[0] == values[1]
    assert losses[0] == losses[1]
    assert torch.equal(maps[0], maps[1])


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if name != "synthetic"])
def test_metric_without_any_valid_pixel_is_nan_and_warns_of_nothing(name: str) -> None:
    prediction, label = make_set(name, seed=0)
    metric = metric_of(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(math.isnan(value) for value in metric.compute().values())
        scores = metric.update(prediction[-1:], label[-1:])
        values = metric.compute()
    assert scores.isnan().all()
    assert all(math.isnan(value) for value in values.values())
    assert values.keys() == DEFINITIONS[name](prediction.numpy(), label.numpy())[0].keys()


@pytest.mark.parametrize("name", [name for name in DEFINITIONS if name != "synthetic"])
def test_image_without_valid_pixels_changes_no_value(name: str) -> None:
    prediction, label = make_set(name, seed=1)
    with_it, without_it = metric_of(name), metric_of(name)
    with_it.update(prediction, label)
    without_it.update(prediction[:-1], label[:-1])
    # Not bit for bit: one image more may change the order in which a sum is taken.
    assert with_it.compute() == pytest.approx(without_it.compute(), rel=1e-7)
