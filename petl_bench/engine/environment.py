"""What would explain a number later: versions, commit, device, threads."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

import torch
import torch.distributed

from petl_bench.engine.allocator import keeps_freed_memory
from petl_bench.records.run import Environment

PACKAGES = ("torch", "timm", "numpy", "accelerate")


def environment(device: torch.device, dtype: str) -> Environment:
    """Describe where something was executed, and in which number type."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain") if commit else None
    versions = {"petl-bench": metadata.version("petl-bench"), "python": platform.python_version()}
    return Environment(
        versions=versions | {package: metadata.version(package) for package in PACKAGES},
        commit=commit,
        dirty=None if status is None else bool(status),
        device=device.type,
        device_name=torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        dtype=dtype,
        threads=torch.get_num_threads(),
        platform=f"{platform.system()} {platform.machine()}",
        keeps_freed_memory=keeps_freed_memory(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        processes=torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1,
    )


def _git(*arguments: str) -> str | None:
    """Ask git about the checkout that this package runs from; None outside one."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    # `git status` takes a lock that a killed process would leave behind, and that would stop the user's own commands.
    command = ["git", "--no-optional-locks", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
