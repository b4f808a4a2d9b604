"""ODS-F against brute force and an optimal assignment, on small pictures."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from test_thinning import literal

from petl_bench.tasks._boundary import THIN99, THIN101, boundary_counts, crests, match, ods_f
from petl_bench.tasks.boundaries_pascal import PascalBoundaries
from petl_bench.thinning import thin


def brute_pairs(line: np.ndarray, truth: np.ndarray, reach: float) -> int:
    """Match one pair after the other: the nearest first, then by the predicted pixel's offset and place."""
    predicted, true = np.argwhere(line).tolist(), np.argwhere(truth).tolist()
    every = ((y - v, x - u, v, u, (y, x)) for y, x in predicted for v, u in true)
    pairs = sorted((dy**2 + dx**2, dy, dx, *at) for dy, dx, *at in every if dy**2 + dx**2 <= reach**2)
    used_predicted, used_true = set(), set()
    for _, _, _, *at, place in pairs:
        if place not in used_predicted and tuple(at) not in used_true:
            used_predicted.add(place)
            used_true.add(tuple(at))
    return len(used_true)


def brute_crests(values: np.ndarray) -> np.ndarray:
    """Keep what is highest along the normal of its line, pixel by pixel."""
    triangle = np.array([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
    smooth = ndimage.correlate(values, triangle[:, None] * triangle[None], mode="reflect")
    height, width = values.shape
    dy, dx = np.gradient(smooth)
    dxx, (dyy, dxy) = np.gradient(dx)[1], np.gradient(dy)
    seen, plain = np.zeros_like(values), values.tolist()

    def at(y: float, x: float) -> float:
        y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
        top, left = min(int(y), height - 2), min(int(x), width - 2)
        b, a = y - top, x - left
        upper = (1 - a) * plain[top][left] + a * plain[top][left + 1]
        return (1 - b) * upper + b * ((1 - a) * plain[top + 1][left] + a * plain[top + 1][left + 1])

    angles = (np.arctan(dyy * np.sign(-dxy) / (dxx + 1e-5)) % np.pi).tolist()
    for y in range(height):
        for x in range(width):
            dy, dx = math.sin(angles[y][x]), math.cos(angles[y][x])
            sides = [at(y + s * dy, x + s * dx) for s in (-1, 1)]
            fade = min(1, min(y, height - 1 - y) / 5) * min(1, min(x, width - 1 - x) / 5)
            seen[y, x] = 0 if 1.01 * values[y, x] < max(sides) else values[y, x] * fade
    return seen


def brute(probability: np.ndarray, truth: np.ndarray, tolerance: float, thresholds: dict) -> dict[str, np.ndarray]:
    quantised = np.round(probability * 255) / 255
    reach = tolerance * np.hypot(*truth.shape)
    lines = literal(truth)
    crest = brute_crests(quantised)
    masks = {
        "thin99": [quantised >= t for t in thresholds["thin99"]],
        "nms_thin101": [crest > t for t in thresholds["nms_thin101"]],
    }
    counts = {}
    for reader, cut in masks.items():
        thinned = [literal(mask) for mask in cut]
        counts[reader] = np.array([(brute_pairs(one, lines, reach), one.sum(), lines.sum()) for one in thinned])
    return counts


def small_case(number: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(number)
    size = tuple(random.integers(12, 20, 2))
    truth = ndimage.gaussian_filter(random.normal(size=size), 2) > 0
    truth ^= ndimage.binary_erosion(truth)
    near = np.exp(-ndimage.distance_transform_edt(~truth) / 2)
    return np.clip(near + 0.2 * random.normal(size=size), 0, 1), truth


@pytest.mark.parametrize("start", range(0, 200, 25))
def test_both_readers_count_what_brute_force_counts(start: int) -> None:
    some = (4, 24, 49, 74, 94)  # of the thresholds, or brute force takes minutes
    thresholds = {"thin99": [THIN99[i] for i in some], "nms_thin101": [THIN101[i] for i in some]}
    for number in range(start, start + 25):
        probability, truth = small_case(number)
        seen = boundary_counts(probability, truth, tolerance=0.1)
        expected = brute(probability, truth, 0.1, thresholds)
        for reader, counts in expected.items():
            assert (seen[reader][list(some)] == counts).all(), (number, reader)


def test_crests_are_those_of_a_literal_loop() -> None:
    values = np.round(small_case(3)[0] * 255) / 255
    np.testing.assert_allclose(crests(values), brute_crests(values), atol=1e-9)


def pairs_and_optimum(line: np.ndarray, truth: np.ndarray, reach: float) -> tuple[int, int]:
    """Return the pairs that we match, and those of an assignment of least cost, which leaves out as few as it can."""
    predicted, true = np.argwhere(line), np.argwhere(truth)
    distance = np.hypot(*(predicted[:, None] - true[None]).transpose(2, 0, 1))
    cost = np.where(distance <= reach, distance, 100.0)
    rows, columns = linear_sum_assignment(cost)
    return int(match(line.astype(np.uint64), truth, reach).sum()), int((cost[rows, columns] <= reach).sum())


def test_no_matching_has_more_pairs_than_an_optimal_one_and_ours_at_least_half() -> None:
    for number in range(60):
        probability, truth = small_case(number)
        ours, optimal = pairs_and_optimum(thin(probability > 0.5), thin(truth), 2.5)
        assert optimal / 2 <= ours <= optimal


def test_on_lines_that_are_a_little_off_nearly_all_optimal_pairs_are_matched() -> None:
    got = best = 0
    for number in range(4):
        random = np.random.default_rng(number)
        region = ndimage.gaussian_filter(random.normal(size=(96, 96)), 9) > 0
        truth = thin(region ^ ndimage.binary_erosion(region))
        blur = np.exp(-ndimage.distance_transform_edt(~truth) / 2)
        wobble = [ndimage.gaussian_filter(random.normal(size=truth.shape), 6) * 9 for _ in range(2)]
        moved = ndimage.map_coordinates(blur, np.indices(truth.shape) + np.stack(wobble), order=1)
        ours, optimal = pairs_and_optimum(thin(moved > 0.3), truth, 3.2)
        got, best = got + ours, best + optimal
    assert got > 0.97 * best


def test_no_pixel_has_two_partners() -> None:
    truth = np.zeros((9, 9), dtype=bool)
    truth[4, 2:7] = True
    line = np.zeros((9, 9), dtype=bool)
    line[3, 4] = True
    assert match(line.astype(np.uint64), truth, 3.0).sum() == 1
    line[5, 4] = True
    assert match(line.astype(np.uint64), truth, 3.0).sum() == 2


def test_a_prediction_beside_the_truth_is_right_up_to_the_tolerance() -> None:
    truth = np.zeros((60, 80), dtype=np.int64)  # the diagonal is 100 pixels
    truth[30] = 1
    for off, f in ((0, 100.0), (1, 0.0)):  # 0.0075 of it is less than one
        logits = torch.full((1, 1, 60, 80), -20.0)
        logits[0, 0, 30 + off] = 20.0
        metric = PascalBoundaries(1).metric()
        metric.update(logits, torch.from_numpy(truth)[None])
        assert metric.compute()["ods_f_thin99"] == pytest.approx(f)
    wide = torch.from_numpy(np.pad(truth, ((100, 100), (130, 130))))[None]
    logits = torch.where(wide.roll(2, 1) == 1, 20.0, -20.0)[:, None]
    metric = PascalBoundaries(1).metric()
    metric.update(logits, wide)
    assert metric.compute()["ods_f_thin99"] == pytest.approx(100.0)  # 0.0075 of 428 pixels: 3.2
    assert metric.compute()["pixel_f"] < 1.0


def test_a_resample_of_images_scores_as_recomputed() -> None:
    cases = [small_case(number) for number in range(4)]
    size = (12, 12)
    pictures = [(p[: size[0], : size[1]], t[: size[0], : size[1]]) for p, t in cases]
    spec = PascalBoundaries(1)
    logits = torch.from_numpy(np.stack([p for p, _ in pictures])).clamp(1e-4, 1 - 1e-4).logit()[:, None].float()
    labels = torch.from_numpy(np.stack([t for _, t in pictures]).astype(np.int64))
    metric = spec.metric()
    metric.update(logits, labels)
    stored = metric.statistics()
    drawn = [3, 1, 1, 0]
    again = spec.metric()
    for index in drawn:
        again.update(logits[index : index + 1], labels[index : index + 1])
    assert spec.values({name: rows[drawn] for name, rows in stored.items()}) == again.compute()


def test_pixels_without_truth_are_not_predicted_either() -> None:
    labels = torch.zeros(1, 20, 20, dtype=torch.int64)
    labels[:, 10] = 1
    logits = torch.full((1, 1, 20, 20), -20.0)
    logits[:, :, 10] = 20.0
    logits[:, :, 2] = 20.0
    labels[:, :5] = 255
    spec = PascalBoundaries(1)
    assert spec.values({k: v.numpy() for k, v in spec.statistics(logits, labels).items()})["ods_f_thin99"] == 100.0


def test_f_is_of_pooled_counts_at_one_threshold_for_all_images() -> None:
    counts = np.array([[[2, 4, 4], [1, 1, 4]], [[0, 0, 2], [2, 2, 2]]])  # two images, two thresholds
    # At the second: precision 3 / 3, recall 3 / 6; at the first: 2 / 4 and 2 / 6.
    assert ods_f(counts) == pytest.approx(100 * 2 * 1.0 * 0.5 / 1.5)
