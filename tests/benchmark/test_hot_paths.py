"""The paths that a run spends its time in, for ``pytest tests/benchmark -m timing -n 0 --benchmark-json=FILE``.

Figures to look at, no gates: CI runs those of one method, which proves that they run.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gates import Step, model_of, training_step

from petl_bench.audit.demo import write_demo
from petl_bench.data.pascal_context import PascalContext
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.measure.cost.workload import inference
from petl_bench.tasks._boundary import boundary_counts
from petl_bench.thinning import thin

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
    timed(benchmark, training_step(method, 4, torch.rand(4, 3, 64, 64), "embedded"))


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "size"), [("ours", 448), ("mtl", 448), ("atrc", 512)])
def test_two_augmented_pictures_with_four_labels(
    benchmark: Benchmark, protocol: str, size: int, tmp_path: Path
) -> None:
    """PASCAL-Context at 500 px as it lies on the disk: JPEG, PNG and MATLAB files; one core."""
    write_demo("pascal-context", tmp_path / "data", images=3, size=500)
    config = PascalContext.Config(
        name="pascal-context", image_size=size, train_images=9, test_images=9, protocol=protocol
    )  # pyright: ignore[reportArgumentType]
    tasks = ("semseg", "human_parts", "saliency", "normals")
    dataset = PascalContext(config, "train", tasks, root=tmp_path / "data")
    torch.set_num_threads(1)
    timed(benchmark, lambda part: dataset.augmented([0, 1], [1, 2], config))


@pytest.mark.slow
def test_boundary_counts_of_a_picture_at_all_thresholds(benchmark: Benchmark) -> None:
    """448 px, both readers."""
    rows, columns = np.indices((448, 448))
    classes = ((np.sin(rows / 27) + np.cos(columns / 33)) * 2).astype(int)
    truth = thin((np.diff(classes, axis=0, append=0) != 0) | (np.diff(classes, axis=1, append=0) != 0))
    noise = np.random.default_rng(0).normal(size=truth.shape)
    probability = np.clip(np.where(truth, 0.9, 0.1) + 0.05 * noise, 0, 1)
    timed(benchmark, lambda part: boundary_counts(probability, truth, tolerance=0.0075))
