"""Transforming the scene and transforming its labels agree: spheres, planes and their outlines, in closed form."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from petl_bench.data.augment import Pipeline, distorted
from petl_bench.data.geometry import Sampling, View, mirror, resize, rotation, unit, warp, window
from petl_bench.data.protocols import PROTOCOLS

KINDS = {"semseg": "semseg", "edges": "edges", "normals": "normals", "depth": "depth", "human_parts": "human_parts"}


def sphere(
    size: tuple[int, int], centre: tuple[float, float], radius: float, metres: float = 2.0, turn: float = 0.0
) -> View:
    """Return a sphere seen from afar, in front of nothing, on a grid: normals x right, y up, z towards the camera.

    ``turn``: degrees by which the camera rolls; the pattern of classes on the sphere turns with it.
    """
    rows, columns = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    x, y = (columns - centre[0]) / radius, (centre[1] - rows) / radius
    inside = x**2 + y**2 < 1
    normals = np.where(inside, np.stack([x, y, np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))]), 0)
    angle = np.deg2rad(turn)
    upper = -np.sin(angle) * x + np.cos(angle) * y > 0
    classes = np.where(inside, 1 + upper, 0).astype(np.uint8)
    distance = np.abs(np.hypot(columns - centre[0], rows - centre[1]) - radius)
    labels = {
        "semseg": torch.from_numpy(classes),
        "edges": torch.from_numpy((distance < 1).astype(np.uint8)),
        "normals": torch.from_numpy(normals.astype(np.float32)),
        "depth": torch.full(size, metres),
        "human_parts": torch.from_numpy(classes),
    }
    image = torch.from_numpy(np.stack([classes * 100.0] * 3).astype(np.float32))
    return View(image, labels, KINDS)


def moved(matrix: np.ndarray, point: tuple[float, float]) -> tuple[float, float]:
    x, y = matrix[:, :2] @ np.array(point) + matrix[:, 2]
    return float(x), float(y)


def degrees_between(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return torch.rad2deg(torch.arccos((first * second).sum(0).clamp(-1, 1)))


@settings(max_examples=25, deadline=None)
@given(st.floats(-180, 180), st.floats(0.6, 1.8), st.floats(-10, 10), st.floats(-10, 10))
def test_labels_of_a_turned_sphere_are_those_of_the_sphere_seen_so(
    degrees: float, zoom: float, x: float, y: float
) -> None:
    size, centre, radius = (96, 128), (60.0 + x, 50.0 + y), 24.0
    matrix = rotation(degrees, zoom, (63.5, 47.5), (63.5, 47.5))
    seen = warp(sphere(size, centre, radius), matrix, size, Sampling())
    truth = sphere(size, moved(matrix, centre), zoom * radius, metres=2.0 / zoom, turn=degrees)
    covered = seen.labels["semseg"] != 255
    both = covered & (seen.labels["semseg"] > 0) & (truth.labels["normals"][2] > 0.5)
    assert both.sum() > 100
    # A pixel's place moves by at most 0.71 old pixels, and 30 degrees is the steepest slope that is looked at.
    limit = np.rad2deg(2 * 0.75 / radius)
    assert float(degrees_between(seen.labels["normals"], truth.labels["normals"])[both].max()) < limit
    assert torch.allclose(seen.labels["depth"][covered], torch.tensor(2.0 / zoom))
    assert (seen.labels["depth"][~covered] == 0).all()
    wrong = (seen.labels["semseg"] != truth.labels["semseg"]) & covered
    assert wrong.sum() < 0.08 * (truth.labels["semseg"] > 0).sum() + 20
    rows, columns = torch.nonzero((seen.labels["edges"] == 1) & covered, as_tuple=True)
    cx, cy = moved(matrix, centre)
    off = (torch.hypot(columns - cx, rows - cy) - zoom * radius).abs()
    assert float(off.max()) <= 1.75 * max(zoom, 1)


def test_a_mirrored_sphere_is_the_sphere_on_the_other_side() -> None:
    seen = mirror(sphere((40, 64), (20.0, 18.0), 12.0))
    truth = sphere((40, 64), (43.0, 18.0), 12.0)
    for task in KINDS:
        torch.testing.assert_close(seen.labels[task], truth.labels[task])


def test_a_window_is_what_the_camera_sees_when_it_moves() -> None:
    seen = window(sphere((40, 64), (20.0, 18.0), 12.0), 5, 3, (20, 30), Sampling())
    truth = sphere((20, 30), (17.0, 13.0), 12.0)
    for task in KINDS:
        torch.testing.assert_close(seen.labels[task], truth.labels[task])


def test_a_window_beyond_the_picture_has_no_truth_there() -> None:
    seen = window(sphere((20, 30), (17.0, 13.0), 12.0), -4, 0, (28, 30), Sampling(colour=(10.0, 20.0, 30.0)))
    for outside in (seen.labels["semseg"][:4], seen.labels["edges"][24:], seen.labels["human_parts"][:4]):
        assert (outside == 255).all()
    assert (seen.labels["normals"][:, :4] == 0).all()
    assert (seen.labels["depth"][24:] == 0).all()
    assert seen.image[:, 0, 0].tolist() == [10.0, 20.0, 30.0]


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_what_is_not_moved_stays_bit_for_bit(mode: str) -> None:
    view = sphere((40, 64), (20.0, 18.0), 12.0)
    same = warp(view, rotation(0.0, 1.0, (0.0, 0.0), (0.0, 0.0)), view.size, Sampling(image=mode))
    torch.testing.assert_close(same.image, view.image, atol=2e-3, rtol=0)
    for task in KINDS:
        torch.testing.assert_close(same.labels[task], view.labels[task], atol=1e-6, rtol=0)


def test_a_quarter_turn_is_exact() -> None:
    view = sphere((41, 41), (25.0, 18.0), 10.0)
    turned = warp(view, rotation(90.0, 1.0, (20.0, 20.0), (20.0, 20.0)), view.size, Sampling())
    assert torch.equal(turned.labels["semseg"], torch.rot90(view.labels["semseg"]))
    x, y, z = torch.rot90(view.labels["normals"], dims=(1, 2))
    torch.testing.assert_close(turned.labels["normals"], torch.stack([-y, x, z]), atol=1e-6, rtol=0)


def test_nearest_neighbours_are_taken_at_the_centres_of_pixels() -> None:
    labels = {"semseg": torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8)}
    view = View(torch.zeros(3, 1, 4), labels, {"semseg": "semseg"})
    assert resize(view, (1, 8), Sampling()).labels["semseg"].tolist() == [[0, 0, 1, 1, 2, 2, 3, 3]]
    assert resize(view, (1, 2), Sampling()).labels["semseg"].tolist() == [[1, 3]]


def test_unit_vectors_appear_only_where_there_are_vectors() -> None:
    vectors = torch.tensor([[3.0, 0.0], [4.0, 0.0], [0.0, 0.0]])[:, None]
    torch.testing.assert_close(unit(vectors)[:, 0], torch.tensor([[0.6, 0.0], [0.8, 0.0], [0.0, 0.0]]))


def half_valid() -> View:
    """Return a wall: on the left it looks right, on the right its normal is unknown; white left, black right."""
    view = sphere((32, 32), (15.5, 15.5), 8.0)
    normals = torch.zeros(3, 32, 32)
    normals[:, :, :16] = torch.tensor([0.8, 0.0, 0.6])[:, None, None]
    image = torch.zeros(3, 32, 32)
    image[:, :, :16] = 255.0
    people = torch.zeros(32, 32, dtype=torch.uint8)
    return replace(view, image=image, labels={**view.labels, "normals": normals, "human_parts": people})


@pytest.mark.parametrize("name", PROTOCOLS)
def test_each_flaw_happens_inside_its_protocol_alone(name: str) -> None:
    protocol, pipeline = PROTOCOLS[name], Pipeline(PROTOCOLS[name], (48, 48))
    views = [pipeline.train(half_valid(), np.random.default_rng(key)) for key in range(30)]
    is_mtl = name == "mtl"
    # Only background or a pixel without truth surrounds the sphere, so 255 tells the border.
    assert any((view.labels["semseg"] == 255).any() for view in views) != is_mtl
    lengths = torch.cat([view.labels["normals"].square().sum(0).sqrt().flatten() for view in views])
    assert bool(((lengths < 1e-6) | ((lengths - 1).abs() < 1e-3)).all())
    if name != "atrc":  # whose colours are distorted on purpose
        left = torch.cat([view.image[:, view.labels["normals"].square().sum(0) > 0.5].flatten() for view in views])
        assert bool(((left > 1) & (left < 60)).any()) == (is_mtl and protocol.wraps), "bright pixels that wrapped"
    assert pipeline.test(half_valid()).labels["human_parts"].eq(255).all() == (protocol.parts_ignore == "crop")
    assert ("background" in " ".join(protocol.flaws)) == is_mtl


def test_cubic_interpolation_wraps_in_mtl_and_is_clipped_without_that_switch() -> None:
    view = half_valid()
    mtl = PROTOCOLS["mtl"]
    wrapped = Pipeline(mtl, (48, 48)).test(view).image
    clipped = Pipeline(replace(mtl, wraps=False), (48, 48)).test(view).image
    row, other = wrapped[0, 24], clipped[0, 24]
    # A step from 255 to 0 overshoots 255 on its bright side: 256 and more become 0 and more.
    assert float(row[:24].min()) < 30
    assert float(other[:22].min()) > 250
    assert float(other[26:].max()) < 5


def test_normals_at_the_border_of_truth_are_mixed_in_mtl_alone() -> None:
    """The wall's only direction is (0.8, 0, 0.6) or none; a cubic mix with none, made a unit vector, can point back."""
    wall = torch.tensor([0.8, 0.0, 0.6])

    def directions(name: str) -> int:
        normals = Pipeline(PROTOCOLS[name], (48, 48)).test(half_valid()).labels["normals"]
        known = normals.square().sum(0) > 0
        return int(((normals - wall[:, None, None]).abs().amax(0) > 1e-3)[known].sum())

    assert directions("ours") == directions("atrc") == 0
    assert directions("mtl") > 0


