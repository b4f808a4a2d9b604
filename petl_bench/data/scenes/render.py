"""One picture with its labels, from its key."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from petl_bench.data.scenes.arithmetic import Floats, Stream
from petl_bench.data.scenes.gbuffer import GBuffer
from petl_bench.data.scenes.labels import FURTHER, LABELS, make_labels
from petl_bench.data.scenes.room import Room
from petl_bench.data.scenes.shade import albedo_of, expose, shading_of
from petl_bench.data.scenes.source_rooms import source_room
from petl_bench.data.scenes.target_rooms import target_room
from petl_bench.data.scenes.trace import Hits, nearest
from petl_bench.data.scenes.version import SCENES_VERSION
from petl_bench.data.scenes.views import camera_view

DOMAINS: dict[str, Callable[[Stream], Room]] = {"source": source_room, "target": target_room}
SPLITS = ("train", "val", "test")
MIN_SIZE, MAX_SIZE = 8, 1024


@dataclass(frozen=True)
class Picture:
    """A picture and its labels.

    Attributes:
        image: RGB [size, size, 3], uint8.
        labels: by name, as ``labels.LABELS`` says for the domain and ``labels.FURTHER`` for both.
    """

    image: NDArray[np.uint8]
    labels: dict[str, NDArray[Any]]


def render(domain: str, split: str, index: int, size: int, labels: Iterable[str] | None = None) -> Picture:
    """Render one picture.

    The room depends on ``domain``, ``split`` and ``index`` alone; ``size`` is the resolution it is seen at.

    Args:
        domain: ``"source"`` or ``"target"``.
        split: ``"train"``, ``"val"`` or ``"test"``.
        index: any number from 0 on.
        size: height and width in pixels.
        labels: the names of those that are made; default: the first set of the domain.

    Raises:
        ValueError: if an argument is not allowed.
    """
    check_key(domain, split, index, size)
    names = LABELS[domain] if labels is None else check_labels(domain, labels)
    key = (SCENES_VERSION, list(DOMAINS).index(domain), SPLITS.index(split), index)
    stream = Stream(*key)
    room = DOMAINS[domain](stream)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        g, image = look(room, size, stream.integer(0, 2**31))
    return Picture(image, make_labels(names, g))


def render_many(domain: str, split: str, indices: Sequence[int], size: int) -> list[Picture]:
    """``render`` for each of ``indices``."""
    return [render(domain, split, index, size) for index in indices]


def check_key(domain: str, split: str, index: int, size: int) -> None:
    """Raise ValueError unless the arguments name a picture."""
    if domain not in DOMAINS:
        raise ValueError(f"domain {domain!r} does not exist; choose one of {', '.join(DOMAINS)}")
    if split not in SPLITS:
        raise ValueError(f"split {split!r} does not exist; choose one of {', '.join(SPLITS)}")
    if index < 0:
        raise ValueError(f"index must be 0 or more, got {index}")
    if not MIN_SIZE <= size <= MAX_SIZE:
        raise ValueError(f"size must be from {MIN_SIZE} to {MAX_SIZE} pixels, got {size}")


def check_labels(domain: str, names: Iterable[str]) -> tuple[str, ...]:
    """The names, if the domain has all of these labels.

    Raises:
        ValueError: it lacks one.
    """
    known, asked = (*LABELS[domain], *FURTHER), tuple(names)
    for name in asked:
        if name not in known:
            raise ValueError(f"the domain {domain!r} has no label {name!r}; choose from {', '.join(known)}")
    return asked


def look(room: Room, size: int, seed: int) -> tuple[GBuffer, NDArray[np.uint8]]:
    """See a room: what is known of each pixel, and the picture [size, size, 3]; ``seed`` is that of the noise."""
    primitives, camera = room.primitives, room.camera
    hits = nearest(primitives, camera_view(camera, size), room.half_x, room.height, room.half_z)
    angle = camera.pixel_angle(size)
    albedo = albedo_of(primitives, hits, angle)
    shading, hidden, highlight = shading_of(primitives, hits, room.lights, room.sensor.ambient, room.height)
    glow = primitives.material[9, hits.primitive]
    colour = albedo * (shading + glow) + highlight

    def image_of(values: NDArray[Any]) -> NDArray[Any]:
        return values.reshape(*values.shape[:-1], size, size)

    g = GBuffer(
        room=room,
        hits=hits,
        instance=image_of(primitives.instance[hits.primitive]),
        semantic=image_of(primitives.semantic[hits.primitive]),
        part=image_of(primitives.part[hits.primitive]),
        primitive=image_of(hits.primitive),
        texture=image_of(primitives.material[0, hits.primitive].astype(np.int64)),
        depth=image_of(hits.depth),
        normal=image_of(_to_camera(room, hits.normal)),
        point=image_of(_points(room, hits)),
        height=image_of(hits.position[1]),
        albedo=image_of(albedo),
        shading=image_of(shading),
        shadow=image_of(hidden),
    )
    return g, expose(colour, room.sensor, size, seed)


def _to_camera(room: Room, v: Floats) -> Floats:
    """Directions of the room [3, N] in camera coordinates: x right, y up, z towards the camera."""
    right, up, forward = room.camera.axes()
    axes = (right, up, (-forward[0], -forward[1], -forward[2]))
    return np.stack([v[0] * np.float32(a[0]) + v[1] * np.float32(a[1]) + v[2] * np.float32(a[2]) for a in axes])


def _points(room: Room, hits: Hits) -> Floats:
    offset = np.array(room.camera.position, dtype=np.float32)[:, None]
    return _to_camera(room, hits.position - offset)
