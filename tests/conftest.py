"""Small real objects that many tests share."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from petl_bench import plan, plugins
from petl_bench.config import DatasetConfig, RunConfig, merge
from petl_bench.data.base import DenseDataset, Sample, Split


def pytest_addoption(parser: pytest.Parser) -> None:
    """Timing gates hold anywhere with room to spare; on a quiet machine they hold as claimed."""
    parser.addoption("--strict-timing", action="store_true", help="hold timing gates against the claimed figures")


def pytest_configure() -> None:
    """One thread for each of several workers, and for the commands that they start: more would only wait."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        os.environ["OMP_NUM_THREADS"] = "1"
        torch.set_num_threads(1)


class Noise(DenseDataset):
    """Random images whose labels are functions of the image: learnable, tiny, never on disk."""

    name = "noise"
    tasks = {"semseg": 13, "saliency": 1, "normals": 3}

    def __init__(self, config: DatasetConfig, split: Split, tasks: Sequence[str], **_: object) -> None:
        self.size, self.split, self.chosen = config.image_size, split, tuple(tasks)

    @classmethod
    def content_hash(cls, config: DatasetConfig, **_: object) -> str:
        return "noise"

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Sample:
        random = np.random.default_rng([index, len(self.split)])
        image = random.integers(0, 256, (self.size, self.size, 3), dtype=np.uint8)
        direction = image.astype(np.float32) - 127.5
        labels: Mapping[str, np.ndarray] = {
            "semseg": (image[..., 0] // 20).astype(np.uint8),
            "saliency": (image[..., 1] > 180).astype(np.uint8),
            "normals": direction / np.linalg.norm(direction, axis=-1, keepdims=True),
        }
        return Sample(image, {task: labels[task] for task in self.chosen}, str(index))


def resolved(name: str, /, tasks: Sequence[str] = ("semseg", "saliency", "normals"), **sections: object) -> RunConfig:
    """Resolve a small run on the embedded network with random weights at 32 pixels."""
    settings = {
        "method": {"name": name},
        "backbone": {"name": "embedded", "weights": "random"},
        "dataset": {"image_size": 32},
        "decoder": sections.pop("decoder", {"name": "segformer", "width": 16}),
        "train": {"steps": 4, "batch_size": 4},
        "budget": "smoke",
        "tasks": list(tasks),
    }
    return plan.plan(merge(settings, sections), plugins.vocabulary)


@pytest.fixture
def one_thread():
    """Run a test on one thread, where sums have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def gate(request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]):
    """A timing gate that prints what it saw, also when it holds."""
    from gates import Gate  # beside the tests that use it; a second conftest would hide this one

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n  {line}")

    return Gate(is_strict=request.config.getoption("--strict-timing"), tell=tell)
