"""The points that every row of an experiment is tried at: the same ones for all, evenly spread, drawn from a seed."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scipy.stats import qmc

DIGITS = 3  # of a value: another machine's last bit must not make it another run
EDGE = 0.1  # of a side of the box


@dataclass(frozen=True)
class Side:
    """One side of the box, even on a logarithmic scale: what is scaled by these numbers is multiplied by them."""

    low: float
    high: float

    def at(self, place: float) -> float:
        """Return the value at a place between 0 and 1."""
        return _rounded(self.low * (self.high / self.low) ** place)

    def place(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high one."""
        return math.log(value / self.low) / math.log(self.high / self.low)


BOX = {
    # Five times 3e-3 to either side: the published rates of AdamW for dense tasks lie between.
    "decoder rate": Side(6e-4, 1.5e-2),
    # Decoders' rate over that of everything else. Defaults are 1 for what is added and 6 for the backbone's own
    # weights; few added parameters may want twice the decoders' rate, a whole backbone a fraction of it.
    "rate ratio": Side(0.5, 8.0),
    # Ten times the default (0.05) to either side: from next to none to what few images may want.
    "weight decay": Side(5e-3, 0.5),
}
"""What the points are spread over, and why so far."""


@dataclass(frozen=True)
class Point:
    """One combination.

    Attributes:
        decoder_rate: Peak learning rate of the decoders.
        ratio: How many times it is that of the method and of the backbone.
        weight_decay: Of everything that decays.
    """

    decoder_rate: float
    ratio: float
    weight_decay: float

    @property
    def settings(self) -> dict[str, Any]:
        """What it says of a run."""
        other = _rounded(self.decoder_rate / self.ratio)
        rates = {"decoder": self.decoder_rate, "method": other, "backbone": other}
        return {"train": {"learning_rate": rates, "weight_decay": self.weight_decay}}

    @property
    def places(self) -> Mapping[str, float]:
        """Where it is in the box: between 0 and 1 on every side."""
        values = (self.decoder_rate, self.ratio, self.weight_decay)
        return {name: side.place(value) for (name, side), value in zip(BOX.items(), values, strict=True)}

    @property
    def edges(self) -> tuple[str, ...]:
        """The ends of the box that it is near to: a better value may lie beyond."""
        places = self.places.items()
        ends = {name: "low" if place < EDGE else "high" if place > 1 - EDGE else "" for name, place in places}
        return tuple(f"{name} {end}" for name, end in ends.items() if end)


def points(number: int, seed: int) -> tuple[Point, ...]:
    """Return the first points of a scrambled Sobol sequence; more of them begin with the same ones.

    Args:
        number: How many; the powers of two are balanced.
        seed: Of the scrambling.
    """
    sequence = qmc.Sobol(len(BOX), scramble=True, rng=seed)
    places = sequence.random_base2((number - 1).bit_length())[:number].tolist()
    return tuple(Point(*(side.at(place) for side, place in zip(BOX.values(), one, strict=True))) for one in places)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
