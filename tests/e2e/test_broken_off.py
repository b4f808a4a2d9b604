"""Runs whose processes are killed, and two processes on one run, as they are typed."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ARGUMENTS = ["run", "--method", "vmt", "--tasks", "2", "--budget", "smoke", "--set", "runtime.checkpoint_steps=1"]


def begun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "petl_bench", *ARGUMENTS, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def waited_for(folder: Path, pattern: str, seconds: float = 90) -> Path:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for path in folder.glob(pattern):
            return path
        time.sleep(0.005)
    raise AssertionError(f"{pattern} did not appear")


def test_a_killed_run_and_two_processes_after_it_make_one_run_that_lost_one_step_at_most(tmp_path: Path) -> None:
    killed = begun(tmp_path, "--set", "train.steps=40")
    state = waited_for(tmp_path, "runs/.vmt-*/checkpoint.safetensors")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert state.exists()
    two = [begun(tmp_path, "--set", "train.steps=40") for _ in range(2)]
    said = [run.communicate(timeout=200) for run in two]
    assert [run.returncode for run in two] == [0, 0], said
    assert sum("goes on from step" in err for _, err in said) == 1
    assert sum("found in the store" in out for out, _ in said) == 1
    assert sum("took over" in err for _, err in said) == 1
    (folder,) = tmp_path.glob("runs/*")
    assert (folder / "record.json").is_file()
    record = json.loads((folder / "record.json").read_text())
    assert len(record["resumed_at"]) == 1
    assert [point["step"] for point in record["history"]] == list(range(1, 41))
    assert os.listdir(tmp_path / "runs") == [folder.name]


def test_a_run_that_is_asked_to_end_says_that_it_goes_on_and_how_it_ended(tmp_path: Path) -> None:
    asked = begun(tmp_path, "--set", "train.steps=4000")
    waited_for(tmp_path, "runs/.vmt-*/checkpoint.safetensors")
    asked.terminate()
    _, said = asked.communicate(timeout=60)
    assert asked.returncode == 128 + signal.SIGTERM
    assert "the same command goes on from there" in said
    assert "Traceback" not in said
