"""The materials of each domain. The two share no texture on walls and floors and differ in their colours."""

from petl_bench.data.scenes.arithmetic import Stream
from petl_bench.data.scenes.primitives import Material, Vector
from petl_bench.data.scenes.textures import TEXTURES

SUBSTANCES = (
    "paint",
    "wood",
    "masonry",
    "fabric",
    "metal",
    "plastic",
    "foliage",
    "ceramic",
    "cardboard",
    "print",
    "lamplight",
    "skin",
    "hair",
)
"""What a surface is made of: masonry is brick, stone and tiles, fabric is cloth, carpet and leather."""

SKIN: tuple[Vector, ...] = (
    (0.96, 0.80, 0.69),
    (0.88, 0.68, 0.54),
    (0.78, 0.58, 0.44),
    (0.62, 0.44, 0.32),
    (0.47, 0.32, 0.23),
    (0.34, 0.23, 0.17),
)
HAIR: tuple[Vector, ...] = (
    (0.10, 0.08, 0.07),
    (0.25, 0.16, 0.10),
    (0.45, 0.30, 0.16),
    (0.80, 0.66, 0.38),
    (0.55, 0.24, 0.12),
    (0.62, 0.62, 0.62),
)
SHOES: tuple[Vector, ...] = ((0.1, 0.1, 0.1), (0.9, 0.9, 0.88), (0.45, 0.25, 0.15))
WOOD: tuple[Vector, ...] = (
    (0.62, 0.43, 0.27),
    (0.48, 0.31, 0.19),
    (0.76, 0.58, 0.38),
    (0.34, 0.22, 0.15),
    (0.82, 0.72, 0.56),
)


def tint(hue: float, saturation: float, value: float) -> Vector:
    """A display colour from hue, saturation and value in [0, 1]."""
    channels = []
    for offset in (0.0, 2.0 / 3.0, 1.0 / 3.0):
        wave = abs((hue + offset) % 1.0 * 6.0 - 3.0) - 1.0
        channels.append(value * (1.0 - saturation + saturation * min(max(wave, 0.0), 1.0)))
    return channels[0], channels[1], channels[2]


def scale(colour: Vector, factor: float) -> Vector:
    """A display colour made lighter or darker, at most white."""
    r, g, b = (min(c * factor, 1.0) for c in colour)
    return r, g, b


def vary(stream: Stream, colour: Vector, amount: float) -> Vector:
    """A display colour near the given one."""
    level = 1.0 + stream.uniform(-amount, amount)
    r, g, b = (min(c * level * (1.0 + stream.uniform(-amount, amount) * 0.4), 1.0) for c in colour)
    return r, g, b


def material(
    stream: Stream,
    texture: str,
    size: float,
    colour: Vector,
    accent: Vector | None = None,
    *,
    of: str,
    gloss: float = 0.0,
    emission: float = 0.0,
) -> Material:
    """A material from display colours (gamma 2); without an accent the texture darkens its colour."""
    r, g, b = colour
    ar, ag, ab = scale(colour, 0.72) if accent is None else accent
    seed = stream.integer(0, 65535)
    main, mixed = (r * r, g * g, b * b), (ar * ar, ag * ag, ab * ab)
    return Material(TEXTURES[texture], size, main, mixed, gloss, emission, seed, SUBSTANCES.index(of))


