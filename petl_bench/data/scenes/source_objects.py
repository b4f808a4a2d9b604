"""The objects of the source domain: animals, cranes, stairs, barrels, cacti, mushrooms and other things not of a home.

Each function builds one object of about the given ``size`` (metres, its largest extent) standing at (x, y, z).
"""

from collections.abc import Callable

from petl_bench.data.scenes.arithmetic import PI, Stream, cos, sin
from petl_bench.data.scenes.palettes import SourcePalette
from petl_bench.data.scenes.primitives import SceneBuilder, Vector, along

Maker = Callable[[SceneBuilder, Stream, SourcePalette, float], None]
"""Builds an object at the origin of the frame that is open in the builder."""


def animal(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Four legs, a trunk, a neck, a muzzle, a tail."""
    coat, dark = p.hide(), p.hide()
    length, leg = size * 0.5, size * s.uniform(0.28, 0.5)
    girth = size * s.uniform(0.10, 0.17)
    back = leg + girth * 0.6
    b.capsule((0.0, back, -length * 0.5), (0.0, back, length * 0.5), girth, coat)
    for sx in (-1.0, 1.0):
        for sz in (-1.0, 1.0):
            hip: Vector = (sx * girth * 0.65, back - girth * 0.3, sz * length * 0.48)
            swing = s.uniform(-0.4, 0.4)
            knee = along(hip, (0.0, -cos(swing), sin(swing)), leg * 0.5)
            b.capsule(hip, knee, girth * 0.36, coat)
            b.capsule(knee, (knee[0], girth * 0.25, knee[2] - swing * leg * 0.3), girth * 0.26, dark)
    rise = s.uniform(0.3, 1.2)
    neck: Vector = (0.0, back + girth * 0.4, length * 0.55)
    head = along(neck, (0.0, sin(rise), cos(rise)), size * s.uniform(0.18, 0.3))
    b.capsule(neck, head, girth * 0.5, coat)
    b.ellipsoid(head, (girth * 0.6, girth * 0.62, girth * 0.7), coat)
    b.capsule(head, (0.0, head[1] - girth * 0.3, head[2] + girth * 1.1), girth * 0.3, dark)
    for sx in (-1.0, 1.0):
        tip = (sx * girth * 0.5, head[1] + girth * 0.95, head[2] - girth * 0.1)
        b.capsule((sx * girth * 0.4, head[1] + girth * 0.4, head[2]), tip, girth * 0.16, dark)
    root: Vector = (0.0, back + girth * 0.3, -length * 0.6)
    b.capsule(root, along(root, (0.0, s.uniform(-0.7, 0.8), -0.7), size * 0.2), girth * 0.15, dark)


def crane(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A jointed arm on a base."""
    paint, joint = p.plastic(), p.stone()
    b.frustum((0.0, 0.0, 0.0), (0.0, size * 0.12, 0.0), size * 0.24, size * 0.16, joint)
    point: Vector = (0.0, size * 0.12, 0.0)
    angle = s.uniform(-0.4, 0.6)
    for reach, radius in ((0.42, 0.055), (0.36, 0.042), (0.2, 0.03)):
        tip = along(point, (0.0, cos(angle), sin(angle)), size * reach)
        b.capsule(point, tip, size * radius, paint)
        b.ellipsoid(tip, (size * radius * 1.5, size * radius * 1.5, size * radius * 1.5), joint)
        point = tip
        angle += s.uniform(0.5, 1.1)


def stairs(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Steps that rise along z."""
    stone, tread = p.stone(), p.solid()
    count = s.integer(3, 5)
    rise, run, half = size * 0.6 / count, size / count, size * s.uniform(0.2, 0.4)
    for i in range(count):
        z = -size * 0.5 + run * (i + 0.5)
        b.box((0.0, rise * (i + 1) * 0.5, z), (half, rise * (i + 1) * 0.5, run * 0.5), stone if i % 2 else tread)


def barrel(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Two frusta with hoops."""
    body, hoop = p.solid(), p.plastic()
    r, h = size * 0.3, size
    b.frustum((0.0, h * 0.5, 0.0), (0.0, 0.0, 0.0), r, r * 0.78, body)
    b.frustum((0.0, h * 0.5, 0.0), (0.0, h, 0.0), r, r * 0.78, body)
    for y in (0.2, 0.8):
        b.frustum((0.0, h * (y - 0.03), 0.0), (0.0, h * (y + 0.03), 0.0), r * 0.95, r * 0.95, hoop)


def cactus(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A column with bent arms."""
    skin = p.solid()
    r = size * s.uniform(0.09, 0.13)
    b.capsule((0.0, 0.0, 0.0), (0.0, size - r, 0.0), r, skin)
    for side in (-1.0, 1.0):
        low, out = size * s.uniform(0.25, 0.55), side * size * s.uniform(0.2, 0.28)
        b.capsule((0.0, low, 0.0), (out, low, 0.0), r * 0.7, skin)
        b.capsule((out, low, 0.0), (out, low + size * s.uniform(0.15, 0.3), 0.0), r * 0.7, skin)


def mushroom(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A stem with a cap."""
    b.frustum((0.0, 0.0, 0.0), (0.0, size * 0.75, 0.0), size * 0.14, size * 0.09, p.stone())
    wide = size * s.uniform(0.3, 0.5)
    b.ellipsoid((0.0, size * 0.75, 0.0), (wide, size * s.uniform(0.15, 0.25), wide), p.solid())


def totem(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Shapes piled on one another."""
    y, half = 0.0, size * 0.26
    for _ in range(s.integer(3, 4)):
        h = size * s.uniform(0.1, 0.16)
        kind = s.integer(0, 2)
        if kind == 0:
            b.box((0.0, y + h, 0.0), (half, h, half), p.solid(), spin=s.uniform(0.0, PI))
        elif kind == 1:
            b.frustum((0.0, y, 0.0), (0.0, y + 2.0 * h, 0.0), half, half * s.uniform(0.4, 1.0), p.solid())
        else:
            b.ellipsoid((0.0, y + h, 0.0), (half, h, half), p.plastic())
        y += 2.0 * h
        half *= s.uniform(0.65, 0.95)


def cone(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A traffic cone on its plate."""
    b.box((0.0, size * 0.03, 0.0), (size * 0.3, size * 0.03, size * 0.3), p.stone())
    b.frustum((0.0, size * 0.06, 0.0), (0.0, size, 0.0), size * 0.22, size * 0.04, p.solid())


def rocks(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A heap of stones."""
    stone = p.stone()
    for _ in range(s.integer(3, 6)):
        r = size * s.uniform(0.14, 0.3)
        lean = s.uniform(-0.7, 0.7)
        centre = (s.uniform(-0.3, 0.3) * size, r * 0.6, s.uniform(-0.3, 0.3) * size)
        half = (r, r * s.uniform(0.6, 1.0), r * s.uniform(0.7, 1.2))
        b.ellipsoid(centre, half, stone, up=(sin(lean), cos(lean), 0.0))


def gate(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Two posts and a lintel."""
    post, beam = p.stone(), p.solid()
    half, thick = size * 0.4, size * s.uniform(0.06, 0.1)
    for side in (-1.0, 1.0):
        if s.chance(0.5):
            b.box((side * half, size * 0.42, 0.0), (thick, size * 0.42, thick), post)
        else:
            b.frustum((side * half, 0.0, 0.0), (side * half, size * 0.84, 0.0), thick, thick * 0.8, post)
    b.box((0.0, size * 0.92, 0.0), (half + thick * 1.6, size * 0.08, thick * 1.2), beam)


def pipes(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A run of pipe with right-angled turns."""
    paint = p.plastic()
    r = size * s.uniform(0.04, 0.08)
    point: Vector = (s.uniform(-0.3, 0.3) * size, 0.0, 0.0)
    for step in range(s.integer(3, 5)):
        reach = size * s.uniform(0.2, 0.4)
        dx, dy, dz = ((0.0, 1.0, 0.0), (s.sign(), 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, s.sign()))[step % 4]
        tip = (point[0] + dx * reach, point[1] + dy * reach, point[2] + dz * reach)
        b.capsule(point, tip, r, paint)
        point = tip


def vase(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A foot, a belly, a neck, a lip."""
    glaze = p.solid()
    r = size * s.uniform(0.2, 0.3)
    b.frustum((0.0, 0.0, 0.0), (0.0, size * 0.12, 0.0), r * 0.7, r * 0.5, glaze)
    b.ellipsoid((0.0, size * 0.42, 0.0), (r, size * 0.34, r), glaze)
    b.frustum((0.0, size * 0.95, 0.0), (0.0, size * 0.6, 0.0), r * 0.6, r * 0.4, glaze)


def crate(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A slatted crate."""
    slat = p.solid()
    half = size * 0.45
    count = s.integer(2, 4)
    for level in range(count):
        y = half * 2.0 * (level + 0.5) / count
        for side in (-1.0, 1.0):
            b.box((0.0, y, side * half), (half, half * 0.7 / count, size * 0.02), slat)
            b.box((side * half, y, 0.0), (size * 0.02, half * 0.7 / count, half), slat)
    b.box((0.0, size * 0.02, 0.0), (half, size * 0.02, half), slat)


def engine(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """A block with drums on it and a wheel at its side."""
    block, metal = p.solid(), p.plastic()
    hx, hy, hz = size * 0.45, size * s.uniform(0.18, 0.3), size * s.uniform(0.2, 0.35)
    b.box((0.0, hy, 0.0), (hx, hy, hz), block)
    for slot in (-0.55, 0.0, 0.55):
        r = size * s.uniform(0.06, 0.12)
        b.frustum((slot * hx, 2.0 * hy, 0.0), (slot * hx, 2.0 * hy + size * s.uniform(0.1, 0.3), 0.0), r, r, metal)
    b.frustum((0.0, hy, hz), (0.0, hy, hz + size * 0.06), hy * 0.8, hy * 0.7, metal)


def ladder(b: SceneBuilder, s: Stream, p: SourcePalette, size: float) -> None:
    """Two rails and rungs, leaning back."""
    rail = p.plastic()
    half, lean, count = size * 0.17, size * s.uniform(0.15, 0.35), s.integer(4, 6)
    for side in (-1.0, 1.0):
        b.capsule((side * half, 0.0, lean), (side * half, size, 0.0), size * 0.025, rail)
    for i in range(count):
        share = (i + 0.6) / count
        y, z = size * share, lean * (1.0 - share)
        b.capsule((-half, y, z), (half, y, z), size * 0.018, rail)


MAKERS: tuple[Maker, ...] = (
    animal,
    animal,
    crane,
    stairs,
    barrel,
    cactus,
    mushroom,
    totem,
    cone,
    rocks,
    gate,
    pipes,
    vase,
    crate,
    engine,
    ladder,
)


def place(b: SceneBuilder, s: Stream, p: SourcePalette, x: float, y: float, z: float, size: float) -> None:
    """Any object, facing anywhere."""
    with b.thing(0, x, y, z, s.uniform(0.0, 2.0 * PI)):
        s.choice(MAKERS)(b, s, p, size)
