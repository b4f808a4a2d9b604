"""A harness that measured nothing, or something else, says so."""

import time
from collections.abc import Callable

import pytest

from petl_bench.measure.cost.laps import Lap
from petl_bench.measure.cost.latency import MeasurementError, interleave, noise


def sleeper(milliseconds: float) -> Callable[[Lap], None]:
    return lambda lap: time.sleep(milliseconds / 1e3)


def test_samples_are_kept_and_ratios_are_taken_round_by_round() -> None:
    rounds = interleave({"short": sleeper(2), "long": sleeper(6)}, min_rounds=5, min_seconds=0)
    assert {len(held) for held in rounds.milliseconds.values()} == {5}
    assert 2 < float(sorted(rounds.ratios("long", "short"))[2]) < 4


def test_a_sample_is_split_by_the_parts_that_the_step_tells_of() -> None:
    def step(lap: Lap) -> None:
        for part, milliseconds in (("encoder", 4), ("decoders", 20), ("encoder", 4)):
            time.sleep(milliseconds / 1e3)
            lap(part)

    rounds = interleave({"one": step}, min_rounds=3, min_seconds=0)
    parts = rounds.by_part["one"]
    assert min(parts["encoder"]) >= 8
    assert min(parts["decoders"]) >= 20
    for whole, *held in zip(rounds.milliseconds["one"], parts["encoder"], parts["decoders"], strict=True):
        assert whole == pytest.approx(sum(held), rel=0.05)


def test_both_minima_are_reached() -> None:
    rounds = interleave({"one": sleeper(2)}, min_rounds=2, min_seconds=0.05)
    assert sum(rounds.milliseconds["one"]) >= 45


def first_sample_of_something_slow_at_first() -> float:
    calls: list[int] = []

    def slow_at_first(lap: Lap) -> None:
        calls.append(1)
        time.sleep(0.05 if len(calls) <= 2 else 0.002)

    return max(interleave({"one": slow_at_first}, min_rounds=4, min_seconds=0).milliseconds["one"])


def test_the_first_expensive_calls_are_not_in_the_samples() -> None:
    assert first_sample_of_something_slow_at_first() < 40


def test_a_thing_is_called_twice_before_it_is_timed_and_once_if_it_is_slow() -> None:
    for milliseconds, untimed in ((2, 2), (1100, 1)):
        calls: list[int] = []

        def slow_when_new(lap: Lap, calls: list[int] = calls, milliseconds: int = milliseconds) -> None:
            calls.append(1)
            time.sleep((milliseconds if len(calls) == 1 else 2) / 1e3)

        rounds = interleave({"one": slow_when_new}, min_rounds=3, min_seconds=0)
        assert len(calls) == untimed + len(rounds.milliseconds["one"])


def test_things_are_interleaved_in_an_order_that_rotates() -> None:
    order: list[str] = []
    things = {name: lambda lap, name=name: (order.append(name), time.sleep(0.001)) for name in "abc"}
    interleave(things, min_rounds=3, min_seconds=0)
    assert order[6:] == list("abcbcacab")


def test_a_timer_that_measures_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petl_bench.measure.cost.latency.time.perf_counter", lambda: 1.0)
    with pytest.raises(MeasurementError, match="measured"):
        interleave({"one": sleeper(1)}, min_rounds=2, min_seconds=0)


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(MeasurementError):
        interleave({}, min_rounds=2, min_seconds=0)


def test_the_noise_of_a_steady_thing_is_small() -> None:
    assert 0 <= noise(sleeper(40), min_rounds=8) < 0.5