class TargetPalette:
    """Homely colours: painted walls, wood, woven cloth."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._wood = stream.choice(WOOD)

    def wall(self) -> Material:
        """Paint, wallpaper stripes, brick or plaster."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.02, 0.28), s.uniform(0.62, 0.95))
        texture = s.choice(("plain", "plain", "plain", "stripes", "brick", "clouds"))
        if texture == "brick":
            colour = vary(s, (0.68, 0.42, 0.33), 0.2) if s.chance(0.5) else colour
            return material(s, texture, s.uniform(0.2, 0.3), colour, (0.78, 0.75, 0.70), of="masonry")
        size = s.uniform(0.15, 0.4) if texture == "stripes" else s.uniform(0.3, 0.8)
        return material(s, texture, size, colour, scale(colour, s.uniform(0.82, 0.93)), of="paint")

    def floor(self) -> Material:
        """Boards, tiles or carpet."""
        s = self._stream
        texture = s.choice(("planks", "planks", "planks", "tiles", "speckle", "plain"))
        if texture == "planks":
            colour = vary(s, s.choice(WOOD), 0.15)
            return material(
                s, texture, s.uniform(0.12, 0.24), colour, scale(colour, 0.6), of="wood", gloss=s.uniform(0.0, 0.25)
            )
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.3), s.uniform(0.4, 0.8))
        size = s.uniform(0.3, 0.6) if texture == "tiles" else s.uniform(0.15, 0.4)
        of, gloss = ("masonry", 0.2) if texture == "tiles" else ("fabric", 0.0)
        return material(s, texture, size, colour, scale(colour, 0.75), of=of, gloss=gloss)

    def ceiling(self) -> Material:
        """Near white."""
        s = self._stream
        colour = tint(s.uniform(0.0, 0.2), s.uniform(0.0, 0.08), s.uniform(0.85, 0.97))
        return material(s, "plain", 0.5, colour, of="paint")

    def wood(self) -> Material:
        """The room's wood, or paint now and then."""
        s = self._stream
        if s.chance(0.2):
            colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.5), s.uniform(0.5, 0.95))
            return material(s, "plain", 0.3, colour, of="paint")
        colour = vary(s, self._wood if s.chance(0.6) else s.choice(WOOD), 0.15)
        size = s.uniform(0.05, 0.12)
        return material(s, "wood", size, colour, scale(colour, 0.68), of="wood", gloss=s.uniform(0.0, 0.2))

    def metal(self) -> Material:
        """Grey or black metal."""
        s = self._stream
        colour = tint(s.uniform(0.5, 0.7), 0.06, s.choice((0.2, 0.55, 0.75)))
        return material(s, "plain", 0.3, colour, of="metal", gloss=0.6)

    def fabric(self) -> Material:
        """Clothes, covers, shades."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.1, 0.75), s.uniform(0.25, 0.9))
        accent = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.6), s.uniform(0.3, 0.95))
        texture = s.choice(("plain", "plain", "plain", "stripes", "plaid", "speckle", "checker"))
        if texture in ("plain", "speckle"):
            return material(s, texture, s.uniform(0.1, 0.3), colour, of="fabric")
        return material(s, texture, s.uniform(0.07, 0.16), colour, accent, of="fabric")

    def leaf(self) -> Material:
        """Greens."""
        s = self._stream
        colour = tint(s.uniform(0.22, 0.40), s.uniform(0.45, 0.85), s.uniform(0.3, 0.65))
        return material(s, "clouds", 0.08, colour, scale(colour, 0.65), of="foliage", gloss=0.15)

    def pottery(self) -> Material:
        """Clay or glaze."""
        s = self._stream
        colour = vary(s, s.choice(((0.72, 0.40, 0.27), (0.85, 0.85, 0.82), (0.30, 0.38, 0.48))), 0.15)
        return material(s, "plain", 0.2, colour, of="ceramic", gloss=0.3)

    def toy(self) -> Material:
        """Bright, for balls."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.6, 0.95), s.uniform(0.65, 0.98))
        accent = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.9), s.uniform(0.7, 1.0))
        texture = s.choice(("stripes", "checker", "plain", "dots"))
        return material(s, texture, s.uniform(0.1, 0.25), colour, accent, of="plastic", gloss=0.5)

    def cardboard(self) -> Material:
        """Brown board."""
        s = self._stream
        return material(s, "clouds", 0.2, vary(s, (0.74, 0.57, 0.38), 0.12), of="cardboard")

    def painting(self) -> Material:
        """The canvas of a wall picture."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.3, 0.9), s.uniform(0.4, 0.95))
        accent = tint(s.uniform(0.0, 1.0), s.uniform(0.3, 0.9), s.uniform(0.2, 0.9))
        texture = s.choice(("marble", "clouds", "zigzag", "patches", "checker"))
        return material(s, texture, 0.16, colour, accent, of="print")

    def glow(self) -> Material:
        """A lit lamp shade."""
        s = self._stream
        colour = tint(s.uniform(0.08, 0.15), s.uniform(0.1, 0.4), 1.0)
        return material(s, "plain", 0.2, colour, of="lamplight", emission=0.8)


class SourcePalette:
    """Workshop and playroom colours: strong patterns, plastic, stone, bare metal."""

    _PATTERNS = ("plain", "checker", "dots", "marble", "zigzag", "patches", "clouds", "speckle")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._hue = stream.uniform(0.0, 1.0)

    def wall(self) -> Material:
        """Strong patterns, or concrete."""
        s = self._stream
        texture = s.choice(("marble", "checker", "zigzag", "dots", "patches", "patches", "marble"))
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.6), s.uniform(0.35, 0.95))
        of = "masonry" if texture == "marble" else "paint"
        return material(s, texture, s.uniform(0.2, 0.9), colour, scale(colour, s.uniform(0.6, 0.9)), of=of)

    def floor(self) -> Material:
        """Checks, marble, patches."""
        s = self._stream
        texture = s.choice(("checker", "marble", "clouds", "patches", "zigzag"))
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.7), s.uniform(0.3, 0.95))
        accent = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.7), s.uniform(0.2, 0.9))
        of = "masonry" if texture in ("checker", "marble") else "fabric"
        return material(s, texture, s.uniform(0.2, 0.6), colour, accent, of=of, gloss=s.uniform(0.0, 0.5))

    def ceiling(self) -> Material:
        """Any shade."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.4), s.uniform(0.3, 0.95))
        texture = s.choice(("clouds", "patches"))
        return material(s, texture, s.uniform(0.4, 0.9), colour, scale(colour, 0.85), of="paint")

    def solid(self) -> Material:
        """Any patterned solid."""
        s = self._stream
        colour = tint(self._hue + s.uniform(-0.25, 0.25), s.uniform(0.1, 0.9), s.uniform(0.25, 0.98))
        accent = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.9), s.uniform(0.15, 0.98))
        texture, size = s.choice(self._PATTERNS), s.uniform(0.05, 0.25)
        return material(s, texture, size, colour, accent, of="paint", gloss=s.uniform(0.0, 0.6))

    def plastic(self) -> Material:
        """One strong colour, shiny."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.4, 1.0), s.uniform(0.4, 1.0))
        return material(s, "plain", 0.2, colour, of="plastic", gloss=s.uniform(0.2, 0.8))

    def stone(self) -> Material:
        """Grey, mottled."""
        s = self._stream
        colour = tint(s.uniform(0.0, 1.0), s.uniform(0.0, 0.15), s.uniform(0.3, 0.9))
        texture, size = s.choice(("clouds", "marble", "speckle")), s.uniform(0.1, 0.4)
        return material(s, texture, size, colour, scale(colour, 0.6), of="masonry")

    def hide(self) -> Material:
        """The coat of an animal."""
        s = self._stream
        colour = vary(s, s.choice(((0.55, 0.38, 0.22), (0.85, 0.80, 0.72), (0.2, 0.18, 0.17), (0.7, 0.5, 0.3))), 0.2)
        texture = s.choice(("plain", "clouds", "patches", "dots"))
        return material(s, texture, 0.12, colour, scale(colour, 0.5), of="hair")
