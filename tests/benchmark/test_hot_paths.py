"""The paths that a run spends its time in, for ``pytest tests/benchmark -m timing -n 0 --benchmark-json=FILE``.

Figures to look at, no gates: CI runs those of one method, which proves that they run.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from gates import Step, model_of

from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.measure.cost.workload import inference, training

pytestmark = pytest.mark.timing

Benchmark = Callable[..., Any]


def timed(benchmark: Benchmark, step: Step) -> None:
    keep_freed_memory()
    benchmark(step, lambda part: None)
    assert benchmark.stats.stats.rounds >= 5  # pyright: ignore


METHODS = ["vmt", *(pytest.param(name, marks=pytest.mark.slow) for name in ("decoders", "lora", "mtlora", "full"))]


@pytest.mark.parametrize("method", METHODS)
def test_inference_of_four_tasks(benchmark: Benchmark, method: str) -> None:
    timed(benchmark, inference(model_of(method, 4, "embedded"), torch.rand(4, 3, 64, 64)))


@pytest.mark.parametrize("method", METHODS)
def test_training_step_of_four_tasks(benchmark: Benchmark, method: str) -> None:
    timed(benchmark, training(model_of(method, 4, "embedded"), torch.rand(4, 3, 64, 64)))
