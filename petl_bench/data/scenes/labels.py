"""The labels: one small function of the G-buffer each.

There are two sets. The first is rendered always: it depends on the domain. The second, ``FURTHER``, is rendered when a
label of it is asked for, and is the same in both domains.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes import further
from petl_bench.data.scenes.arithmetic import Floats
from petl_bench.data.scenes.gbuffer import FIRST_OBJECT, GBuffer
from petl_bench.data.scenes.palettes import SUBSTANCES as SUBSTANCES
from petl_bench.data.scenes.people import PART_NAMES as PART_NAMES
from petl_bench.data.scenes.target_objects import CLASS
from petl_bench.data.scenes.target_objects import SEMSEG_CLASSES as SEMSEG_CLASSES

_PERSON_FAVOUR = 2
_SECOND_SHARE = 0.35
_EDGE_GAP = np.float32(0.08)


def semseg(g: GBuffer) -> NDArray[np.uint8]:
    """Index into ``SEMSEG_CLASSES``; 0 is the wall, which is the background."""
    return g.semantic.astype(np.uint8)


def human_parts(g: GBuffer) -> NDArray[np.uint8]:
    """Index into ``PART_NAMES``; 0 is everything that is not a person."""
    return g.part.astype(np.uint8)


def saliency(g: GBuffer) -> NDArray[np.uint8]:
    """1 on the one or two objects that stand out.

    An object's score is the sum over its pixels of centrality x nearness, twice that for a person: centrality falls
    from 1 in the middle of the picture to 0.1 in its corners, nearness is 1 / (1 + depth). The best object is salient,
    and the second best if it has more than 0.35 of the best score. Scores are sums of integers, so they are exact.
    """
    size = g.depth.shape[0]
    across = (np.arange(size, dtype=np.float32) * np.float32(2.0) + np.float32(1.0)) / np.float32(size) - np.float32(1)
    square = across * across
    central = np.float32(1.0) - np.float32(0.45) * (square[:, None] + square[None, :])
    weight = (central / (np.float32(1.0) + g.depth) * np.float32(4096.0)).astype(np.int64)
    weight = np.where(g.semantic == CLASS["person"], weight * _PERSON_FAVOUR, weight)
    weight = np.where(g.instance < FIRST_OBJECT, 0, weight)
    score = np.bincount(g.instance.reshape(-1), weights=weight.reshape(-1).astype(np.float64))
    best = int(np.argmax(score))
    top = score[best]
    score[best] = 0.0
    second = int(np.argmax(score))
    salient = (g.instance == best) & (top > 0)
    if score[second] > _SECOND_SHARE * top:
        salient |= g.instance == second
    return salient.astype(np.uint8)


def normals(g: GBuffer) -> NDArray[np.float16]:
    """Unit vectors in camera coordinates (x right, y up, z towards the camera); a horizontal flip negates x."""
    return np.ascontiguousarray(np.moveaxis(g.normal, 0, -1)).astype(np.float16)


def depth(g: GBuffer) -> NDArray[np.float16]:
    """Metres along the optical axis."""
    return g.depth.astype(np.float16)


def edges(g: GBuffer) -> NDArray[np.uint8]:
    """1 on a pixel whose right or lower neighbour belongs to another instance, or lies off its surface.

    A neighbour lies off the surface if each of the two points is further from the tangent plane of the other than 0.08
    of the depth: an arm before the trunk, a hole in a chair.
    """
    edge = np.zeros(g.depth.shape, dtype=np.bool_)
    for first, second in (
        ((slice(None), slice(None, -1)), (slice(None), slice(1, None))),
        ((slice(None, -1), slice(None)), (slice(1, None), slice(None))),
    ):
        differs = g.instance[first] != g.instance[second]
        limit = _EDGE_GAP * np.minimum(g.depth[first], g.depth[second])
        edge[first] |= differs | (_jump(g, first, second) > limit)
    return edge.astype(np.uint8)


def _jump(g: GBuffer, first: tuple[slice, slice], second: tuple[slice, slice]) -> Floats:
    """The smaller of the two distances between a point and its neighbour's tangent plane."""
    step = [g.point[i][second] - g.point[i][first] for i in range(3)]
    gaps: list[Floats] = []
    for where in (first, second):
        n = [g.normal[i][where] for i in range(3)]
        gaps.append(np.abs(n[0] * step[0] + n[1] * step[1] + n[2] * step[2]))
    return np.minimum(gaps[0], gaps[1])


class Label(NamedTuple):
    """How a label is made, and the type and trailing shape of its array."""

    make: Callable[[GBuffer], NDArray[Any]]
    dtype: str
    trailing: tuple[int, ...]


_LABELS: dict[str, Label] = {
    "semseg": Label(semseg, "uint8", ()),
    "human_parts": Label(human_parts, "uint8", ()),
    "saliency": Label(saliency, "uint8", ()),
    "normals": Label(normals, "float16", (3,)),
    "depth": Label(depth, "float16", ()),
    "edges": Label(edges, "uint8", ()),
}

_FURTHER: dict[str, Label] = {
    "albedo": Label(further.albedo, "float16", (3,)),
    "shading": Label(further.shading, "float16", ()),
    "shadow": Label(further.shadow, "uint8", ()),
    "material": Label(further.material, "uint8", ()),
    "boundary_distance": Label(further.boundary_distance, "float16", ()),
    "orientation": Label(further.orientation, "uint8", ()),
    "centres": Label(further.centres, "float16", ()),
    "height": Label(further.height, "float16", ()),
    "curvature": Label(further.curvature, "uint8", ()),
    "layout": Label(further.layout, "uint8", ()),
}

_OF_DOMAIN: dict[str, tuple[str, ...]] = {
    "source": ("depth", "edges"),
    "target": ("semseg", "human_parts", "saliency", "normals", "depth", "edges"),
}

Specification = dict[str, tuple[str, tuple[int, ...]]]
"""The name of each label, with its dtype and what follows [H, W] in its shape."""

LABELS: dict[str, Specification] = {
    domain: {name: (_LABELS[name].dtype, _LABELS[name].trailing) for name in names}
    for domain, names in _OF_DOMAIN.items()
}
"""The first set of each domain."""

FURTHER: Specification = {name: (label.dtype, label.trailing) for name, label in _FURTHER.items()}
"""The second set."""


def make_labels(names: Iterable[str], g: GBuffer) -> dict[str, NDArray[Any]]:
    """The labels of the given names, [H, W, ...] each."""
    known = _LABELS | _FURTHER
    return {name: known[name].make(g) for name in names}
