"""A sweep as it is typed: one process a run, what fails does not stop the rest, nothing is done twice."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from petl_bench.cli.main import main
from petl_bench.records.run import RunRecord
from petl_bench.records.store import RECORD, read_record

EXPERIMENT = """
title = "t"
question = "q"
seeds = [0]
base = { budget = "smoke", tasks = 1, backbone.weights = "random", dataset.image_size = 32, decoder.width = 16 }
report = { reference = "decoders" }

[[rows]]
method = ["decoders", "vmt"]
set = { "train.steps" = 30 }

[[rows]]
method = "vmt"
set = { "train.learning_rate.method" = 1e30 }
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "experiment.toml"
    path.write_text(EXPERIMENT)
    return path


def typed(*arguments: str) -> int:
    try:
        main(list(arguments))
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def records(store: Path) -> dict[str, RunRecord]:
    read = {path.parent.name: read_record(path) for path in store.glob(f"*/{RECORD}")}
    return {name: one for name, one in read.items() if one is not None}


def test_a_dry_run_on_ray_needs_no_ray(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    arguments = ["sweep", str(experiment), "--launcher", "ray", "--out", str(tmp_path / "runs"), "--device", "cuda"]
    assert typed(*arguments, "--dry-run") == 0
    assert "3 runs: 3 new; 3 to do" in capsys.readouterr().out
    assert typed(*arguments) == 2
    assert "Ray is not installed" in capsys.readouterr().err


def test_a_sweep_does_what_is_left_records_what_fails_and_retries_it_when_asked(
    experiment: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "runs"
    arguments = ["sweep", str(experiment), "--out", str(store), "--device", "cpu", "--jobs", "2"]
    assert typed(*arguments, "--dry-run") == 0
    assert "3 runs: 3 new; 3 to do" in capsys.readouterr().out
    assert not store.exists(), "a dry run writes nothing"
    assert typed(*arguments) == 1
    said = capsys.readouterr().out
    assert "2 done, 1 failed" in said
    assert "--retry failed" in said
    made = records(store)
    assert sorted(one.status for one in made.values()) == ["failed", "finished", "finished"]
    assert sorted(path.stem for path in (store / "logs").iterdir()) == sorted(made)
    before = {name: (store / name / RECORD).read_bytes() for name in made}
    assert typed(*arguments) == 1, "a failure that stands is a failure"
    assert "0 done, 0 failed, 3 were there already" in capsys.readouterr().out
    assert typed(*arguments, "--seeds", "0-1", "--dry-run") == 0
    assert "6 runs: 2 done, 1 failed, 3 new; 3 to do, about" in capsys.readouterr().out
    assert typed("status", str(store), "--format", "json") == 0
    rows = {row["run"]: row for row in json.loads(capsys.readouterr().out)}
    (failed,) = (row for row in rows.values() if row["state"] == "failed")
    assert "not finite" in failed["error"]
    assert typed(*arguments, "--retry", "failed") == 1
    assert "0 done, 1 failed, 2 were there already" in capsys.readouterr().out
    after = {name: (store / name / RECORD).read_bytes() for name in made}
    assert [name for name in made if after[name] != before[name]] == [failed["run"]]


@pytest.mark.slow
def test_a_sweep_whose_processes_are_killed_half_way_loses_and_repeats_nothing(
    experiment: Path, tmp_path: Path
) -> None:
    store = tmp_path / "runs"
    arguments = ["sweep", str(experiment), "--out", str(store), "--device", "cpu", "--jobs", "2", "--seeds", "0-2"]
    command = [sys.executable, "-m", "petl_bench", *arguments]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 200
    while len(records(store)) < 4 and time.monotonic() < end:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)
    first.wait()
    before = {name: (store / name / RECORD).read_bytes() for name in records(store)}
    for claim in store.glob(".*/claim-*.json"):
        os.kill(json.loads(claim.read_text())["pid"], signal.SIGKILL)
    second = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert second.returncode == 1, second.stderr
    assert "Traceback" not in second.stdout + second.stderr
    after = records(store)
    assert sorted(one.status for one in after.values()) == ["failed"] * 3 + ["finished"] * 6
    assert {name: (store / name / RECORD).read_bytes() for name in before} == before
    assert f"{len(before)} were there already" in second.stdout


@pytest.mark.slow
def test_a_sweep_that_is_asked_to_end_has_its_runs_save_their_states(experiment: Path, tmp_path: Path) -> None:
    store = tmp_path / "runs"
    command = [sys.executable, "-m", "petl_bench", "sweep", str(experiment), "--out", str(store), "--device", "cpu"]
    sweep = subprocess.Popen([*command, "--jobs", "1", "--set", "train.steps=100000"])
    end = time.monotonic() + 120
    while not any("train" in log.read_text() for log in store.glob("logs/*.log")) and time.monotonic() < end:
        time.sleep(0.02)
    sweep.send_signal(signal.SIGINT)
    assert sweep.wait(60) != 0
    (log,) = store.glob("logs/*.log")
    assert "stopped after step" in log.read_text()
    assert len(list(store.glob(".*/checkpoint.safetensors"))) == 1
    assert list(store.glob(".*/claim-*.json")) == []
