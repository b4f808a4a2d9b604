"""From hits to colours: albedo, lights, shadows, and the sensor."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import Floats, Ints, hash32
from petl_bench.data.scenes.primitives import Primitives, Vector
from petl_bench.data.scenes.textures import accent_share
from petl_bench.data.scenes.trace import Hits, shadowed
from petl_bench.data.scenes.views import light_view

_ONE = np.float32(1.0)
_BOUNCE = 0.16
"""Half of the share of the lights that the floor throws back on what faces down."""


@dataclass(frozen=True)
class Light:
    """A point light above the room; ``colour`` is the irradiance it gives at the middle of the floor."""

    position: Vector
    colour: Vector


@dataclass(frozen=True)
class Sensor:
    """How colours become bytes: ambient light, exposure, noise in bytes (standard deviation), vignetting."""

    ambient: Vector
    exposure: float
    noise: float
    vignette: float


def albedo_of(primitives: Primitives, hits: Hits, pixel_angle: float) -> Floats:
    """The colour of each hit's surface, without light [3, N]."""
    look = primitives.material[:, hits.primitive]
    family, seed = look[0].astype(np.int64), look[10].astype(np.int64)
    share = accent_share(hits.local, hits.local_normal, family, look[1], seed)
    blur = hits.depth * np.float32(pixel_angle) / look[1]
    sharpness = np.minimum(np.maximum(np.float32(1.6) - blur * np.float32(2.0), 0), _ONE)
    share = np.float32(0.4) + (share - np.float32(0.4)) * sharpness
    return look[2:5] + (look[5:8] - look[2:5]) * share


def shading_of(
    primitives: Primitives, hits: Hits, lights: list[Light], ambient: Vector, height: float
) -> tuple[Floats, NDArray[np.bool_], Floats]:
    """Irradiance [3, N], whether the first light is hidden [N], and the highlight [3, N]."""
    n, p = hits.normal, hits.position
    up = np.float32(0.75) + np.float32(0.25) * n[1]
    low = p[1] / np.float32(height)
    up = up * (np.float32(0.7) + np.float32(0.3) * np.minimum(low * np.float32(4.0), _ONE))
    bounced = (_ONE - n[1]) * np.float32(_BOUNCE)
    shading = np.stack([np.float32(ambient[i]) * up for i in range(3)])
    highlight = np.zeros_like(shading)
    hidden = np.ones(hits.depth.size, dtype=np.bool_)
    for index, light in enumerate(lights):
        for i in range(3):
            shading[i] += np.float32(light.colour[i]) * bounced
        cosine, falloff, gloss = _light_terms(hits, light)
        lit = np.flatnonzero(cosine > 0)
        if lit.size == 0:
            continue
        dark = shadowed(primitives, light_view(light.position, p[:, lit]), hits.primitive[lit])
        if index == 0:
            hidden[lit] = dark
        arriving = np.zeros_like(cosine)
        arriving[lit] = np.where(dark, np.float32(0.0), falloff[lit])
        shine = gloss * primitives.material[8, hits.primitive]
        for i in range(3):
            shading[i] += np.float32(light.colour[i]) * cosine * arriving
            highlight[i] += np.float32(light.colour[i]) * shine * arriving
    return shading, hidden, highlight


def _light_terms(hits: Hits, light: Light) -> tuple[Floats, Floats, Floats]:
    """Cosine of incidence, falloff relative to the middle of the floor, and the highlight's lobe."""
    n, p = hits.normal, hits.position
    x, y, z = (np.float32(light.position[i]) - p[i] for i in range(3))
    square = x * x + y * y + z * z
    inverse = _ONE / np.sqrt(square)
    x, y, z = x * inverse, y * inverse, z * inverse
    cosine = np.maximum(n[0] * x + n[1] * y + n[2] * z, 0)
    lx, ly, lz = light.position
    falloff = np.minimum(np.float32(lx * lx + ly * ly + lz * lz) / square, np.float32(3.0))
    e = hits.towards_eye
    hx, hy, hz = x + e[0], y + e[1], z + e[2]
    half = (n[0] * hx + n[1] * hy + n[2] * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + np.float32(1e-6))
    lobe = np.maximum(half, 0)
    for _ in range(5):
        lobe = lobe * lobe
    return cosine, falloff, lobe


def expose(colour: Floats, sensor: Sensor, size: int, seed: int) -> NDArray[np.uint8]:
    """Radiance [3, N] as an RGB picture [size, size, 3], with a soft shoulder, gamma 2 and sensor noise."""
    across = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size) - np.float32(0.5)
    square = across * across
    radius = (square[:, None] + square[None, :]).reshape(-1)
    gain = np.float32(sensor.exposure) * (_ONE - np.float32(sensor.vignette) * radius)
    x = np.maximum(colour * gain, 0)
    x = x * (_ONE + x * np.float32(0.2)) / (_ONE + x)
    x = np.sqrt(np.minimum(x, _ONE)) * np.float32(255.0)
    x = x + _noise(x.shape[1] * 3, seed).reshape(3, -1) * np.float32(sensor.noise)
    x = np.minimum(np.maximum(x + np.float32(0.5), 0), np.float32(255.0)).astype(np.uint8)
    return np.ascontiguousarray(x.T).reshape(size, size, 3)


def _noise(count: int, seed: int) -> Floats:
    """Nearly normal numbers of mean 0 and standard deviation 1: a sum of four bytes."""
    bits = hash32((np.arange(count, dtype=np.int64) + seed).astype(np.uint32))
    total: Ints = np.zeros(count, dtype=np.int64)
    for shift in (0, 8, 16, 24):
        total += (bits >> np.uint32(shift)) & np.uint32(255)
    return (total.astype(np.float32) - np.float32(510.0)) * np.float32(1.0 / 147.8)
