"""Rays that share an origin: those of a camera, and those from a light to the points it may reach."""

from dataclasses import dataclass

import numpy as np

from petl_bench.data.scenes.arithmetic import Floats, Ints, cos, sin, tan
from petl_bench.data.scenes.primitives import Vector

_LIGHT_CELLS = 28


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: place, yaw (0 looks along z), pitch (negative looks down), vertical field of view, radians."""

    position: Vector
    yaw: float
    pitch: float
    field_of_view: float

    def axes(self) -> tuple[Vector, Vector, Vector]:
        """The right, up and forward axes."""
        cy, sy, cp, sp = cos(self.yaw), sin(self.yaw), cos(self.pitch), sin(self.pitch)
        return (cy, 0.0, -sy), (-sy * sp, cp, -cy * sp), (sy * cp, sp, cy * cp)

    def pixel_angle(self, size: int) -> float:
        """The width of one pixel at distance 1."""
        return 2.0 * tan(self.field_of_view * 0.5) / size


@dataclass(frozen=True)
class View:
    """Rays from one origin, sorted by the cell of a grid.

    Attributes:
        origin: where the rays start.
        axes: right, up and forward axes of the image plane.
        low, scale: cell = floor((projection - low) * scale), for the two coordinates of the image plane.
        width, height: cells of the grid.
        directions: [3, N]; not unit vectors.
        order: the rays, sorted by cell (row-major) [N].
        starts: where each cell starts in ``order`` [width * height + 1].
    """

    origin: Vector
    axes: tuple[Vector, Vector, Vector]
    low: tuple[np.float32, np.float32]
    scale: tuple[np.float32, np.float32]
    width: int
    height: int
    directions: Floats
    order: Ints
    starts: Ints


def camera_view(camera: Camera, size: int) -> View:
    """One ray through the middle of each pixel, row by row from the top left."""
    step = np.float32(camera.pixel_angle(size))
    across = (np.arange(size, dtype=np.float32) + np.float32(0.5 - size / 2)) * step
    right, up, forward = camera.axes()
    u, v = np.tile(across, size), np.repeat(-across, size)
    directions = np.stack([u * np.float32(right[i]) + v * np.float32(up[i]) + np.float32(forward[i]) for i in range(3)])
    order = np.arange(size * size)
    low = -np.float32(size / 2) * step
    down = (-up[0], -up[1], -up[2])
    per_cell = np.float32(1.0) / step
    return View(
        origin=camera.position,
        axes=(right, down, forward),
        low=(low, low),
        scale=(per_cell, per_cell),
        width=size,
        height=size,
        directions=directions,
        order=order,
        starts=np.arange(size * size + 1),
    )


def light_view(light: Vector, points: Floats) -> View:
    """Rays from a light above the room to the given points [3, N]; a ray reaches its point at distance 1."""
    directions = np.stack([points[i] - np.float32(light[i]) for i in range(3)])
    lows, scales, cells = [], [], []
    for i in (0, 2):
        q = directions[i] / -directions[1]
        low, high = q.min(), q.max()
        scale = np.float32(_LIGHT_CELLS - 0.01) / (high - low + np.float32(1e-5))
        lows.append(low)
        scales.append(scale)
        cells.append(((q - low) * scale).astype(np.int64))
    cell = (cells[1] * _LIGHT_CELLS + cells[0]).astype(np.uint16)
    counts = np.bincount(cell, minlength=_LIGHT_CELLS * _LIGHT_CELLS)
    return View(
        origin=light,
        axes=((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
        low=(lows[0], lows[1]),
        scale=(scales[0], scales[1]),
        width=_LIGHT_CELLS,
        height=_LIGHT_CELLS,
        directions=directions,
        order=np.argsort(cell, kind="stable"),
        starts=np.concatenate((np.zeros(1, np.int64), np.cumsum(counts))),
    )
