"""A gate that measured nothing fails."""

import time

import pytest
from gates import Gate, Limits

from petl_bench.measure.cost.latency import MeasurementError

LOOSE = Limits(1e9, 1e9)


def silent(line: str) -> None:
    del line


def test_a_gate_on_nothing_fails() -> None:
    gate = Gate(is_strict=False, tell=silent)
    with pytest.raises(MeasurementError, match="nothing"):
        gate.ratio({}, "a", "b", rounds=3, limits=LOOSE)
    for value in (0.0, float("nan"), float("inf"), -1.0):
        with pytest.raises(MeasurementError, match="nothing was measured"):
            gate.hold("a / b", value, LOOSE)


def test_a_gate_fails_above_its_limit_and_the_strict_one_first() -> None:
    things = {"long": lambda lap: time.sleep(0.02), "short": lambda lap: time.sleep(0.01)}
    limits = Limits(generous=10.0, strict=1.01)
    assert 1.01 < Gate(is_strict=False, tell=silent).ratio(things, "long", "short", rounds=3, limits=limits) < 10
    with pytest.raises(AssertionError, match=r"above 1\.01"):
        Gate(is_strict=True, tell=silent).ratio(things, "long", "short", rounds=3, limits=limits)
