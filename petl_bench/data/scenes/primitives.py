"""The geometry of a room: boxes, capsules (spheres and ellipsoids are capsules of no length) and frusta.

Every primitive is a unit shape under an affine map ``local = rows @ (world - centre)``, where row i is the i-th axis of
the primitive divided by its half extent along that axis.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import Floats, cos, sin

FACE, BOX, CAPSULE, FRUSTUM = range(4)

Vector = tuple[float, float, float]


class Material(NamedTuple):
    """What a surface looks like. Colours are linear RGB in [0, 1].

    Attributes:
        texture: index into ``textures.FAMILIES``.
        size: metres per cell of the texture.
        colour: the main colour.
        accent: the colour the texture mixes in.
        gloss: strength of the highlight.
        emission: light given off, as a multiple of the colour.
        seed: offset and noise of the texture.
        substance: index into ``palettes.SUBSTANCES``; no pixel depends on it.
    """

    texture: int
    size: float
    colour: Vector
    accent: Vector
    gloss: float
    emission: float
    seed: int
    substance: int = 0


@dataclass(frozen=True)
class Primitives:
    """The packed primitives of one room, sorted by kind; the six faces of the room come first.

    Attributes:
        kind_start: index of the first primitive of each kind, and the total: [5].
        centre: [3, P].
        rows: the affine map, row-major [9, P].
        half: half extents [3, P].
        shape: capsule: half length over radius; frustum: half the relative change of radius from bottom to top [P].
        semantic, part, instance: integer labels [P].
        material: the columns of ``Material``, flattened [12, P].
    """

    kind_start: tuple[int, ...]
    centre: Floats
    rows: Floats
    half: Floats
    shape: Floats
    semantic: NDArray[np.int64]
    part: NDArray[np.int64]
    instance: NDArray[np.int64]
    material: Floats


def subtract(a: Vector, b: Vector) -> Vector:
    """The vector from ``b`` to ``a``."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


def along(a: Vector, direction: Vector, length: float) -> Vector:
    """The point ``length`` from ``a`` in ``direction``."""
    return a[0] + direction[0] * length, a[1] + direction[1] * length, a[2] + direction[2] * length


def middle(a: Vector, b: Vector) -> Vector:
    """The point halfway between a and b."""
    return (a[0] + b[0]) * 0.5, (a[1] + b[1]) * 0.5, (a[2] + b[2]) * 0.5


def _cross(a: Vector, b: Vector) -> Vector:
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]


def _unit(a: Vector) -> Vector:
    length = sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])
    return a[0] / length, a[1] / length, a[2] / length


def _axes(up: Vector, right_hint: Vector) -> tuple[float, ...]:
    """Nine numbers: the right, up and forward axes of a frame whose y axis is the unit vector ``up``."""
    forward = _cross(right_hint, up)
    size = forward[0] * forward[0] + forward[1] * forward[1] + forward[2] * forward[2]
    if size < 1e-6:
        forward = _cross((0.31, 0.17, 0.93), up)
    forward = _unit(forward)
    right = _cross(up, forward)
    return (*right, *up, *forward)


