"""The furniture of the target domain: tables, chairs, cabinets, lamps, plants, beds, sofas, balls, cartons, pictures.

Each function builds one object standing at (x, y, z), facing along z of its own frame after ``yaw``.
"""

from petl_bench.data.scenes.arithmetic import PI, Stream, cos, sin
from petl_bench.data.scenes.palettes import TargetPalette
from petl_bench.data.scenes.primitives import SceneBuilder

SEMSEG_CLASSES = (
    "wall",
    "floor",
    "ceiling",
    "table",
    "chair",
    "cabinet",
    "lamp",
    "plant",
    "bed",
    "ball",
    "carton",
    "picture",
    "person",
)
CLASS = {name: index for index, name in enumerate(SEMSEG_CLASSES)}
SEAT_HEIGHT = 0.45


def table(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float, hx: float, hz: float) -> float:
    """A table of half width hx and half depth hz; returns the height of its top."""
    top = s.uniform(0.68, 0.78)
    board, leg = p.wood(), p.wood()
    with b.thing(CLASS["table"], x, 0.0, z, yaw):
        if s.chance(0.25):
            radius = hx if hx < hz else hz
            b.frustum((0.0, top - 0.05, 0.0), (0.0, top, 0.0), radius, radius, board)
            b.frustum((0.0, 0.05, 0.0), (0.0, top - 0.05, 0.0), 0.06, 0.06, leg)
            b.frustum((0.0, 0.0, 0.0), (0.0, 0.05, 0.0), radius * 0.6, 0.1, leg)
            return top
        b.box((0.0, top - 0.03, 0.0), (hx, 0.03, hz), board)
        if s.chance(0.4):
            b.box((-hx + 0.06, top * 0.5 - 0.03, 0.0), (0.03, top * 0.5 - 0.03, hz - 0.05), leg)
            b.box((hx - 0.06, top * 0.5 - 0.03, 0.0), (0.03, top * 0.5 - 0.03, hz - 0.05), leg)
            return top
        for sx in (-1.0, 1.0):
            for sz in (-1.0, 1.0):
                b.box((sx * (hx - 0.06), top * 0.5 - 0.03, sz * (hz - 0.06)), (0.035, top * 0.5 - 0.03, 0.035), leg)
    return top


def chair(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float) -> None:
    """A chair, stool-legged or on a swivel, facing along z."""
    seat, frame = (p.fabric() if s.chance(0.6) else p.wood()), (p.wood() if s.chance(0.6) else p.metal())
    half, back = s.uniform(0.21, 0.25), s.uniform(0.42, 0.55)
    with b.thing(CLASS["chair"], x, 0.0, z, yaw):
        b.box((0.0, SEAT_HEIGHT - 0.035, 0.0), (half, 0.035, half), seat)
        b.box((0.0, SEAT_HEIGHT + back * 0.55, -half), (half, back * 0.45, 0.025), seat, tilt=-0.12)
        if s.chance(0.3):
            b.frustum((0.0, 0.05, 0.0), (0.0, SEAT_HEIGHT - 0.07, 0.0), 0.03, 0.03, frame)
            b.frustum((0.0, 0.0, 0.0), (0.0, 0.06, 0.0), half * 1.1, 0.05, frame)
            return
        for sx in (-1.0, 1.0):
            for sz in (-1.0, 1.0):
                foot = (sx * half * 0.95, 0.0, sz * half * 0.95)
                b.frustum(foot, (sx * half * 0.85, SEAT_HEIGHT - 0.07, sz * half * 0.85), 0.022, 0.026, frame)


def cabinet(
    b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float, hx: float, hz: float
) -> float:
    """A chest, wardrobe or open shelf; returns its height."""
    body, front = p.wood(), p.wood()
    height = s.choice((s.uniform(0.7, 1.0), s.uniform(1.6, 2.0)))
    with b.thing(CLASS["cabinet"], x, 0.0, z, yaw):
        rows = 2 if height < 1.2 else 4
        if s.chance(0.35):
            b.box((0.0, height * 0.5, -hz + 0.02), (hx, height * 0.5, 0.02), body)
            for sx in (-1.0, 1.0):
                b.box((sx * (hx - 0.02), height * 0.5, 0.0), (0.02, height * 0.5, hz), body)
            for level in range(rows + 1):
                b.box((0.0, 0.03 + level * (height - 0.06) / rows, 0.0), (hx, 0.03, hz), front)
            return height
        b.box((0.0, height * 0.5, 0.0), (hx, height * 0.5, hz), body)
        columns = 2 if hx > 0.4 else 1
        for row in range(rows if s.chance(0.6) else 1):
            tall = height / rows
            for column in range(columns):
                wide = hx / columns
                middle_x = -hx + wide * (2 * column + 1)
                b.box((middle_x, tall * (row + 0.5), hz), (wide - 0.02, tall * 0.5 - 0.02, 0.012), front)
    return height


def lamp(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, height: float) -> None:
    """A standing or table lamp with a shade."""
    width = s.uniform(0.15, 0.2) * (0.6 + height * 0.5)
    shade = p.glow() if s.chance(0.6) else p.fabric()
    pole = p.metal()
    tall = width * s.uniform(1.1, 1.6)
    with b.thing(CLASS["lamp"], x, y, z, 0.0):
        b.frustum((0.0, 0.0, 0.0), (0.0, 0.03, 0.0), width * 0.7, width * 0.6, pole)
        b.frustum((0.0, 0.03, 0.0), (0.0, height - tall, 0.0), 0.018, 0.018, pole)
        if s.chance(0.2):
            b.ellipsoid((0.0, height - width, 0.0), (width, width, width), shade)
        else:
            b.frustum((0.0, height - tall, 0.0), (0.0, height, 0.0), width, width * s.uniform(0.45, 0.9), shade)


