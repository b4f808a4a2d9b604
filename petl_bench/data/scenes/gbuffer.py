"""Everything the renderer knows about each pixel. Every label is a function of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import Floats, Ints
from petl_bench.data.scenes.room import Room
from petl_bench.data.scenes.trace import Hits

FIRST_OBJECT = 6
"""Instances below are the faces of the room."""


@dataclass(frozen=True)
class GBuffer:
    """Maps of one picture, [H, W] or [3, H, W].

    Camera coordinates: x to the right, y up, z towards the camera.

    Attributes:
        room: what is seen, and from where.
        hits: what the ray of each pixel meets, [N] or [3, N] in the coordinates of the room.
        instance: 0 to 5 are the faces of the room, objects follow.
        semantic: index into ``SEMSEG_CLASSES`` (target domain only).
        part: index into ``PART_NAMES``.
        primitive: the primitive that is seen.
        texture: index into ``textures.FAMILIES``.
        depth: metres along the optical axis.
        normal: unit vectors in camera coordinates, facing the camera.
        point: metres in camera coordinates.
        height: metres above the floor.
        albedo: linear RGB without light.
        shading: irradiance, linear RGB.
        shadow: whether the first light is hidden or behind the surface.
    """

    room: Room
    hits: Hits
    instance: Ints
    semantic: Ints
    part: Ints
    primitive: Ints
    texture: Ints
    depth: Floats
    normal: Floats
    point: Floats
    height: Floats
    albedo: Floats
    shading: Floats
    shadow: NDArray[np.bool_]
