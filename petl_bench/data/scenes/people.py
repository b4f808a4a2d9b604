"""Articulated people: six labelled body parts, many poses, sizes and clothes.

A person stands at the origin of its own frame and faces along z; x = +1 is the side that is called 0 here.
"""

from dataclasses import dataclass
from typing import NamedTuple

from petl_bench.data.scenes.arithmetic import Stream, cos, sin
from petl_bench.data.scenes.palettes import HAIR, SHOES, SKIN, TargetPalette, material, vary
from petl_bench.data.scenes.primitives import Material, SceneBuilder, Vector, along
from petl_bench.data.scenes.target_objects import CLASS, SEAT_HEIGHT

PART_NAMES = ("background", "head", "torso", "upper_arms", "lower_arms", "upper_legs", "lower_legs")
HEAD, TORSO, UPPER_ARMS, LOWER_ARMS, UPPER_LEGS, LOWER_LEGS = range(1, 7)


class Limb(NamedTuple):
    """Angles of an arm or a leg in radians.

    Attributes:
        pitch: of the upper segment, from straight down towards the front.
        spread: of the upper segment, outwards.
        bend: of the joint; an elbow folds to the front, a knee to the back.
    """

    pitch: float
    spread: float
    bend: float


class Pose(NamedTuple):
    """Lean of the torso to the front, and the limbs of both sides."""

    lean: float
    arms: tuple[Limb, Limb]
    legs: tuple[Limb, Limb]


@dataclass(frozen=True)
class Body:
    """Measures in metres; ``width`` multiplies all thicknesses."""

    height: float
    width: float


@dataclass(frozen=True)
class Clothes:
    """The material of each part of a person."""

    skin: Material
    hair: Material
    shirt: Material
    sleeve: Material
    trousers: Material
    shin: Material
    shoe: Material
    dress: bool
    long_hair: bool


def random_body(s: Stream) -> Body:
    """An adult, now and then a child."""
    height = s.uniform(1.1, 1.4) if s.chance(0.15) else s.uniform(1.55, 1.9)
    return Body(height, s.uniform(0.95, 1.4))


def random_clothes(s: Stream, p: TargetPalette) -> Clothes:
    """Shirt with short or long sleeves; trousers, shorts or a dress."""
    skin = material(s, "plain", 0.2, vary(s, s.choice(SKIN), 0.08), of="skin", gloss=0.05)
    hair_colour = vary(s, s.choice(HAIR), 0.15)
    shirt, trousers = p.fabric(), p.fabric()
    return Clothes(
        skin=skin,
        hair=material(s, "speckle", 0.05, hair_colour, of="hair", gloss=0.15),
        shirt=shirt,
        sleeve=shirt if s.chance(0.5) else skin,
        trousers=trousers,
        shin=trousers if s.chance(0.65) else skin,
        shoe=material(s, "plain", 0.2, s.choice(SHOES), of="fabric"),
        dress=s.chance(0.15),
        long_hair=s.chance(0.4),
    )


def standing(s: Stream) -> Pose:
    """At rest, arms down, on the hips or folded."""
    arms = (_resting_arm(s), _resting_arm(s))
    legs = (Limb(s.uniform(-0.1, 0.15), s.uniform(0.03, 0.18), s.uniform(0.0, 0.15)), Limb(0.0, 0.08, 0.0))
    return Pose(s.uniform(-0.08, 0.12), arms, legs)


def walking(s: Stream) -> Pose:
    """In stride, arms swinging against the legs."""
    stride, swing = s.uniform(0.3, 0.6), s.uniform(0.25, 0.7)
    arms = (Limb(-swing, 0.1, s.uniform(0.1, 0.7)), Limb(swing, 0.1, s.uniform(0.2, 0.9)))
    legs = (Limb(stride, 0.03, s.uniform(0.0, 0.25)), Limb(-stride * 0.7, 0.03, s.uniform(0.15, 0.7)))
    return Pose(s.uniform(0.0, 0.18), arms, legs)


