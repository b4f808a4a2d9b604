"""The ten further labels: what the renderer knows beyond the first six, rendered only when a run asks for one of them.

Classes are numbered so that a mirror swaps 3 and 4, left and right, and no others.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import PI, Floats, cos, sin
from petl_bench.data.scenes.gbuffer import FIRST_OBJECT, GBuffer
from petl_bench.data.scenes.primitives import CAPSULE, FRUSTUM
from petl_bench.data.scenes.trace import faces_behind
from petl_bench.data.scenes.views import camera_view

FLOOR, CEILING, FRONT, LEFT, RIGHT = range(5)
UP, DOWN = FLOOR, CEILING
FLAT, SINGLE, DOUBLE = range(3)
IGNORED = 255
NEAR_SHARE = 0.125
"""Share of the picture's width from which on a boundary is far."""
SMALLEST_SHARE = 1.0 / 1024.0
"""Share of the picture that an object covers at least to have a centre."""


def albedo(g: GBuffer) -> NDArray[np.float16]:
    """Linear red, green and blue reflectance, 0 to 1, without light."""
    return np.ascontiguousarray(np.moveaxis(g.albedo, 0, -1)).astype(np.float16)


def shading(g: GBuffer) -> NDArray[np.float16]:
    """Irradiance, mean of red, green and blue: 1 is what a light gives the middle of the floor, ambient light added."""
    return ((g.shading[0] + g.shading[1] + g.shading[2]) * np.float32(1.0 / 3.0)).astype(np.float16)


def shadow(g: GBuffer) -> NDArray[np.uint8]:
    """1 where no ray of the first light arrives: something stands before it, or the surface faces away from it."""
    return g.shadow.astype(np.uint8)


def material(g: GBuffer) -> NDArray[np.uint8]:
    """Index into ``palettes.SUBSTANCES``."""
    return g.room.primitives.material[11].astype(np.uint8)[g.primitive]


def boundary_distance(g: GBuffer) -> NDArray[np.float16]:
    """Distance to the nearest boundary, as a share of an eighth of the picture's width, at most 1.

    A boundary are the pixels that have a neighbour (left, right, above, below) of another instance; there it is 0.
    Distances are Euclidean, between the middles of pixels.
    """
    from scipy.ndimage import distance_transform_edt

    boundary = np.zeros(g.instance.shape, dtype=np.bool_)
    across = g.instance[:, 1:] != g.instance[:, :-1]
    down = g.instance[1:] != g.instance[:-1]
    boundary[:, 1:] |= across
    boundary[:, :-1] |= across
    boundary[1:] |= down
    boundary[:-1] |= down
    if not boundary.any():
        return np.ones(boundary.shape, dtype=np.float16)
    pixels: NDArray[Any] = np.asarray(distance_transform_edt(~boundary))
    return np.minimum(pixels / (NEAR_SHARE * g.depth.shape[0]), 1.0).astype(np.float16)


def orientation(g: GBuffer) -> NDArray[np.uint8]:
    """Which way the surface faces, seen by a camera held level: up, down, to the camera (0, 1, 2), left, right (3, 4).

    It is the largest component of the normal in the camera's frame without its pitch.
    """
    c, s = np.float32(cos(g.room.camera.yaw)), np.float32(sin(g.room.camera.yaw))
    x, y, z = g.hits.normal
    right, ahead = x * c - z * s, x * s + z * c
    level = np.where(np.abs(right) > np.abs(ahead), np.where(right > 0, RIGHT, LEFT), FRONT)
    is_steep = np.abs(y) >= np.maximum(np.abs(right), np.abs(ahead))
    classes = np.where(is_steep, np.where(y > 0, UP, DOWN), level)
    return classes.astype(np.uint8).reshape(g.depth.shape)


def centres(g: GBuffer) -> NDArray[np.float16]:
    """The largest of max(0, 1 - d^2 / r^2)^2 over objects, with the distance d to the middle of an object's pixels.

    Pixels are those that are visible, r is the radius of a disc of as many pixels. An object that covers less than a
    1024th of the picture has no centre.
    """
    size = g.depth.shape[0]
    flat = g.instance.reshape(-1)
    pixels = np.bincount(flat)
    at = np.arange(size)
    column, row = np.tile(at, size), np.repeat(at, size)
    sums = [np.bincount(flat, weights=along.astype(np.float64)) for along in (column, row)]  # whole numbers, so exact
    objects = np.flatnonzero(pixels >= SMALLEST_SHARE * flat.size)
    heat: Floats = np.zeros((size, size), dtype=np.float32)
    for one in objects[objects >= FIRST_OBJECT]:
        across, down = ((at - along[one] / pixels[one]) for along in sums)
        across, down = ((x * x * (PI / pixels[one])).astype(np.float32) for x in (across, down))
        np.maximum(heat, np.float32(1.0) - (down[:, None] + across[None]), out=heat)
    return (heat * heat).astype(np.float16)


def height(g: GBuffer) -> NDArray[np.float16]:
    """Metres above the camera, below it negative."""
    return (g.height - np.float32(g.room.camera.position[1])).astype(np.float16)


def curvature(g: GBuffer) -> NDArray[np.uint8]:
    """In how many directions the surface is curved: 0 flat, 1 like a cylinder or cone, 2 like a ball."""
    primitives, seen, normal = g.room.primitives, g.hits.primitive, g.hits.local_normal
    capsule, frustum = primitives.kind_start[CAPSULE], primitives.kind_start[FRUSTUM]
    is_side = (normal[0] != 0) | (normal[2] != 0)
    is_end = (normal[1] != 0) | (primitives.shape[seen] == 0)
    classes = np.where(seen >= frustum, np.where(is_side, SINGLE, FLAT), np.where(is_end, DOUBLE, SINGLE))
    return np.where(seen < capsule, FLAT, classes).astype(np.uint8).reshape(g.depth.shape)


def layout(g: GBuffer) -> NDArray[np.uint8]:
    """The plane of the empty room behind everything: floor, ceiling, wall in front, to the left, to the right.

    The wall in front is the one whose outward direction is nearest to the camera's. One at the camera's back would be
    255.
    """
    room, yaw = g.room, g.room.camera.yaw
    c, s = cos(yaw), sin(yaw)
    names = [0, 0, FLOOR, CEILING, 0, 0]
    for face, outward in {0: (-1.0, 0.0), 1: (1.0, 0.0), 4: (0.0, -1.0), 5: (0.0, 1.0)}.items():
        ahead, right = outward[0] * s + outward[1] * c, outward[0] * c - outward[1] * s
        sideways = RIGHT if right > 0 else LEFT
        names[face] = sideways if abs(right) > abs(ahead) else FRONT if ahead > 0 else IGNORED
    view = camera_view(room.camera, g.depth.shape[0])
    faces = faces_behind(view, room.half_x, room.height, room.half_z)
    return np.array(names, dtype=np.uint8)[faces].reshape(g.depth.shape)
