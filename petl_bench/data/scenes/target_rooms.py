"""Rooms of the target domain: homes with people in them."""

from petl_bench.data.scenes import target_objects as things
from petl_bench.data.scenes.arithmetic import PI, Stream, cos, sin
from petl_bench.data.scenes.layout import Plan
from petl_bench.data.scenes.palettes import TargetPalette
from petl_bench.data.scenes.people import person, reaching, seated_person, squatting, standing, walking
from petl_bench.data.scenes.primitives import SceneBuilder
from petl_bench.data.scenes.room import Room
from petl_bench.data.scenes.shade import Light, Sensor
from petl_bench.data.scenes.views import Camera


def target_room(s: Stream) -> Room:
    """A living room, bedroom or office, seen at eye height."""
    half_x, half_z, height = s.uniform(1.9, 3.0), s.uniform(2.0, 3.2), s.uniform(2.4, 3.0)
    camera = _camera(s, half_x, half_z)
    palette = TargetPalette(s)
    b = SceneBuilder(half_x, half_z, height)
    plan = Plan(s, half_x, half_z, camera)
    plan.claim(camera.position[0], camera.position[2], 0.5)
    wall = palette.wall()
    walls = [wall if s.chance(0.7) else palette.wall() for _ in range(4)]
    b.faces([walls[0], walls[1], palette.floor(), palette.ceiling(), walls[2], walls[3]], [0, 0, 1, 2, 0, 0])
    _people_in_front(b, s, palette, plan)
    _dining(b, s, palette, plan)
    _along_walls(b, s, palette, plan)
    _clutter(b, s, palette, plan)
    _people_behind(b, s, palette, plan)
    return Room(b.pack(), camera, _lights(s, half_x, half_z, height), _sensor(s), height, half_x, half_z)


def _camera(s: Stream, half_x: float, half_z: float) -> Camera:
    x, z = s.uniform(-0.75, 0.75) * half_x, -half_z + s.uniform(0.25, 0.7)
    yaw = -0.45 * x / half_x + s.uniform(-0.45, 0.45)
    return Camera((x, s.uniform(1.0, 1.8), z), yaw, s.uniform(-0.34, 0.0), s.uniform(0.9, 1.3))


def _lights(s: Stream, half_x: float, half_z: float, height: float) -> list[Light]:
    """A ceiling light and now and then a window."""
    warmth, level = s.uniform(0.7, 1.0), s.uniform(0.8, 1.3)
    colour = (level, level * (0.5 + 0.5 * warmth), level * warmth)
    above = (s.uniform(-0.6, 0.6) * half_x, height + s.uniform(0.8, 2.0), s.uniform(-0.6, 0.5) * half_z)
    if s.chance(0.5):
        return [Light(above, colour)]
    angle, far = s.uniform(0.0, 2.0 * PI), s.uniform(5.0, 9.0)
    window = (sin(angle) * far, height + s.uniform(1.0, 4.0), cos(angle) * far)
    day = s.uniform(0.5, 1.2)
    r, g, b = colour
    return [Light(window, (day * 0.9, day * 0.95, day)), Light(above, (r * 0.5, g * 0.5, b * 0.5))]


def _sensor(s: Stream) -> Sensor:
    ambient = s.uniform(0.25, 0.5)
    return Sensor(
        ambient=(ambient, ambient * s.uniform(0.92, 1.0), ambient * s.uniform(0.85, 1.05)),
        exposure=s.uniform(0.9, 1.7),
        noise=s.uniform(1.0, 6.0),
        vignette=s.uniform(0.0, 0.6),
    )


