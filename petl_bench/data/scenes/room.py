"""What a layout hands to the renderer."""

from dataclasses import dataclass

from petl_bench.data.scenes.primitives import Primitives
from petl_bench.data.scenes.shade import Light, Sensor
from petl_bench.data.scenes.views import Camera


@dataclass(frozen=True)
class Room:
    """A room, its camera, lights and sensor; half extents along x and z, and the height, in metres."""

    primitives: Primitives
    camera: Camera
    lights: list[Light]
    sensor: Sensor
    height: float
    half_x: float
    half_z: float
