"""Where a ray enters a unit shape, and the normal there.

All functions work on flat arrays [N] of rays in the local frame of their primitive: origins ``o``, directions ``d``
(three arrays each, any length) and the ``shape`` number of the primitive. The origin lies outside the shape.
Distances are multiples of ``d``; ``inf`` is a miss.
"""

from collections.abc import Callable

import numpy as np

from petl_bench.data.scenes.arithmetic import Floats
from petl_bench.data.scenes.primitives import BOX, CAPSULE, FRUSTUM

Triple = tuple[Floats, Floats, Floats]

_MISS = np.float32(np.inf)
_ONE = np.float32(1.0)
_TINY = np.float32(1e-20)
_ALONG_AXIS = np.float32(1e-24)


def hit_box(o: Triple, d: Triple, shape: Floats) -> Floats:
    """Entry into the cube [-1, 1]^3."""
    del shape
    near, far = _slab(o[0], d[0])
    for axis in (1, 2):
        axis_near, axis_far = _slab(o[axis], d[axis])
        near = np.maximum(near, axis_near)
        far = np.minimum(far, axis_far)
    return np.where((near < far) & (near > 0), near, _MISS)


def _slab(o: Floats, d: Floats) -> tuple[Floats, Floats]:
    inverse = _ONE / np.where(d == 0, _TINY, d)
    centre = o * inverse
    reach = np.abs(inverse)
    return -centre - reach, reach - centre


def normal_box(o: Triple, d: Triple, t: Floats, shape: Floats) -> Triple:
    """The axis of the slab that is entered last: unambiguous on edges, unlike the largest local coordinate."""
    del t, shape
    nears = np.stack([_slab(o[axis], d[axis])[0] for axis in range(3)])
    axis = np.argmax(nears, axis=0)
    x, y, z = (np.where(axis == i, np.where(d[i] > 0, -_ONE, _ONE), np.float32(0.0)) for i in range(3))
    return x, y, z


def hit_capsule(o: Triple, d: Triple, shape: Floats) -> Floats:
    """Entry into the capsule of radius 1 around the segment from y = -shape to y = shape."""
    (ox, oy, oz), (dx, dy, dz) = o, d
    a = np.maximum(dx * dx + dz * dz, _ALONG_AXIS)
    b = ox * dx + oz * dz
    flat = ox * ox + oz * oz - _ONE
    root = b * b - a * flat
    t = (-b - np.sqrt(np.maximum(root, 0))) / a
    y = oy + t * dy
    cap = np.minimum(np.maximum(y, -shape), shape)
    on_body = cap == y
    py = oy - cap
    b = b + py * dy
    a = a + dy * dy
    flat = flat + py * py
    cap_root = b * b - a * flat
    t_cap = (-b - np.sqrt(np.maximum(cap_root, 0))) / a
    t = np.where(on_body, t, t_cap)
    hit = (root > 0) & (t > 0) & (on_body | (cap_root > 0))
    return np.where(hit, t, _MISS)


def normal_capsule(o: Triple, d: Triple, t: Floats, shape: Floats) -> Triple:
    """Away from the nearest point of the segment."""
    x, y, z = (o[i] + t * d[i] for i in range(3))
    return x, y - np.minimum(np.maximum(y, -shape), shape), z


def hit_frustum(o: Triple, d: Triple, shape: Floats) -> Floats:
    """Entry into the solid of radius ``1 + shape * (1 + y)`` around the y axis, -1 <= y <= 1."""
    (ox, oy, oz), (dx, dy, dz) = o, d
    radius = _ONE + shape * (_ONE + oy)
    slope = shape * dy
    a = dx * dx + dz * dz - slope * slope
    b = ox * dx + oz * dz - slope * radius
    c = ox * ox + oz * oz - radius * radius
    root = b * b - a * c
    width = np.sqrt(np.maximum(root, 0))
    best = _frustum_cap(o, d, shape)
    for t in ((-b - width) / a, (width - b) / a):
        inside = (np.abs(oy + t * dy) <= _ONE) & (root > 0) & (t > 0) & (radius + t * slope >= 0)
        best = np.where(inside & (t < best), t, best)
    return best


def _frustum_cap(o: Triple, d: Triple, shape: Floats) -> Floats:
    end = np.where(d[1] > 0, -_ONE, _ONE)
    t = (end - o[1]) / d[1]
    x, z = o[0] + t * d[0], o[2] + t * d[2]
    radius = _ONE + shape * (_ONE + end)
    return np.where((t > 0) & (x * x + z * z <= radius * radius), t, _MISS)


def normal_frustum(o: Triple, d: Triple, t: Floats, shape: Floats) -> Triple:
    """The cap where the cap was hit, else the gradient of the side."""
    x, y, z = (o[i] + t * d[i] for i in range(3))
    on_cap = _frustum_cap(o, d, shape) == t
    zero = np.float32(0.0)
    ny = np.where(on_cap, np.where(d[1] > 0, -_ONE, _ONE), -shape * (_ONE + shape * (_ONE + y)))
    return np.where(on_cap, zero, x), ny, np.where(on_cap, zero, z)


HITS: dict[int, Callable[[Triple, Triple, Floats], Floats]] = {
    BOX: hit_box,
    CAPSULE: hit_capsule,
    FRUSTUM: hit_frustum,
}
NORMALS: dict[int, Callable[[Triple, Triple, Floats, Floats], Triple]] = {
    BOX: normal_box,
    CAPSULE: normal_capsule,
    FRUSTUM: normal_frustum,
}
