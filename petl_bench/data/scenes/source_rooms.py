"""Rooms of the source domain: crowded halls, and close-ups of things on a plinth or on the floor."""

from petl_bench.data.scenes.arithmetic import PI, Stream, cos, sin
from petl_bench.data.scenes.layout import Plan
from petl_bench.data.scenes.palettes import SourcePalette
from petl_bench.data.scenes.primitives import SceneBuilder
from petl_bench.data.scenes.room import Room
from petl_bench.data.scenes.shade import Light, Sensor
from petl_bench.data.scenes.source_objects import place
from petl_bench.data.scenes.views import Camera


def source_room(s: Stream) -> Room:
    """A crowded hall, or a close-up."""
    return _hall(s) if s.chance(0.6) else _close_up(s)


def _hall(s: Stream) -> Room:
    half_x, half_z, height = s.uniform(1.8, 4.5), s.uniform(1.8, 4.5), s.uniform(2.4, 4.5)
    angle, share = s.uniform(0.0, 2.0 * PI), s.uniform(0.55, 0.9)
    x, z = sin(angle) * half_x * share, cos(angle) * half_z * share
    yaw = angle + PI + s.uniform(-0.4, 0.4)
    camera = Camera((x, s.uniform(0.5, 2.2), z), yaw, s.uniform(-0.45, 0.05), s.uniform(0.8, 1.45))
    palette = SourcePalette(s)
    b = _room(s, palette, half_x, half_z, height)
    plan = Plan(s, half_x, half_z, camera)
    plan.claim(x, z, 0.6)
    _columns(b, s, palette, plan)
    for _ in range(s.integer(10, 17)):
        size = s.uniform(0.4, 1.5)
        near = 0.7 + size * 0.9
        spot = plan.in_view(size * 0.45, near, near + 3.5) or plan.anywhere(size * 0.45)
        if spot is None:
            continue
        plan.claim(*spot, size * 0.4)
        place(b, s, palette, spot[0], _plinth(b, s, palette, spot[0], spot[1], size), spot[1], size)
    _hangings(b, s, palette, plan)
    return Room(b.pack(), camera, _lights(s, half_x, half_z, height), _sensor(s), height, half_x, half_z)


def _close_up(s: Stream) -> Room:
    half_x, half_z, height = s.uniform(1.5, 3.0), s.uniform(1.5, 3.0), s.uniform(2.2, 3.5)
    angle, far = s.uniform(0.0, 2.0 * PI), s.uniform(0.9, 1.4)
    rise = s.uniform(0.25, 0.9)
    palette = SourcePalette(s)
    b = _room(s, palette, half_x, half_z, height)
    level = s.uniform(0.0, 0.8) if s.chance(0.5) else 0.0
    if level > 0.15:
        with b.thing(0, 0.0, 0.0, 0.0, s.uniform(0.0, PI)):
            b.box((0.0, level * 0.5, 0.0), (s.uniform(0.5, 0.9), level * 0.5, s.uniform(0.5, 0.9)), palette.solid())
    else:
        level = 0.0
    camera = Camera(
        (sin(angle) * far, level + rise, cos(angle) * far),
        angle + PI + s.uniform(-0.15, 0.15),
        -0.85 * (rise - 0.15) / far + s.uniform(-0.1, 0.1),
        s.uniform(0.6, 1.0),
    )
    plan = Plan(s, 0.6, 0.6, camera)
    for _ in range(s.integer(4, 9)):
        size = s.uniform(0.25, 0.65)
        spot = plan.anywhere(size * 0.35)
        if spot and plan.distance_to_camera(*spot) > 0.35 + size:
            plan.claim(*spot, size * 0.35)
            place(b, s, palette, spot[0], level, spot[1], size)
    return Room(b.pack(), camera, _lights(s, half_x, half_z, height), _sensor(s), height, half_x, half_z)


