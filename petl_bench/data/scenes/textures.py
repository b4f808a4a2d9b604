"""Solid textures: how much of the accent colour, in [0, 1], shows at a point of a surface.

A texture sees flat coordinates ``u``, ``v`` [N] in cells, the ``seed`` of the material [N] and two noises: ``coarse``
with a cell of two units and ``fine`` with a quarter of a unit. Only arithmetic that is exact on every machine is used.
"""

from collections.abc import Callable

import numpy as np

from petl_bench.data.scenes.arithmetic import Floats, Ints, lattice_random, value_noise

Texture = Callable[[Floats, Floats, Ints, Floats, Floats], Floats]

_HALF = np.float32(0.5)
_ONE = np.float32(1.0)
_TWO = np.float32(2.0)


def _fraction(x: Floats) -> Floats:
    return x - np.floor(x)


def _triangle(x: Floats) -> Floats:
    """A wave between 0 and 1 with period 1."""
    return np.abs(_fraction(x) * _TWO - _ONE)


def _solid(mask: np.ndarray) -> Floats:
    return mask.astype(np.float32)


def _sharpen(x: Floats, slope: float) -> Floats:
    return np.minimum(np.maximum((x - _HALF) * np.float32(slope) + _HALF, 0), _ONE)


def _plain(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return fine * np.float32(0.12)


def _checker(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return _solid(_fraction((np.floor(u) + np.floor(v)) * _HALF) > np.float32(0.25))


def _stripes(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    across = np.where(seed & 1, u, v)
    return _solid(_fraction(across) < np.where(seed & 2, _HALF, np.float32(0.3)))


def _wood(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    ring = _triangle(v + coarse * np.float32(1.2))
    return ring * np.float32(0.75) + fine * np.float32(0.25)


def _planks(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    row = np.floor(v)
    board = np.floor(u * np.float32(0.2) + row * np.float32(0.37))
    tone = lattice_random(board.astype(np.int64), row.astype(np.int64), seed)
    gap = _fraction(v) < np.float32(0.08)
    return np.where(gap, _ONE, tone * np.float32(0.55) + fine * np.float32(0.3))


def _speckle(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return _solid(fine > np.float32(0.66))


def _brick(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    course = np.floor(v * _TWO)
    along = u + course * _HALF
    mortar = (_fraction(v * _TWO) < np.float32(0.14)) | (_fraction(along) < np.float32(0.08))
    tone = lattice_random(np.floor(along).astype(np.int64), course.astype(np.int64), seed)
    return np.where(mortar, _ONE, tone * np.float32(0.35))


def _tiles(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    grout = (_fraction(u) < np.float32(0.07)) | (_fraction(v) < np.float32(0.07))
    tone = lattice_random(np.floor(u).astype(np.int64), np.floor(v).astype(np.int64), seed)
    return np.where(grout, _ONE, tone * np.float32(0.3))


def _dots(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    x, y = _fraction(u + np.floor(v) * _HALF) - _HALF, _fraction(v) - _HALF
    return _solid(x * x + y * y < np.float32(0.09))


def _marble(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    vein = _triangle(coarse * np.float32(2.5) + fine * np.float32(0.6))
    return _sharpen(vein, 2.2)


def _zigzag(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return _solid(_fraction(v + _triangle(u) * np.float32(0.6)) < _HALF)


def _plaid(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return (_solid(_fraction(u) < np.float32(0.4)) + _solid(_fraction(v) < np.float32(0.4))) * _HALF


def _clouds(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return _sharpen(coarse * np.float32(0.7) + fine * np.float32(0.3), 2.5)


def _patches(u: Floats, v: Floats, seed: Ints, coarse: Floats, fine: Floats) -> Floats:
    return lattice_random(np.floor(u).astype(np.int64), np.floor(v).astype(np.int64), seed)


FAMILIES: dict[str, Texture] = {
    "plain": _plain,
    "checker": _checker,
    "stripes": _stripes,
    "wood": _wood,
    "planks": _planks,
    "speckle": _speckle,
    "brick": _brick,
    "tiles": _tiles,
    "dots": _dots,
    "marble": _marble,
    "zigzag": _zigzag,
    "plaid": _plaid,
    "clouds": _clouds,
    "patches": _patches,
}

TEXTURES = {name: index for index, name in enumerate(FAMILIES)}


def accent_share(local: Floats, normal: Floats, family: Ints, size: Floats, seed: Ints) -> Floats:
    """The share of the accent colour at points of surfaces.

    Args:
        local: the points in their primitive's frame, metres [3, N].
        normal: the normals in that frame [3, N]; the largest component picks the plane the texture lies in.
        family: the texture of each point, as an index into ``FAMILIES`` [N].
        size: metres per cell [N].
        seed: the material's seed [N].
    """
    reach = np.abs(normal)
    facing_x = (reach[0] > reach[1]) & (reach[0] >= reach[2])
    facing_y = ~facing_x & (reach[1] >= reach[2])
    shift = (seed & 63).astype(np.float32) * np.float32(0.37)
    u = np.where(facing_x, local[2], local[0]) / size + shift
    v = np.where(facing_y, local[2], local[1]) / size + shift
    coarse = value_noise(u * np.float32(0.5), v * _HALF, seed)
    fine = value_noise(u * np.float32(4.0), v * np.float32(4.0), seed + 7)
    share = np.zeros_like(u)
    for index, texture in enumerate(FAMILIES.values()):
        chosen = np.flatnonzero(family == index)
        if chosen.size:
            share[chosen] = texture(u[chosen], v[chosen], seed[chosen], coarse[chosen], fine[chosen])
    return share
