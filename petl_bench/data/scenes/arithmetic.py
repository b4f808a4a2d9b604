"""Arithmetic that gives the same bits on every machine: sine and cosine, keyed random numbers, lattice noise.

``math.sin`` and numpy's float32 ``sin``, ``exp`` and ``**`` differ in their last bits between machines; IEEE 754
guarantees ``+ - * /`` and ``sqrt``.
"""

from collections.abc import Sequence
from math import floor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Floats = NDArray[np.floating[Any]]
"""float32 at run time; numpy's type stubs lose the width in mixed expressions."""
Ints = NDArray[np.int64]

PI = 3.141592653589793


def sin(x: float) -> float:
    """Sine of ``x`` radians, within 1e-8."""
    x -= 2.0 * PI * floor(x / (2.0 * PI) + 0.5)
    if x > PI / 2.0:
        x = PI - x
    elif x < -PI / 2.0:
        x = -PI - x
    y = x * x
    poly = -1.0 / 39916800.0
    for coefficient in (1.0 / 362880.0, -1.0 / 5040.0, 1.0 / 120.0, -1.0 / 6.0, 1.0):
        poly = poly * y + coefficient
    return x * poly


def cos(x: float) -> float:
    """Cosine of ``x`` radians, within 1e-8."""
    return sin(x + PI / 2.0)


def tan(x: float) -> float:
    """Tangent of ``x`` radians."""
    return sin(x) / cos(x)


class Stream:
    """A stream of random numbers that depends on its integer key alone."""

    _BLOCK = 512

    def __init__(self, *key: int) -> None:
        self._bits = np.random.PCG64(list(key))
        self._buffer: list[int] = []

    def raw(self) -> int:
        """The next 64 random bits."""
        if not self._buffer:
            self._buffer = self._bits.random_raw(self._BLOCK).tolist()
        return self._buffer.pop()

    def uniform(self, low: float, high: float) -> float:
        """A number in [low, high)."""
        return low + (high - low) * ((self.raw() >> 11) * (1.0 / 9007199254740992.0))

    def integer(self, low: int, high: int) -> int:
        """An integer in [low, high], both ends included."""
        return low + (self.raw() >> 11) % (high - low + 1)

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform(0.0, 1.0) < probability

    def choice(self, items: Sequence[T]) -> T:
        """One of ``items``."""
        return items[(self.raw() >> 11) % len(items)]

    def sign(self) -> float:
        """-1 or 1."""
        return 1.0 if self.raw() >> 63 else -1.0


def hash32(x: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """Mix 32-bit integers; every output bit depends on every input bit."""
    x = x ^ (x >> np.uint32(16))
    x = x * np.uint32(0x7FEB352D)
    x = x ^ (x >> np.uint32(15))
    x = x * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def lattice_random(ix: Ints, iy: Ints, seed: Ints) -> Floats:
    """A random number in [0, 1) for every lattice point ``(ix, iy)`` of the lattice ``seed``."""
    key = ix * 73856093 + iy * 19349663 + seed * 83492791
    return (hash32(key.astype(np.uint32)) >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / 16777216.0)


def value_noise(u: Floats, v: Floats, seed: Ints) -> Floats:
    """Smooth noise in [0, 1) with one lattice cell per unit of ``u`` and ``v`` [N]."""
    fu, fv = np.floor(u), np.floor(v)
    iu, iv = fu.astype(np.int64), fv.astype(np.int64)
    su, sv = u - fu, v - fv
    su = su * su * (np.float32(3.0) - su - su)
    sv = sv * sv * (np.float32(3.0) - sv - sv)
    corner = iu * 73856093 + iv * 19349663 + seed * 83492791
    keys = np.concatenate((corner, corner + 73856093, corner + 19349663, corner + 73856093 + 19349663))
    values = (hash32(keys.astype(np.uint32)) >> np.uint32(8)).astype(np.float32) * np.float32(1.0 / 16777216.0)
    a, b, c, d = values.reshape(4, -1)
    low = a + (b - a) * su
    high = c + (d - c) * su
    return low + (high - low) * sv