def hanging_lamp(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float) -> None:
    """A lamp that hangs from the ceiling."""
    width, drop = s.uniform(0.2, 0.32), s.uniform(0.35, 0.6)
    shade = p.glow() if s.chance(0.7) else p.fabric()
    top = b.height
    with b.thing(CLASS["lamp"], x, 0.0, z, 0.0):
        b.frustum((0.0, top - drop + 0.2, 0.0), (0.0, top, 0.0), 0.012, 0.012, p.metal())
        if s.chance(0.5):
            b.frustum((0.0, top - drop, 0.0), (0.0, top - drop + 0.22, 0.0), width, width * 0.4, shade)
        else:
            b.ellipsoid((0.0, top - drop + 0.1, 0.0), (width, width * 0.7, width), shade)


def plant(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, height: float) -> None:
    """A pot with upright leaves, a bush or a small tree."""
    leaf, pot = p.leaf(), p.pottery()
    width = height * s.uniform(0.15, 0.2)
    pot_height = height * 0.28
    with b.thing(CLASS["plant"], x, y, z, s.uniform(0.0, 6.28)):
        b.frustum((0.0, 0.0, 0.0), (0.0, pot_height, 0.0), width * 0.75, width, pot)
        if s.chance(0.5):
            count = s.integer(6, 9)
            for i in range(count):
                angle = 2.0 * PI * i / count + s.uniform(-0.3, 0.3)
                lean = s.uniform(0.15, 0.6)
                up = (sin(lean) * cos(angle), cos(lean), sin(lean) * sin(angle))
                reach = height * s.uniform(0.28, 0.38)
                centre = (up[0] * reach, pot_height + up[1] * reach, up[2] * reach)
                b.ellipsoid(centre, (reach * 0.25, reach, reach * 0.12), leaf, up=up)
            return
        b.frustum((0.0, pot_height, 0.0), (0.0, height * 0.6, 0.0), width * 0.16, width * 0.12, p.wood())
        for _ in range(s.integer(3, 5)):
            size = height * s.uniform(0.14, 0.2)
            centre = (s.uniform(-0.6, 0.6) * size, height * s.uniform(0.55, 0.82), s.uniform(-0.6, 0.6) * size)
            b.ellipsoid(centre, (size, size * 0.9, size), leaf)


def bed(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float, hx: float, hz: float) -> None:
    """A bed with its head at -z, a blanket and pillows."""
    frame, sheet, blanket, pillow = p.wood(), p.fabric(), p.fabric(), p.fabric()
    with b.thing(CLASS["bed"], x, 0.0, z, yaw):
        b.box((0.0, 0.17, 0.0), (hx, 0.12, hz), frame)
        b.box((0.0, 0.36, 0.0), (hx - 0.03, 0.09, hz - 0.03), sheet)
        b.box((0.0, 0.40, hz * 0.25), (hx - 0.01, 0.08, hz * 0.72), blanket)
        b.box((0.0, 0.5, -hz), (hx, s.uniform(0.4, 0.55), 0.04), frame)
        for sx in (-0.5, 0.5) if hx > 0.6 else (0.0,):
            b.ellipsoid((sx * hx, 0.5, -hz * 0.75), (hx * 0.4 if sx else hx * 0.7, 0.09, 0.2), pillow)


def sofa(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float, hx: float, hz: float) -> None:
    """A sofa facing along z; it counts as a bed."""
    cover, cushion = p.fabric(), p.fabric()
    with b.thing(CLASS["bed"], x, 0.0, z, yaw):
        b.box((0.0, 0.2, 0.0), (hx, 0.2, hz), cover)
        b.box((0.0, 0.55, -hz + 0.1), (hx, 0.3, 0.1), cover)
        for sx in (-1.0, 1.0):
            b.box((sx * (hx - 0.09), 0.42, 0.0), (0.09, 0.2, hz), cover)
            b.box((sx * hx * 0.42, 0.42, 0.08), (hx * 0.38, 0.06, hz - 0.1), cushion)


def ball(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, radius: float) -> None:
    """A ball."""
    with b.thing(CLASS["ball"], x, y, z, s.uniform(0.0, 6.28)):
        lean = s.uniform(-0.8, 0.8)
        b.ellipsoid((0.0, radius, 0.0), (radius, radius, radius), p.toy(), up=(sin(lean), cos(lean), 0.0))


def carton(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, half: float) -> float:
    """A carton, taped shut or with open flaps; returns its height."""
    board = p.cardboard()
    hx, hz, hy = half, half * s.uniform(0.65, 1.0), half * s.uniform(0.55, 1.0)
    with b.thing(CLASS["carton"], x, y, z, s.uniform(0.0, 6.28)):
        b.box((0.0, hy, 0.0), (hx, hy, hz), board)
        if s.chance(0.4):
            for side in (-1.0, 1.0):
                b.box((0.0, 2.0 * hy + hz * 0.25, side * hz * 1.2), (hx, 0.008, hz * 0.35), board, tilt=-side * 0.9)
    return 2.0 * hy


def picture(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, y: float, z: float, yaw: float) -> None:
    """A framed picture on a wall, facing along z."""
    hx, hy = s.uniform(0.25, 0.6), s.uniform(0.25, 0.45)
    with b.thing(CLASS["picture"], x, y, z, yaw):
        b.box((0.0, 0.0, 0.02), (hx, hy, 0.02), p.wood())
        b.box((0.0, 0.0, 0.03), (hx - 0.05, hy - 0.05, 0.02), p.painting())