@pytest.mark.parametrize("name", PROTOCOLS)
def test_aspect_is_lost_in_mtl_alone(name: str) -> None:
    view = sphere((24, 48), (24.0, 12.0), 10.0)
    seen = Pipeline(PROTOCOLS[name], (48, 48)).test(view).labels["semseg"]
    rows, columns = torch.nonzero((seen > 0) & (seen < 255), as_tuple=True)
    ratio = float((columns.max() - columns.min() + 1) / (rows.max() - rows.min() + 1))
    assert ratio == pytest.approx(0.5 if name == "mtl" else 1.0, abs=0.06)


@pytest.mark.parametrize("size", [(64, 64), (48, 80), (96, 56)])
def test_the_box_of_a_test_picture_is_where_it_lies(size: tuple[int, int]) -> None:
    for name in PROTOCOLS:
        pipeline = Pipeline(PROTOCOLS[name], size)
        view = replace(sphere((24, 48), (24.0, 12.0), 10.0))
        ones = replace(view, labels={"semseg": torch.ones(24, 48, dtype=torch.uint8)}, kinds={"semseg": "semseg"})
        box = pipeline.content((24, 48))
        rows, columns = torch.nonzero(pipeline.test(ones).labels["semseg"] == 1, as_tuple=True)
        assert (int(rows.min()), int(columns.min())) == (box.top, box.left)
        assert (int(rows.max()) + 1, int(columns.max()) + 1) == (box.top + box.height, box.left + box.width)


def test_a_window_with_too_much_of_one_class_is_drawn_again() -> None:
    classes = torch.zeros(64, 64, dtype=torch.uint8)
    classes[24:40, 24:40] = 1
    view = View(torch.zeros(3, 64, 64), {"semseg": classes}, {"semseg": "semseg"})

    def crowded(class_ratio: float) -> int:
        pipeline = Pipeline(replace(PROTOCOLS["atrc"], train=("crop",), class_ratio=class_ratio), (24, 24))
        seen = (pipeline.train(view, np.random.default_rng(key)).labels["semseg"] for key in range(40))
        return sum(int(torch.bincount(one.flatten().long()).max()) >= 0.75 * 24 * 24 for one in seen)

    assert crowded(0.75) < crowded(2.0) / 2


def test_colours_change_and_stay_in_range() -> None:
    image = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255
    seen = [distorted(image, np.random.default_rng(key)) for key in range(20)]
    assert all(float(one.min()) >= 0 and float(one.max()) <= 255 for one in seen)
    assert len({float(one.sum()) for one in seen}) > 10
