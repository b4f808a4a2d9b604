"""Where the wall time of `petl-bench run` goes, cache warm: to training, and in training not to waiting for data."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gates import Gate, Limits

pytestmark = [pytest.mark.timing, pytest.mark.slow]


def test_a_run_spends_its_time_in_training(gate: Gate, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "petl_bench", "run", "--method", "vmt", "--tasks", "4", "--out", str(tmp_path)]
    for _ in range(2):  # the first one renders what is not in the cache
        started = time.perf_counter()
        subprocess.run([*command, "--force"], check=True, capture_output=True)
        wall = time.perf_counter() - started
    (path,) = tmp_path.glob("*/record.json")
    record = json.loads(path.read_text(encoding="utf-8"))
    training, waiting = record["seconds"]["train"], record["waiting_seconds"]
    gate.hold("share of a run's wall time that is not training", 1 - training / wall, Limits(0.4, 0.25))
    gate.hold("share of training that waits for data", waiting / training, Limits(0.1, 0.03))
