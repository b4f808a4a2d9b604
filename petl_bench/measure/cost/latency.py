"""Time things against each other: warmed up, synchronised, interleaved in one process, every sample kept."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from petl_bench.measure.cost.laps import Lap, Laps

WARM_UP_CALLS = 2
WARM_UP_SECONDS = 1.0  # a call that takes longer is warm after the first
REST = ""  # of a sample, what belongs to no part
RESOLUTION_FACTOR = 100  # a sample must be this many times the clock's step


class MeasurementError(RuntimeError):
    """A measurement that measured nothing, or not what it should."""


@dataclass(frozen=True)
class Rounds:
    """Samples of several things, one of each a round.

    Attributes:
        milliseconds: By name, one sample a round; the same place is the same round.
        by_part: By name and part, likewise: what of a sample went into each part that the thing told of.
    """

    milliseconds: Mapping[str, tuple[float, ...]]
    by_part: Mapping[str, Mapping[str, tuple[float, ...]]]

    def ratios(self, name: str, reference: str) -> NDArray[np.float64]:
        """Return the ratio to another thing, round by round."""
        return np.asarray(self.milliseconds[name]) / np.asarray(self.milliseconds[reference])


def interleave(
    things: Mapping[str, Callable[[Lap], Any]],
    *,
    min_rounds: int,
    min_seconds: float,
    device: torch.device | None = None,
    after_round: Callable[[], None] = lambda: None,
) -> Rounds:
    """Call every thing once a round, in an order that rotates, until both minima are reached.

    Args:
        things: By name, what is timed, after two untimed calls, or one that takes long. It gets a lap to call with the
            name of a part that is done, or to leave alone.
        min_rounds: At least so many rounds.
        min_seconds: At least so long, the untimed calls left out.
        device: Waited for before and after each sample, and at laps, if it works asynchronously.
        after_round: Called after every round, for a progress bar.

    Raises:
        MeasurementError: A sample is too short for the clock, or there was nothing to time.
    """
    if not things or min_rounds < 2:
        raise MeasurementError("At least one thing and two rounds are needed: nothing would be measured.")
    for call in things.values():
        _warm_up(call)
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in things}
    names, started = list(things), time.perf_counter()
    while len(samples[names[0]]) < min_rounds or time.perf_counter() - started < min_seconds:
        for name in names:
            samples[name].append(_sample(things[name], device))
        names = [*names[1:], names[0]]
        after_round()
    whole = {name: tuple(sum(sample.values()) for sample in rounds) for name, rounds in samples.items()}
    step = 1e3 * time.get_clock_info("perf_counter").resolution
    for name, milliseconds in whole.items():
        if min(milliseconds) < RESOLUTION_FACTOR * step:
            raise MeasurementError(
                f"{name} took {min(milliseconds):.2e} ms: too short for the clock, so nothing was measured."
            )
    parts = {
        name: {part: tuple(sample[part] for sample in rounds) for part in rounds[0] if part != REST}
        for name, rounds in samples.items()
    }
    return Rounds(whole, parts)


def _warm_up(call: Callable[[Lap], Any]) -> None:
    started = time.perf_counter()
    for _ in range(WARM_UP_CALLS):
        call(lambda part: None)
        if time.perf_counter() - started > WARM_UP_SECONDS:
            return


def _sample(call: Callable[[Lap], Any], device: torch.device | None) -> dict[str, float]:
    def clock() -> float:
        _synchronise(device)
        return 1e3 * time.perf_counter()

    laps = Laps(clock)
    call(laps)
    laps(REST)
    return laps.by_part


def _synchronise(device: torch.device | None) -> None:
    if device is not None and device.type != "cpu":
        torch.accelerator.synchronize(device)


def noise(call: Callable[[Lap], Any], *, min_rounds: int, device: torch.device | None = None) -> float:
    """Return the machine's noise: the interquartile range of the ratio of a thing to itself, in rounds of two."""
    rounds = interleave({"a": call, "b": call}, min_rounds=min_rounds, min_seconds=0.0, device=device)
    low, high = np.quantile(rounds.ratios("a", "b"), [0.25, 0.75])
    return float(high - low)
