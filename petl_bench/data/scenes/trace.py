"""Ray casting of packed primitives, for the rays of one view.

Each primitive is tried only on the rays of the view's cells that its projected bounding box covers; all
(primitive, ray) pairs of a kind are evaluated in one call.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import Floats, Ints
from petl_bench.data.scenes.intersect import HITS, NORMALS, Triple
from petl_bench.data.scenes.primitives import BOX, CAPSULE, FRUSTUM, Primitives, Vector
from petl_bench.data.scenes.views import View

_NEAR = np.float32(0.02)
_CORNERS = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], dtype=np.float32)


@dataclass(frozen=True)
class Hits:
    """What the camera's rays meet first: primitive, distance along the ray (z-depth), geometry [N] or [3, N]."""

    primitive: Ints
    depth: Floats
    position: Floats
    local: Floats
    local_normal: Floats
    normal: Floats
    towards_eye: Floats


def nearest(primitives: Primitives, view: View, half_x: float, height: float, half_z: float) -> Hits:
    """The nearest primitive on every ray of ``view``, inside a room of half width, height and half depth."""
    best = _room_keys(view, (-half_x, 0.0, -half_z), (half_x, height, half_z))
    for prims, rays, distance in _candidates(primitives, view):
        met = np.flatnonzero(distance < np.float32(1e4))
        keys = _sort_keys(distance[met], prims[met])
        np.minimum.at(best, rays[met], keys)
    primitive = (best & np.uint64(0xFFFFFFFF)).astype(np.int64)
    depth = (best >> np.uint64(32)).astype(np.uint32).view(np.float32)
    return _geometry(primitives, view, primitive, depth)


def shadowed(primitives: Primitives, view: View, owner: Ints) -> NDArray[np.bool_]:
    """Which points of a light's view something else stands in front of; ``owner`` is each point's own primitive."""
    dark = np.zeros(owner.size, dtype=np.bool_)
    for prims, rays, distance in _candidates(primitives, view):
        met = np.flatnonzero(distance < np.float32(0.9995))
        rays = rays[met]
        dark[rays[prims[met] != owner[rays]]] = True
    return dark