def _room(s: Stream, p: SourcePalette, half_x: float, half_z: float, height: float) -> SceneBuilder:
    b = SceneBuilder(half_x, half_z, height)
    b.faces([p.wall(), p.wall(), p.floor(), p.ceiling(), p.wall(), p.wall()], [0] * 6)
    return b


def _plinth(b: SceneBuilder, s: Stream, p: SourcePalette, x: float, z: float, size: float) -> float:
    """Perhaps a pedestal under an object; returns the height the object stands at."""
    if size > 0.9 or s.chance(0.65):
        return 0.0
    top = s.uniform(0.2, 0.9)
    with b.thing(0, x, 0.0, z, s.uniform(0.0, PI)):
        if s.chance(0.5):
            b.box((0.0, top * 0.5, 0.0), (size * 0.42, top * 0.5, size * 0.42), p.stone())
        else:
            b.frustum((0.0, 0.0, 0.0), (0.0, top, 0.0), size * 0.48, size * 0.42, p.stone())
    return top


def _columns(b: SceneBuilder, s: Stream, p: SourcePalette, plan: Plan) -> None:
    stone = p.stone()
    for _ in range(s.choice((0, 0, 1, 2))):
        radius = s.uniform(0.12, 0.3)
        if spot := plan.in_view(radius, 1.8, 5.0):
            plan.claim(*spot, radius)
            with b.thing(0, spot[0], 0.0, spot[1], s.uniform(0.0, PI)):
                if s.chance(0.5):
                    b.frustum((0.0, 0.0, 0.0), (0.0, b.height, 0.0), radius, radius * s.uniform(0.7, 1.0), stone)
                else:
                    b.box((0.0, b.height * 0.5, 0.0), (radius, b.height * 0.5, radius), stone)


def _hangings(b: SceneBuilder, s: Stream, p: SourcePalette, plan: Plan) -> None:
    """Globes on wires, and shelves high on the walls."""
    for _ in range(s.integer(0, 2)):
        if spot := plan.in_view(0.02, 1.5, 4.5):
            radius, drop = s.uniform(0.1, 0.25), s.uniform(0.4, 1.2)
            with b.thing(0, spot[0], 0.0, spot[1], 0.0):
                b.frustum((0.0, b.height - drop, 0.0), (0.0, b.height, 0.0), 0.012, 0.012, p.stone())
                b.ellipsoid((0.0, b.height - drop, 0.0), (radius, radius * s.uniform(0.6, 1.2), radius), p.solid())
    for _ in range(s.integer(0, 2)):
        x, z, yaw = plan.wall_place(0.15, 0.9)
        level = s.uniform(1.1, 1.7)
        with b.thing(0, x, level, z, yaw):
            b.box((0.0, 0.0, 0.0), (0.6, 0.02, 0.15), p.solid())
        for slot in (-0.35, 0.0, 0.35):
            if s.chance(0.7):
                place(b, s, p, x + cos(yaw) * slot, level + 0.02, z - sin(yaw) * slot, s.uniform(0.2, 0.32))


def _lights(s: Stream, half_x: float, half_z: float, height: float) -> list[Light]:
    """One or two coloured lights, near or far, sometimes low."""
    lights: list[Light] = []
    for share in (1.0,) if s.chance(0.5) else (0.6, 0.5):
        angle, far = s.uniform(0.0, 2.0 * PI), s.uniform(0.3, 7.0)
        level = share * s.uniform(0.7, 1.5)
        colour = (level * s.uniform(0.6, 1.0), level * s.uniform(0.7, 1.0), level * s.uniform(0.6, 1.0))
        position = (sin(angle) * far, height + s.uniform(0.5, 3.0), cos(angle) * far)
        lights.append(Light(position, colour))
    return lights


def _sensor(s: Stream) -> Sensor:
    ambient = s.uniform(0.12, 0.5)
    return Sensor(
        ambient=(ambient * s.uniform(0.85, 1.0), ambient, ambient * s.uniform(0.85, 1.1)),
        exposure=s.uniform(1.0, 2.6),
        noise=s.uniform(0.0, 9.0),
        vignette=s.uniform(0.0, 0.9),
    )