class SceneBuilder:
    """Collects primitives. Coordinates are metres in the frame of the object that is being built (y is up)."""

    def __init__(self, half_x: float, half_z: float, height: float) -> None:
        self.half_x, self.half_z, self.height = half_x, half_z, height
        self._rows: list[tuple[float, ...]] = []
        self._instance = 5
        self._semantic = 0
        self._origin: Vector = (0.0, 0.0, 0.0)
        self._cos, self._sin = 1.0, 0.0

    def faces(self, materials: list[Material], semantics: list[int]) -> None:
        """Set the room itself: the faces at -x, +x, floor, ceiling, -z, +z."""
        identity = (0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0)
        for face, (material, semantic) in enumerate(zip(materials, semantics, strict=True)):
            self._add(FACE, identity, 0.0, material, 0, semantic, face)

    @contextmanager
    def thing(self, semantic: int, x: float, y: float, z: float, yaw: float) -> Generator[None, None, None]:
        """Build one object instance at a place in the room, turned by ``yaw`` radians about the vertical.

        An object opened inside another one has its own instance, and its place is relative to the room.
        """
        outer = (self._instance, self._semantic, self._origin, self._cos, self._sin)
        self._next_instance()
        self._semantic = semantic
        self._origin, self._cos, self._sin = (x, y, z), cos(yaw), sin(yaw)
        try:
            yield
        finally:
            last = self._instance
            _, self._semantic, self._origin, self._cos, self._sin = outer
            self._instance = last

    def _next_instance(self) -> None:
        self._instance += 1

    def turn(self, a: Vector) -> Vector:
        """A direction of the object's frame, in the room."""
        return a[0] * self._cos + a[2] * self._sin, a[1], a[2] * self._cos - a[0] * self._sin

    def to_room(self, a: Vector) -> Vector:
        """A point of the object's frame, in the room."""
        x, y, z = self.turn(a)
        return x + self._origin[0], y + self._origin[1], z + self._origin[2]

    def box(
        self, centre: Vector, half: Vector, material: Material, *, tilt: float = 0.0, spin: float = 0.0, part: int = 0
    ) -> None:
        """A box, tilted about its x axis and then spun about the vertical."""
        c, s, ct, st = cos(spin), sin(spin), cos(tilt), sin(tilt)
        right = self.turn((c, 0.0, -s))
        up = self.turn((st * s, ct, st * c))
        forward = self.turn((ct * s, -st, ct * c))
        self._add(BOX, (*self.to_room(centre), *right, *up, *forward, *half), 0.0, material, part)

    def capsule(
        self, a: Vector, b: Vector, radius: float, material: Material, *, flat: float = 1.0, part: int = 0
    ) -> None:
        """A capsule between the points ``a`` and ``b``; ``flat`` scales its thickness across the x axis."""
        direction = subtract(b, a)
        length = sqrt(direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2])
        up = self.turn(_unit(direction)) if length > 1e-6 else (0.0, 1.0, 0.0)
        axes = _axes(up, self.turn((1.0, 0.0, 0.0)))
        depth = radius * flat
        centre = self.to_room(middle(a, b))
        self._add(CAPSULE, (*centre, *axes, radius, depth, depth), length / (2.0 * depth), material, part)

    def ellipsoid(
        self, centre: Vector, half: Vector, material: Material, *, up: Vector = (0.0, 1.0, 0.0), part: int = 0
    ) -> None:
        """An ellipsoid whose y axis points along the unit vector ``up``."""
        axes = _axes(self.turn(up), self.turn((1.0, 0.0, 0.0)))
        self._add(CAPSULE, (*self.to_room(centre), *axes, *half), 0.0, material, part)

    def frustum(
        self, a: Vector, b: Vector, radius_a: float, radius_b: float, material: Material, *, part: int = 0
    ) -> None:
        """A solid cone frustum (a cylinder where the radii are equal) from ``a`` to ``b``; ``radius_a`` is not 0."""
        direction = subtract(b, a)
        length = sqrt(direction[0] * direction[0] + direction[1] * direction[1] + direction[2] * direction[2])
        axes = _axes(self.turn(_unit(direction)), self.turn((1.0, 0.0, 0.0)))
        shape = 0.5 * (radius_b / radius_a - 1.0)
        centre = self.to_room(middle(a, b))
        self._add(FRUSTUM, (*centre, *axes, radius_a, length * 0.5, radius_a), shape, material, part)

    def _add(
        self,
        kind: int,
        geometry: tuple[float, ...],
        shape: float,
        material: Material,
        part: int,
        semantic: int | None = None,
        instance: int | None = None,
    ) -> None:
        labels = (
            self._semantic if semantic is None else semantic,
            part,
            self._instance if instance is None else instance,
        )
        texture, size, colour, accent, gloss, emission, seed, substance = material
        look = (texture, size, *colour, *accent, gloss, emission, seed, substance)
        self._rows.append((kind, *geometry, shape, *labels, *look))

    def pack(self) -> Primitives:
        """The primitives so far as arrays."""
        table = np.array(self._rows, dtype=np.float64)
        kinds = table[:, 0]
        columns = table[np.argsort(kinds, kind="stable")].T
        half = columns[13:16]
        rows = columns[4:13].reshape(3, 3, -1) / half[:, None, :]
        counts = [int(np.count_nonzero(kinds < kind)) for kind in range(5)]
        return Primitives(
            kind_start=tuple(counts),
            centre=columns[1:4].astype(np.float32),
            rows=rows.reshape(9, -1).astype(np.float32),
            half=half.astype(np.float32),
            shape=columns[16].astype(np.float32),
            semantic=columns[17].astype(np.int64),
            part=columns[18].astype(np.int64),
            instance=columns[19].astype(np.int64),
            material=columns[20:32].astype(np.float32),
        )