def faces_behind(view: View, half_x: float, height: float, half_z: float) -> Ints:
    """The face of the empty room that each ray meets: -x, +x, floor, ceiling, -z, +z [N]."""
    keys = _room_keys(view, (-half_x, 0.0, -half_z), (half_x, height, half_z))
    return (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _sort_keys(distance: Floats, primitive: Ints) -> NDArray[np.uint64]:
    """Integers that sort by distance, then by primitive."""
    return (distance.view(np.uint32).astype(np.uint64) << np.uint64(32)) | primitive.astype(np.uint64)


def _room_keys(view: View, low: Vector, high: Vector) -> NDArray[np.uint64]:
    """The face of the room that each ray leaves through, as sort keys."""
    distances = []
    for i in range(3):
        d = view.directions[i]
        ahead = np.where(d > 0, np.float32(high[i] - view.origin[i]), np.float32(low[i] - view.origin[i]))
        distances.append(np.where(d == 0, np.float32(1e6), ahead / np.where(d == 0, np.float32(1.0), d)))
    stacked = np.stack(distances)
    axis = np.argmin(stacked, axis=0)
    positive = np.take_along_axis(view.directions, axis[None], axis=0)[0] > 0
    return _sort_keys(stacked.min(axis=0), axis * 2 + positive)


def _candidates(primitives: Primitives, view: View) -> Iterator[tuple[Ints, Ints, Floats]]:
    """For each kind: primitive, ray and distance of every pair that the grid can't rule out."""
    left, right, top, bottom = _rectangles(primitives, view)
    maps = _local_origins(primitives, view.origin)
    for kind in (BOX, CAPSULE, FRUSTUM):
        first = primitives.kind_start[kind]
        chosen = slice(first, primitives.kind_start[kind + 1])
        prims, slots = _expand(view, left[chosen], right[chosen], top[chosen], bottom[chosen])
        if prims.size == 0:
            continue
        prims += first
        rays = view.order[slots]
        o, d = _to_local(primitives, maps, view, prims, rays)
        yield prims, rays, HITS[kind](o, d, primitives.shape[prims])


def _local_origins(primitives: Primitives, origin: Vector) -> Floats:
    """The origin of the rays in each primitive's frame [3, P]."""
    r = primitives.rows
    x, y, z = (np.float32(origin[i]) - primitives.centre[i] for i in range(3))
    return np.stack([r[3 * i] * x + r[3 * i + 1] * y + r[3 * i + 2] * z for i in range(3)])


def _to_local(primitives: Primitives, origins: Floats, view: View, prims: Ints, rays: Ints) -> tuple[Triple, Triple]:
    r = primitives.rows
    x, y, z = (view.directions[i][rays] for i in range(3))
    ox, oy, oz = (origins[i][prims] for i in range(3))
    dx, dy, dz = (r[3 * i][prims] * x + r[3 * i + 1][prims] * y + r[3 * i + 2][prims] * z for i in range(3))
    return (ox, oy, oz), (dx, dy, dz)


def _rectangles(primitives: Primitives, view: View) -> tuple[Ints, Ints, Ints, Ints]:
    """The cells [left, right) x [top, bottom) that each primitive's bounding box can touch; empty for the faces."""
    first = primitives.kind_start[BOX]
    half = _bounds(primitives)
    axes = primitives.rows.reshape(3, 3, -1) * primitives.half[:, None, :]
    relative = [primitives.centre[i] - np.float32(view.origin[i]) for i in range(3)]
    projected = []
    for axis in view.axes:
        a, b, c = (np.float32(axis[i]) for i in range(3))
        centre = relative[0] * a + relative[1] * b + relative[2] * c
        reach = [(axes[i, 0] * a + axes[i, 1] * b + axes[i, 2] * c) * half[i] for i in range(3)]
        corner = [_CORNERS[:, i, None] * reach[i] for i in range(3)]
        projected.append(centre + corner[0] + corner[1] + corner[2])
    x, y, z = projected
    ahead = z.min(axis=0) > _NEAR
    z = np.maximum(z, _NEAR)
    cells = []
    for i, q, count in ((0, x / z, view.width), (1, y / z, view.height)):
        low = np.floor((q.min(axis=0) - view.low[i]) * view.scale[i] - np.float32(0.01))
        high = np.floor((q.max(axis=0) - view.low[i]) * view.scale[i] + np.float32(1.01))
        low, high = np.where(ahead, low, 0), np.where(ahead, high, count)
        limit = np.float32(count)
        cells.append(np.minimum(np.maximum(low, 0), limit).astype(np.int64))
        cells.append(np.minimum(np.maximum(high, 0), limit).astype(np.int64))
    behind = projected[2].max(axis=0) <= _NEAR
    behind[:first] = True
    cells[1] = np.where(behind, cells[0], cells[1])
    return cells[0], cells[1], cells[2], cells[3]


def _bounds(primitives: Primitives) -> Floats:
    """Half extents of each primitive's bounding box [3, P]."""
    bounds = np.ones_like(primitives.half)
    capsule, frustum = primitives.kind_start[CAPSULE], primitives.kind_start[FRUSTUM]
    bounds[1, capsule:frustum] += primitives.shape[capsule:frustum]
    widest = np.float32(1.0) + np.maximum(primitives.shape[frustum:] * np.float32(2.0), 0)
    bounds[0, frustum:] = widest
    bounds[2, frustum:] = widest
    return bounds * primitives.half


def _expand(view: View, left: Ints, right: Ints, top: Ints, bottom: Ints) -> tuple[Ints, Ints]:
    """All (primitive, slot of ``view.order``) pairs of the given rectangles of cells."""
    rows = np.where(right > left, np.maximum(bottom - top, 0), 0)
    owner, row = _ranges(top, rows)
    base = row * view.width
    begin = view.starts[base + left[owner]]
    member, slots = _ranges(begin, view.starts[base + right[owner]] - begin)
    return owner[member], slots


def _ranges(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """The ranges ``first[i] ... first[i] + count[i] - 1`` one after the other, each with its i."""
    owner = np.repeat(np.arange(count.size), count)
    shift = first - (np.cumsum(count) - count)
    return owner, np.arange(owner.size) + shift[owner]


def _geometry(primitives: Primitives, view: View, primitive: Ints, depth: Floats) -> Hits:
    """Positions and normals of the hits; every normal faces the origin of the view."""
    origins = _local_origins(primitives, view.origin)
    rays = np.arange(primitive.size)
    o, d = _to_local(primitives, origins, view, primitive, rays)
    local = np.stack([o[i] + depth * d[i] for i in range(3)])
    local_normal = np.zeros_like(local)
    faces = np.flatnonzero(primitive < primitives.kind_start[BOX])
    face = primitive[faces]
    local_normal[face >> 1, faces] = np.where(face & 1, np.float32(-1.0), np.float32(1.0))
    bounds = primitives.kind_start
    for kind, normal_of in NORMALS.items():
        chosen = np.flatnonzero((primitive >= bounds[kind]) & (primitive < bounds[kind + 1]))
        o_k: Triple = (o[0][chosen], o[1][chosen], o[2][chosen])
        d_k: Triple = (d[0][chosen], d[1][chosen], d[2][chosen])
        found = normal_of(o_k, d_k, depth[chosen], primitives.shape[primitive[chosen]])
        for i in range(3):
            local_normal[i, chosen] = found[i]
    r = primitives.rows[:, primitive]
    world = [r[i] * local_normal[0] + r[3 + i] * local_normal[1] + r[6 + i] * local_normal[2] for i in range(3)]
    length = np.sqrt(world[0] * world[0] + world[1] * world[1] + world[2] * world[2])
    facing = world[0] * view.directions[0] + world[1] * view.directions[1] + world[2] * view.directions[2]
    length = np.where(facing > 0, -length, length)
    position = np.stack([np.float32(view.origin[i]) + depth * view.directions[i] for i in range(3)])
    return Hits(
        primitive=primitive,
        depth=depth,
        position=position,
        local=local * primitives.half[:, primitive],
        local_normal=local_normal,
        normal=np.stack([w / length for w in world]),
        towards_eye=_towards_origin(view.directions),
    )


def _towards_origin(directions: Floats) -> Floats:
    length = np.sqrt(directions[0] * directions[0] + directions[1] * directions[1] + directions[2] * directions[2])
    return -directions / length
