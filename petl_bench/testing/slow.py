"""Checks that take tens of seconds: two processes, and code that is generated and compiled."""

import shutil
import tempfile
from pathlib import Path

import torch
import torch.distributed
from torch import Tensor
from torch.multiprocessing.spawn import spawn
from torch.nn.parallel import DistributedDataParallel

from petl_bench import draws
from petl_bench.model import MultiTaskModel
from petl_bench.testing.subject import TASKS, Subject, disturb
from petl_bench.testing.verdict import NotApplicable

PROCESSES = 2
BATCH = 4


def distributed(subject: Subject) -> None:
    """Two processes with half of the batch each get the gradients of one process with all of it."""
    if not torch.distributed.is_gloo_available():
        raise NotApplicable("this torch has no gloo backend")
    expected = _gradients(disturb(subject.build()), subject.images(BATCH), slice(None))
    with tempfile.TemporaryDirectory() as folder:
        spawn(_train_one_half, (subject, folder), nprocs=PROCESSES)
        seen: dict[str, Tensor] = torch.load(Path(folder) / "gradients", weights_only=True)
    assert seen.keys() == expected.keys(), f"gradients of {len(seen)} parameters, not of {len(expected)}"
    for name, gradient in expected.items():
        gap = (seen[name] - gradient).abs().max().item()
        allowed = 1e-5 * max(1.0, gradient.abs().max().item())
        assert gap <= allowed, f"the gradient of {name} differs by {gap:.2e}, allowed {allowed:.0e}"


def _train_one_half(rank: int, subject: Subject, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    model = disturb(subject.build())
    wrapped = DistributedDataParallel(model, find_unused_parameters=bool(model.method.gradient_exempt))
    rows = slice(rank, None, PROCESSES)
    gradients = _gradients(wrapped, subject.images(BATCH), rows)
    if rank == 0:
        torch.save({name.removeprefix("module."): x for name, x in gradients.items()}, Path(folder) / "gradients")
    torch.distributed.destroy_process_group()


def _gradients(model: MultiTaskModel | DistributedDataParallel, images: Tensor, rows: slice) -> dict[str, Tensor]:
    """Return the gradients of the mean squared error of some rows of a batch; zeros count as none."""
    losses: list[Tensor] = []
    for task, prediction in model(images[rows]).items():
        target = torch.randn(len(images), *prediction.shape[1:], generator=draws.generator(0, "target", task))
        losses.append((prediction - target[rows]).square().mean())
    torch.stack(losses).sum().backward()
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None and bool(p.grad.any())}


def inductor(subject: Subject) -> None:
    """``torch.compile`` with its default backend gives the same features."""
    if shutil.which("c++") is None and shutil.which("g++") is None and shutil.which("clang++") is None:
        raise NotApplicable("there is no C++ compiler on this machine")
    subject = subject.shallow
    method = disturb(subject.build()).method

    def features(images: Tensor) -> list[Tensor]:
        found = method(images)
        return [level for task in TASKS for level in found.for_task(task)]

    torch.compiler.reset()
    with torch.no_grad():
        pairs = zip(features(subject.images()), torch.compile(features)(subject.images()), strict=True)
        gap = max((ours - theirs).abs().max().item() for ours, theirs in pairs)
    assert gap <= 1e-4, f"the compiled features differ by {gap:.2e}, allowed 1e-04"
