"""The main job as a user types it, in processes of their own, on the smallest budget."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image


def typed(*arguments: str, folder: Path, cache: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "petl_bench", *arguments],
        cwd=folder,
        env={**os.environ, "PETL_BENCH_CACHE": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two runs of the main job were made."""
    folder = tmp_path_factory.mktemp("main_job")
    for method in ("vmt", "single"):
        arguments = ["run", "--method", method, "--tasks", "4", "--budget", "smoke"]
        done = typed(*arguments, folder=folder, cache=folder / "cache")
        assert done.returncode == 0, done.stderr
        assert "predictions.png" in done.stdout
    return folder


def run_folder(place: Path, method: str) -> Path:
    (folder,) = (place / "runs").glob(f"{method}-s0-*")
    return folder


def test_a_run_leaves_a_complete_folder(place: Path) -> None:
    folder = run_folder(place, "vmt")
    names = {path.name for path in folder.iterdir()}
    arrays = {"scores.npz", "statistics.npz", "trainable.safetensors"}
    assert names == {"record.json", "metrics.jsonl", "predictions.png"} | arrays
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["execution"] == "tapped"
    assert list(record["metrics"]) == ["semseg", "human_parts", "saliency", "normals"]
    chosen = record["metrics"]["normals"]["metrics"]["mean_angular_error"]
    assert chosen["convention"] == "mean_angular_error/1@64x64/test:8"
    assert record["parameters"]["shared"] + record["parameters"]["per_task"] == 135_496
    assert record["environment"]["versions"]["torch"]
    assert Image.open(folder / "predictions.png").size[0] > 9 * 128


def test_a_finished_run_is_found_again(place: Path) -> None:
    before = (run_folder(place, "vmt") / "record.json").read_bytes()
    arguments = ["run", "--method", "vmt", "--tasks", "semseg,saliency,human_parts,normals", "--budget", "smoke"]
    done = typed(*arguments, folder=place, cache=place / "cache")
    assert done.returncode == 0
    assert "found in the store" in done.stdout
    assert (run_folder(place, "vmt") / "record.json").read_bytes() == before


def test_report_writes_tables_and_figures(place: Path) -> None:
    done = typed("report", "--strict", folder=place, cache=place / "cache")
    assert done.returncode == 0, done.stderr
    report = place / "runs" / "report"
    assert "delta_m" in (report / "report.md").read_text()
    assert {path.suffix for path in (report / "tables").iterdir()} == {".md", ".csv", ".tex"}
    assert len(list((report / "figures").glob("*.png"))) >= 3


def test_report_without_a_reference_names_the_command_that_makes_it(place: Path, tmp_path: Path) -> None:
    arguments = ["report", str(run_folder(place, "vmt")), "--out", str(tmp_path / "report")]
    done = typed(*arguments, folder=place, cache=place / "cache")
    assert done.returncode == 0, done.stderr
    assert "petl-bench run --method single" in done.stdout
    assert (tmp_path / "report" / "report.md").exists()
    assert typed(*arguments, "--strict", folder=place, cache=place / "cache").returncode == 1


def test_report_on_a_run_folder_leaves_the_run_alone(place: Path) -> None:
    folder = run_folder(place, "vmt")
    before = sorted(path.name for path in folder.iterdir())
    assert typed("report", str(folder), folder=place, cache=place / "cache").returncode == 0
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_failed_run_leaves_a_record_with_its_error(place: Path, tmp_path: Path) -> None:
    arguments = ["run", "--method", "full", "--tasks", "4", "--budget", "smoke", "--out", str(tmp_path)]
    rates = ["--set", "train.learning_rate.backbone=1e30", "--set", "train.warmup_fraction=0.0"]
    done = typed(*arguments, *rates, folder=place, cache=place / "cache")
    assert done.returncode == 1
    assert "not finite" in done.stderr
    (folder,) = tmp_path.iterdir()
    record = json.loads((folder / "record.json").read_text())
    assert record["status"] == "failed"
    assert "not finite" in record["error"]


@pytest.mark.slow
def test_two_processes_train_one_model_and_leave_one_run(place: Path, tmp_path: Path) -> None:
    arguments = [
        "run",
        "--method",
        "vmt",
        "--tasks",
        "4",
        "--budget",
        "smoke",
        "--device",
        "cpu",
        "--out",
        str(tmp_path),
    ]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "petl_bench"]
    done = subprocess.run(
        [*launch, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PETL_BENCH_CACHE": str(place / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder,) = tmp_path.iterdir()
    ours = json.loads((folder / "record.json").read_text())
    alone = json.loads((run_folder(place, "vmt") / "record.json").read_text())
    assert ours["fingerprint"] == alone["fingerprint"]
    assert ours["history"][0]["loss"] == pytest.approx(alone["history"][0]["loss"], rel=0.3)
