"""Ray casting against closed forms, and culling against trying every primitive on every ray."""

from dataclasses import replace

import numpy as np
import pytest

from petl_bench.data.scenes import trace
from petl_bench.data.scenes.arithmetic import Stream
from petl_bench.data.scenes.intersect import hit_box, hit_capsule, hit_frustum
from petl_bench.data.scenes.layout import Plan
from petl_bench.data.scenes.source_rooms import source_room
from petl_bench.data.scenes.target_rooms import target_room
from petl_bench.data.scenes.trace import nearest, shadowed
from petl_bench.data.scenes.views import Camera, camera_view, light_view


def ray(*values: float):
    return tuple(np.array([value], dtype=np.float32) for value in values)


@pytest.mark.parametrize(
    ("hit", "origin", "direction", "shape", "distance"),
    [
        (hit_box, (0.2, 0.1, -5.0), (0.0, 0.0, 1.0), 0.0, 4.0),
        (hit_box, (1.2, 0.1, -5.0), (0.0, 0.0, 1.0), 0.0, np.inf),
        (hit_box, (0.0, 0.0, 5.0), (0.0, 0.0, 1.0), 0.0, np.inf),
        (hit_capsule, (0.0, 0.0, -5.0), (0.0, 0.0, 2.0), 0.0, 2.0),
        (hit_capsule, (0.0, 7.0, 0.1), (0.0, -1.0, 0.0), 2.0, 7.0 - 2.0 - np.sqrt(0.99)),
        (hit_capsule, (0.0, 1.5, -5.0), (0.0, 0.0, 1.0), 2.0, 4.0),
        (hit_capsule, (1.1, 0.0, -5.0), (0.0, 0.0, 1.0), 2.0, np.inf),
        (hit_frustum, (0.0, 5.0, 0.3), (0.0, -1.0, 0.0), 0.0, 4.0),
        (hit_frustum, (0.0, 0.0, -5.0), (0.0, 0.0, 1.0), -0.25, 5.0 - 0.75),
        (hit_frustum, (0.0, 5.0, 0.9), (0.0, -1.0, 0.0), -0.25, 5.0 + 0.6),
        (hit_frustum, (0.0, 1.5, -5.0), (0.0, 0.0, 1.0), -0.25, np.inf),
        (hit_frustum, (0.0, 1.0, -5.0), (0.0, 0.0, 1.0), 0.0, 4.0),  # along its end
        (hit_frustum, (1.0, 0.0, -5.0), (0.0, 0.0, 1.0), 0.0, np.inf),  # along its side
        (hit_frustum, (0.0, 0.0, 5.0), (0.0, 0.0, 1.0), 0.0, np.inf),  # behind the ray
        (hit_frustum, (0.0, 0.0, 1.0), (0.0, 0.0, 1.0), 0.0, np.inf),  # where it starts
        (hit_frustum, (0.0, 0.5, -5.0), (0.0, 0.0, 1.0), -1.0, np.inf),  # beyond the tip, where its cone goes on
    ],
)
def test_rays_enter_unit_shapes_where_the_closed_form_says(hit, origin, direction, shape, distance):
    with np.errstate(divide="ignore", invalid="ignore"):
        found = hit(ray(*origin), ray(*direction), np.array([shape], dtype=np.float32))[0]
    assert found == pytest.approx(distance, rel=1e-5)


@pytest.mark.parametrize("layout", [source_room, target_room])
def test_culling_loses_no_hit_and_no_shadow(layout, monkeypatch):
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for seed in range(3):
            room = layout(Stream(99, seed))
            view = camera_view(room.camera, 40)
            hits = nearest(room.primitives, view, room.half_x, room.height, room.half_z)
            lamp = light_view(room.lights[0].position, hits.position)
            dark = shadowed(room.primitives, lamp, hits.primitive)
            with monkeypatch.context() as patch:
                patch.setattr(trace, "_rectangles", whole_view)
                brute = nearest(room.primitives, view, room.half_x, room.height, room.half_z)
                assert np.array_equal(hits.primitive, brute.primitive)
                assert np.array_equal(hits.depth, brute.depth)
                assert np.array_equal(dark, shadowed(room.primitives, lamp, hits.primitive))


def whole_view(primitives, view):
    count = primitives.shape.size
    none, width, height = (np.full(count, value) for value in (0, view.width, view.height))
    return none, width, none, height


def test_normals_face_the_camera_on_every_pixel():
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for seed in range(4):
            room = target_room(Stream(7, seed))
            view = camera_view(room.camera, 48)
            hits = nearest(room.primitives, view, room.half_x, room.height, room.half_z)
            assert ((hits.normal * view.directions).sum(axis=0) < 1e-4).all()
            assert np.abs((hits.normal * hits.normal).sum(axis=0) - 1.0).max() < 1e-5


def test_a_primitive_casts_no_shadow_on_itself():
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        room = target_room(Stream(7, 1))
        alone = replace(room.primitives, kind_start=(0, 6, 6, 6, 6))
        view = camera_view(room.camera, 32)
        hits = nearest(alone, view, room.half_x, room.height, room.half_z)
        assert hits.primitive.max() < 6
        assert not shadowed(alone, light_view(room.lights[0].position, hits.position), hits.primitive).any()


@pytest.mark.parametrize(
    ("place", "is_free"),
    [
        ((1.5, 0.0), True),  # touches the wall
        ((-1.5, 1.0), True),
        ((1.75, 0.0), False),
        ((0.0, -1.25), False),
        ((0.0, 0.25), False),  # where another disc lies
    ],
)
def test_a_disc_is_free_inside_the_walls_and_beside_other_discs(place: tuple[float, float], is_free: bool):
    plan = Plan(Stream(0), 2.0, 1.5, Camera((0.0, 1.0, 0.0), 0.0, 0.0, 1.0))
    plan.claim(0.0, 0.0, 0.25)
    assert plan.is_free(*place, 0.5) == is_free