def reaching(s: Stream) -> Pose:
    """One or both arms stretched out, forwards, up or sideways."""
    reach = Limb(s.uniform(0.9, 2.8), s.uniform(0.0, 0.6), s.uniform(0.0, 0.5))
    wave = Limb(s.uniform(0.0, 0.5), s.uniform(0.9, 1.7), s.uniform(0.0, 1.2))
    first = reach if s.chance(0.7) else wave
    second = first if s.chance(0.3) else _resting_arm(s)
    arms = (first, second) if s.chance(0.5) else (second, first)
    bent = s.uniform(0.0, 0.5)
    return Pose(s.uniform(0.0, 0.4), arms, (Limb(bent, 0.12, bent * 1.6), Limb(0.0, 0.12, 0.0)))


def squatting(s: Stream) -> Pose:
    """Down on bent legs, arms to the front."""
    bend = s.uniform(1.6, 2.1)
    legs = (Limb(bend, 0.25, bend * 1.15), Limb(bend, 0.25, bend * 1.15))
    arm = Limb(s.uniform(0.4, 1.2), s.uniform(0.0, 0.3), s.uniform(0.2, 0.9))
    return Pose(s.uniform(0.25, 0.6), (arm, arm), legs)


def sitting(s: Stream) -> Pose:
    """Thighs level, shins down."""
    arm = Limb(s.uniform(0.3, 0.8), s.uniform(0.05, 0.25), s.uniform(0.4, 1.1))
    other = arm if s.chance(0.5) else reaching(s).arms[0]
    knee = s.uniform(1.3, 1.6)
    legs = (Limb(1.5, s.uniform(0.05, 0.25), knee), Limb(1.5, s.uniform(0.05, 0.25), knee))
    return Pose(s.uniform(-0.12, 0.15), (arm, other), legs)


def _resting_arm(s: Stream) -> Limb:
    kind = s.integer(0, 3)
    if kind == 0:
        return Limb(-0.5, 0.7, 1.5)
    if kind == 1:
        return Limb(s.uniform(0.3, 0.7), 0.1, s.uniform(1.2, 1.9))
    return Limb(s.uniform(-0.15, 0.3), s.uniform(0.08, 0.35), s.uniform(0.05, 0.5))


def _direction(pitch: float, outwards: float) -> Vector:
    """A unit vector ``pitch`` radians from straight down to the front, and ``outwards`` to +x."""
    c = cos(outwards)
    return sin(outwards), -cos(pitch) * c, sin(pitch) * c


def person(
    b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float, pose: Pose, *, seat: float = 0.0
) -> None:
    """A person in a pose; the lowest foot touches the floor, or the hips rest on a seat of height ``seat``."""
    body, clothes = random_body(s), random_clothes(s, p)
    h = body.height
    feet = [_leg_points(h, pose.legs[side], side)[-1][1] for side in range(2)]
    hip = seat + 0.075 * h if seat else 0.04 * h - min(feet)
    with b.thing(CLASS["person"], x, 0.0, z, yaw):
        for side in range(2):
            _leg(b, body, clothes, pose.legs[side], side, hip)
        shoulder, up = _torso(b, body, clothes, pose, hip)
        for side in range(2):
            _arm(b, body, clothes, pose.arms[side], side, shoulder, pose.lean)
        _head(b, body, clothes, shoulder, up)


def seated_person(b: SceneBuilder, s: Stream, p: TargetPalette, x: float, z: float, yaw: float) -> None:
    """A person on a seat of common height whose middle is (x, z)."""
    person(b, s, p, x, z, yaw, sitting(s), seat=SEAT_HEIGHT)


def _leg_points(height: float, limb: Limb, side: int) -> tuple[Vector, Vector, Vector]:
    """Hip, knee and ankle, relative to the middle of the hips."""
    out = 1.0 - 2.0 * side
    hip = (out * 0.052 * height, 0.0, 0.0)
    knee = along(hip, _direction(limb.pitch, out * limb.spread), 0.235 * height)
    ankle = along(knee, _direction(limb.pitch - limb.bend, out * limb.spread * 0.4), 0.235 * height)
    return hip, knee, ankle