def _people_in_front(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    for _ in range(s.choice((1, 1, 2, 2, 2, 3))):
        spot = plan.in_view(0.3, 1.4, 2.7)
        if spot:
            plan.claim(spot[0], spot[1], 0.3)
            pose = s.choice((standing, standing, walking, walking, reaching, reaching, squatting))(s)
            person(b, s, p, spot[0], spot[1], _facing(s, plan, *spot), pose)


def _people_behind(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    for _ in range(s.choice((0, 1, 1))):
        spot = plan.in_view(0.28, 2.0, 4.5)
        if spot:
            plan.claim(spot[0], spot[1], 0.28)
            pose = s.choice((standing, walking, reaching))(s)
            person(b, s, p, spot[0], spot[1], _facing(s, plan, *spot), pose)


def _facing(s: Stream, plan: Plan, x: float, z: float) -> float:
    """Any direction, but not into a wall at arm's length."""
    yaw = s.uniform(0.0, 2.0 * PI)
    reach_x, reach_z = x + 0.75 * sin(yaw), z + 0.75 * cos(yaw)
    return yaw + PI if abs(reach_x) > plan.half_x or abs(reach_z) > plan.half_z else yaw


def _dining(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    """A table with chairs, some of them taken, and something on it."""
    hx, hz = s.uniform(0.45, 0.8), s.uniform(0.35, 0.5)
    spot = plan.in_view(0.75, 1.8, 4.2) or plan.in_view(0.65, 1.6, 4.5)
    if spot is None:
        return
    x, z = spot
    yaw = s.uniform(0.0, PI)
    top = things.table(b, s, p, x, z, yaw, hx, hz)
    plan.claim_rectangle((x, z, yaw), hx, hz)
    for side in (1.0, -1.0):
        for slot in (-0.5, 0.5) if hx > 0.6 else (0.0,):
            away, across = side * (hz + s.uniform(0.1, 0.3)), slot * hx
            cx, cz = x + cos(yaw) * across + sin(yaw) * away, z - sin(yaw) * across + cos(yaw) * away
            if s.chance(0.7) and _clear_seat(plan, cx, cz):
                facing = yaw + (PI if side > 0 else 0.0)
                things.chair(b, s, p, cx, cz, facing)
                if s.chance(0.35):
                    seated_person(b, s, p, cx, cz, facing)
                plan.claim(cx, cz, 0.25)
    _on_top(b, s, p, x, top, z, hx * 0.7)


def _clear_seat(plan: Plan, x: float, z: float) -> bool:
    return abs(x) < plan.half_x - 0.3 and abs(z) < plan.half_z - 0.3 and plan.is_free(x, z, 0.02)


def _on_top(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, reach: float) -> None:
    """Small things on a table or a cabinet."""
    kind = s.integer(0, 4)
    dx = s.uniform(-0.5, 0.5) * reach
    if kind == 0:
        things.lamp(b, s, p, x, y, z, s.uniform(0.4, 0.6))
    elif kind == 1:
        things.plant(b, s, p, x, y, z, s.uniform(0.4, 0.65))
    elif kind == 2:
        things.ball(b, s, p, x + dx, y, z, s.uniform(0.1, 0.16))
    elif kind == 3:
        things.carton(b, s, p, x, y, z, s.uniform(0.13, 0.2))


def _along_walls(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    if s.chance(0.9):
        _rest(b, s, p, plan)
    for _ in range(s.integer(1, 2)):
        hx, hz = s.uniform(0.35, 0.65), s.uniform(0.2, 0.28)
        place = plan.against_wall(hx, hz)
        if place:
            height = things.cabinet(b, s, p, *place, hx, hz)
            if height < 1.2:
                _on_top(b, s, p, place[0], height, place[1], 0.2)
    for _ in range(s.integer(2, 4)):
        x, z, yaw = plan.wall_place(0.0, 0.7)
        if plan.claim_rectangle((x, z, yaw), 0.5, 0.05):
            things.picture(b, s, p, x, s.uniform(1.45, 1.8), z, yaw)


def _rest(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    """A bed or a sofa, perhaps with somebody on it."""
    if s.chance(0.5):
        hx, hz = s.uniform(0.5, 0.85), s.uniform(0.95, 1.05)
        place = plan.against_wall(hx, hz)
        if place:
            things.bed(b, s, p, *place, hx, hz)
        return
    hx, hz = s.uniform(0.75, 1.05), s.uniform(0.42, 0.5)
    place = plan.against_wall(hx, hz)
    if place:
        x, z, yaw = place
        things.sofa(b, s, p, x, z, yaw, hx, hz)
        for side in (-0.42, 0.42):
            if s.chance(0.35):
                seated_person(b, s, p, x + cos(yaw) * side * hx, z - sin(yaw) * side * hx, yaw)


def _clutter(b: SceneBuilder, s: Stream, p: TargetPalette, plan: Plan) -> None:
    for _ in range(s.integer(1, 2)):
        radius = s.uniform(0.14, 0.34)
        if spot := plan.in_view(radius, 1.4, 4.0):
            plan.claim(*spot, radius)
            things.ball(b, s, p, spot[0], 0.0, spot[1], radius)
    for _ in range(s.integer(1, 2)):
        half = s.uniform(0.18, 0.34)
        if spot := plan.in_view(half * 1.4, 1.5, 4.2):
            plan.claim(*spot, half * 1.4)
            height = things.carton(b, s, p, spot[0], 0.0, spot[1], half)
            if half > 0.26 and s.chance(0.4):
                things.carton(b, s, p, spot[0], height, spot[1], half * 0.65)
    for _ in range(s.integer(1, 2)):
        height = s.uniform(0.8, 1.6)
        if spot := plan.in_view(0.3, 1.6, 4.8):
            plan.claim(*spot, 0.3)
            things.plant(b, s, p, spot[0], 0.0, spot[1], height)
    if spot := plan.in_view(0.3, 1.6, 4.8):
        plan.claim(*spot, 0.3)
        things.lamp(b, s, p, spot[0], 0.0, spot[1], s.uniform(1.3, 1.75))
    if s.chance(0.55) and (spot := plan.in_view(0.02, 1.8, 4.0)):
        things.hanging_lamp(b, s, p, *spot)
