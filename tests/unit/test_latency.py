"""A harness that measured nothing, or something else, says so."""

import time

import pytest

from petl_bench.measure.latency import MeasurementError, interleave, noise


def sleeper(milliseconds: float) -> object:
    return lambda: time.sleep(milliseconds / 1e3)


def test_samples_are_kept_and_ratios_are_taken_round_by_round() -> None:
    rounds = interleave({"short": sleeper(2), "long": sleeper(6)}, min_rounds=5, min_seconds=0)
    assert {len(held) for held in rounds.milliseconds.values()} == {5}
    assert 2 < float(sorted(rounds.ratios("long", "short"))[2]) < 4


def test_both_minima_are_reached() -> None:
    rounds = interleave({"one": sleeper(2)}, min_rounds=2, min_seconds=0.05)
    assert sum(rounds.milliseconds["one"]) >= 45


def test_the_first_expensive_calls_are_not_in_the_samples() -> None:
    calls: list[int] = []

    def slow_at_first() -> None:
        calls.append(1)
        time.sleep(0.05 if len(calls) <= 2 else 0.002)

    rounds = interleave({"one": slow_at_first}, min_rounds=4, min_seconds=0)
    assert max(rounds.milliseconds["one"]) < 40


def test_things_are_interleaved_in_an_order_that_rotates() -> None:
    order: list[str] = []
    things = {name: lambda name=name: (order.append(name), time.sleep(0.001)) for name in "abc"}
    interleave(things, min_rounds=3, min_seconds=0)
    assert order[6:] == list("abcbcacab")


def test_a_timer_that_measures_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("petl_bench.measure.latency.time.perf_counter", lambda: 1.0)
    with pytest.raises(MeasurementError, match="measured"):
        interleave({"one": sleeper(1)}, min_rounds=2, min_seconds=0)


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(MeasurementError):
        interleave({}, min_rounds=2, min_seconds=0)


def test_the_noise_of_a_steady_thing_is_small() -> None:
    assert 0 <= noise(sleeper(5), min_rounds=6) < 0.5
