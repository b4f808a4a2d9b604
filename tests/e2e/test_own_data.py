"""A second data set is one file in petl_bench/data: listed, trained on in bfloat16, and reported apart."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
STRIPES = '''"""Stripes: which of four colours a pixel has."""

from collections.abc import Sequence

import numpy as np

from petl_bench.config import DatasetConfig
from petl_bench.data.base import DATASETS, DenseDataset, Sample, Split


@DATASETS.register("stripes")
class Stripes(DenseDataset):
    """Random stripes; nothing is read from a disk."""

    tasks = {"semseg": 4, "saliency": 1}

    def __init__(self, config: DatasetConfig, split: Split, tasks: Sequence[str], **_: object) -> None:
        self.config, self.split, self.chosen = config, split, tuple(tasks)

    @classmethod
    def content_hash(cls, config: DatasetConfig, **_: object) -> str:
        return "stripes"

    def __len__(self) -> int:
        return self.config.train_images if self.split == "train" else self.config.test_images

    def __getitem__(self, index: int) -> Sample:
        size = self.config.image_size
        rows = np.random.default_rng([index, len(self.split)]).integers(0, 4, size // 8).repeat(8)
        classes = np.broadcast_to(rows[:, None], (size, size)).astype(np.uint8)
        image = np.stack([classes * 80, 255 - classes * 80, classes], axis=-1)
        labels = {"semseg": classes, "saliency": (classes > 1).astype(np.uint8)}
        return Sample(image, {task: labels[task] for task in self.chosen}, f"{self.split}/{index}")
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package with one file more, and a run on it."""
    folder = tmp_path_factory.mktemp("own_data")
    for package in ("petl_bench", "methods", "experiments"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "petl_bench" / "data" / "stripes.py").write_text(STRIPES, encoding="utf-8")
    typed(
        folder,
        "run",
        "--dataset",
        "stripes",
        "--method",
        "vmt",
        "--tasks",
        "2",
        "--set",
        "train.precision=bf16",
        *SMALL,
    )
    return folder


SMALL = ("--budget", "smoke", "--set", "dataset.image_size=32", "--set", "backbone.weights=random")


def typed(place: Path, *arguments: str) -> str:
    """Run the copy of petl-bench and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "petl_bench", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(place), "PETL_BENCH_CACHE": str(place / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_data_set_in_one_file_is_listed_and_run(place: Path) -> None:
    rows = {row["name"]: row for row in json.loads(typed(place, "list", "datasets", "--format", "json"))}
    assert rows.keys() >= {"scenes", "stripes"}
    (path,) = (place / "runs").glob("vmt-s0-*/record.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["status"] == "finished"
    assert record["config"]["dataset"]["name"] == "stripes"
    assert list(record["metrics"]) == ["semseg", "saliency"]


def test_a_run_in_bfloat16_says_so_and_learns(place: Path) -> None:
    (path,) = (place / "runs").glob("vmt-s0-*/record.json")
    assert json.loads(path.read_text(encoding="utf-8"))["environment"]["dtype"] == "bfloat16"
    curve = [json.loads(line) for line in path.with_name("metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    losses = [point["loss"] for point in curve]
    assert losses[-1] < losses[0]


def test_two_data_sets_do_not_share_a_table(place: Path) -> None:
    typed(place, "run", "--method", "vmt", "--tasks", "2", *SMALL)
    typed(place, "report", "runs", "--out", "report")
    text = (place / "report" / "report.md").read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert sum("scenes" in title for title in titles) == 1, titles
    assert sum("stripes" in title for title in titles) == 1, titles