def _leg(b: SceneBuilder, body: Body, clothes: Clothes, limb: Limb, side: int, lift: float) -> None:
    h, w = body.height, body.height * body.width
    hip, knee, ankle = ((x, y + lift, z) for x, y, z in _leg_points(h, limb, side))
    b.capsule(hip, knee, 0.046 * w, clothes.trousers, part=UPPER_LEGS)
    b.capsule(knee, ankle, 0.033 * w, clothes.shin, part=LOWER_LEGS)
    toe = _direction(limb.pitch - limb.bend + 1.45, 0.0)
    b.capsule(along(ankle, toe, -0.01 * h), along(ankle, toe, 0.10 * h), 0.030 * w, clothes.shoe, part=LOWER_LEGS)


def _torso(b: SceneBuilder, body: Body, clothes: Clothes, pose: Pose, hip: float) -> tuple[Vector, Vector]:
    """The trunk and the neck; returns the middle of the shoulders and the direction of the spine."""
    h, w = body.height, body.height * body.width
    up: Vector = (0.0, cos(pose.lean), sin(pose.lean))
    base: Vector = (0.0, hip, 0.0)
    shoulder = along(base, up, 0.275 * h)
    b.capsule(along(base, up, 0.01 * h), along(base, up, 0.08 * h), 0.092 * w, clothes.trousers, flat=0.72, part=TORSO)
    b.capsule(along(base, up, 0.09 * h), along(base, up, 0.235 * h), 0.098 * w, clothes.shirt, flat=0.68, part=TORSO)
    b.ellipsoid(along(base, up, 0.245 * h), (0.122 * w, 0.055 * h, 0.065 * w), clothes.shirt, up=up, part=TORSO)
    b.capsule(shoulder, along(shoulder, up, 0.07 * h), 0.032 * w, clothes.skin, part=TORSO)
    upright = pose.legs[0].pitch < 0.7 and pose.legs[1].pitch < 0.7
    if clothes.dress and upright:
        b.frustum(
            (0.0, hip - 0.2 * h, 0.0), along(base, up, 0.05 * h), 0.15 * w, 0.09 * w, clothes.shirt, part=UPPER_LEGS
        )
    return shoulder, up


def _arm(b: SceneBuilder, body: Body, clothes: Clothes, limb: Limb, side: int, shoulder: Vector, lean: float) -> None:
    h, w = body.height, body.height * body.width
    out = 1.0 - 2.0 * side
    joint = along((shoulder[0] + out * 0.112 * w, shoulder[1], shoulder[2]), (0.0, -1.0, 0.0), 0.02 * h)
    upper = _direction(limb.pitch + lean * 0.3, out * limb.spread)
    lower = _direction(limb.pitch + limb.bend, out * limb.spread * (0.5 if limb.bend < 1.0 else -0.35))
    elbow = along(joint, upper, 0.165 * h)
    wrist = along(elbow, lower, 0.145 * h)
    b.capsule(joint, elbow, 0.031 * w, clothes.shirt, part=UPPER_ARMS)
    b.capsule(elbow, wrist, 0.025 * w, clothes.sleeve, part=LOWER_ARMS)
    b.ellipsoid(
        along(wrist, lower, 0.04 * h), (0.024 * w, 0.052 * h, 0.02 * w), clothes.skin, up=lower, part=LOWER_ARMS
    )


def _head(b: SceneBuilder, body: Body, clothes: Clothes, shoulder: Vector, up: Vector) -> None:
    h = body.height
    nod: Vector = (up[0], up[1], up[2])
    size = 0.062 * h + 0.012
    centre = along(shoulder, nod, 0.06 * h + size)
    b.ellipsoid(centre, (size * 0.82, size * 1.12, size * 0.92), clothes.skin, up=nod, part=HEAD)
    b.ellipsoid(
        (centre[0], centre[1] + size * 0.3, centre[2] - size * 0.18), (size * 0.9, size, size), clothes.hair, part=HEAD
    )
    if clothes.long_hair:
        back = (centre[0], centre[1] - size * 0.45, centre[2] - size * 0.5)
        b.ellipsoid(back, (size * 0.85, size * 1.2, size * 0.55), clothes.hair, part=HEAD)
