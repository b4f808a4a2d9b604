"""The loss curves of three methods at ``smoke`` on one thread: ``python tests/contract/curves.py`` writes them anew.

On the machine and with the torch that wrote the file they are repeated bit for bit. Another processor or another torch
adds in another order; there they agree to ``TOLERANCE``. A deliberate change: write them anew, and a line under
"Results affected".
"""

import hashlib
import json
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import petl_bench

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "curves.json"
METHODS = ("full", "vmt", "lora")
TOLERANCE = 1e-3
"""Relative: eight steps of float32 from the same start, added in another order, differ by less than a tenth of it."""


def here() -> dict[str, str]:
    """Say what decides the order of sums: torch, the instructions it uses, the processor."""
    listed = Path("/proc/cpuinfo")
    lines = listed.read_text(encoding="utf-8").splitlines() if listed.exists() else []
    said = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    named = [said.get(key, "") for key in ("model name", "cpu family", "model", "stepping", "cache size")]
    flags = hashlib.sha256(" ".join(sorted(said.get("flags", "").split())).encode()).hexdigest()[:8]
    return {
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "processor": " / ".join([*named, flags]) if said else platform.processor() or platform.machine(),
    }


def curve(method: str, store: Path) -> list[dict[str, Any]]:
    """Train a method at ``smoke``, four tasks, seed 0, one thread; return its history."""
    record = petl_bench.run(method, tasks=4, budget="smoke", runtime={"threads": 1, "device": "cpu"}, out=store)
    assert record.status == "finished", record.error
    return [point.model_dump() for point in record.history]


def disagreements(
    method: str, golden: list[dict[str, Any]], seen: list[dict[str, Any]], *, tolerance: float
) -> list[str]:
    """Name every loss that is further from the file than ``tolerance``, relatively; 0 asks for the same bits."""
    if [point["step"] for point in golden] != [point["step"] for point in seen]:
        return [f"{method}: steps {[point['step'] for point in seen]} instead of {[p['step'] for p in golden]}"]
    told = []
    for old, new in zip(golden, seen, strict=True):
        for name, value in _losses(old).items():
            now = _losses(new).get(name, float("nan"))
            if not abs(now - value) <= tolerance * abs(value):
                told.append(f"{method}, step {old['step']}, {name}: {now!r} instead of {value!r}")
    return told


def _losses(point: Mapping[str, Any]) -> dict[str, float]:
    return {"total": point["loss"], **point["losses"]}


def write() -> None:
    """Write the file anew."""
    with tempfile.TemporaryDirectory() as folder:
        content = {"written_on": here(), "curves": {method: curve(method, Path(folder)) for method in METHODS}}
    GOLDEN.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
