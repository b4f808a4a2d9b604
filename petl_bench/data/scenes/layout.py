"""Where things may stand: the plan of a room, places along its walls, and places in front of the camera."""

from math import sqrt

from petl_bench.data.scenes.arithmetic import PI, Stream, cos, sin, tan
from petl_bench.data.scenes.views import Camera

Place = tuple[float, float, float]
"""x, z and yaw."""


class Plan:
    """The floor of a room; claimed ground is kept as discs so that things don't overlap."""

    _TRIES = 14

    def __init__(self, stream: Stream, half_x: float, half_z: float, camera: Camera) -> None:
        self._stream = stream
        self.half_x, self.half_z = half_x, half_z
        self.camera = camera
        self._discs: list[tuple[float, float, float]] = []

    def is_free(self, x: float, z: float, radius: float) -> bool:
        """Whether a disc lies inside the room and touches nothing."""
        if abs(x) > self.half_x - radius or abs(z) > self.half_z - radius:
            return False
        return all((x - a) * (x - a) + (z - c) * (z - c) > (radius + r) * (radius + r) for a, c, r in self._discs)

    def distance_to_camera(self, x: float, z: float) -> float:
        """Metres along the floor."""
        dx, dz = x - self.camera.position[0], z - self.camera.position[2]
        return sqrt(dx * dx + dz * dz)

    def claim(self, x: float, z: float, radius: float) -> None:
        """Mark a disc as taken."""
        self._discs.append((x, z, radius))

    def _discs_of(self, x: float, z: float, yaw: float, hx: float, hz: float) -> list[tuple[float, float, float]]:
        """Discs that cover a rectangle of half sides hx, hz."""
        short, long_axis = (hz, hx) if hx > hz else (hx, hz)
        count = max(1, int(long_axis / short + 0.999))
        along_x, along_z = (cos(yaw), -sin(yaw)) if hx > hz else (sin(yaw), cos(yaw))
        step = long_axis / count
        discs: list[tuple[float, float, float]] = []
        for i in range(count):
            offset = -long_axis + step * (2 * i + 1)
            discs.append((x + along_x * offset, z + along_z * offset, short * 1.1))
        return discs

    def claim_rectangle(self, place: Place, hx: float, hz: float) -> bool:
        """Take a rectangle if nothing stands there; the walls are not checked."""
        discs = self._discs_of(*place, hx, hz)
        for x, z, radius in discs:
            if any((x - a) * (x - a) + (z - c) * (z - c) < (radius + r) * (radius + r) for a, c, r in self._discs):
                return False
        self._discs.extend(discs)
        return True

    def in_view(self, radius: float, near: float, far: float) -> tuple[float, float] | None:
        """A free place before the camera, ``near`` to ``far`` metres away, or None."""
        s, camera = self._stream, self.camera
        side = tan(camera.field_of_view * 0.5) * 0.95
        c, n = cos(camera.yaw), sin(camera.yaw)
        for _ in range(self._TRIES):
            ahead = s.uniform(near, far)
            across = s.uniform(-side, side) * ahead
            x = camera.position[0] + n * ahead + c * across
            z = camera.position[2] + c * ahead - n * across
            if self.is_free(x, z, radius):
                return x, z
        return None

    def anywhere(self, radius: float) -> tuple[float, float] | None:
        """A free place on the floor, or None."""
        s = self._stream
        for _ in range(self._TRIES):
            x, z = s.uniform(-self.half_x, self.half_x), s.uniform(-self.half_z, self.half_z)
            if self.is_free(x, z, radius):
                return x, z
        return None

    def wall_place(self, depth: float, margin: float) -> Place:
        """A place ``depth`` from a wall the camera sees, facing into the room; ``margin`` keeps off the corners."""
        s = self._stream
        while True:
            wall = s.integer(0, 3)
            yaw = (PI * 0.5, -PI * 0.5, 0.0, PI)[wall]
            if cos(yaw - self.camera.yaw) < 0.45:
                break
        limit = (self.half_z if wall < 2 else self.half_x) - margin
        slide = s.uniform(-limit, limit) if limit > 0 else 0.0
        x = (-self.half_x + depth, self.half_x - depth, slide, slide)[wall]
        z = (slide, slide, -self.half_z + depth, self.half_z - depth)[wall]
        return x, z, yaw

    def against_wall(self, hx: float, hz: float) -> Place | None:
        """Take a rectangle with its back to a wall that the camera sees, or None."""
        for _ in range(self._TRIES):
            place = self.wall_place(hz + 0.02, hx + 0.05)
            if self.claim_rectangle(place, hx, hz):
                return place
        return None
