"""What the guard counts: every method with its defaults, on the meta device, cell by cell.

A cell is a backbone, an image size and a number of tasks. All hold parameters; those of ``COST_CELLS`` hold what the
encoder computes for one image as well, in a forward pass and in a training step without loss and optimiser.
"""

import functools
import itertools
import pickle
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console

from petl_bench import plan, plugins
from petl_bench.backbones.build import build_backbone
from petl_bench.ledger import held_parameters
from petl_bench.measure.cost.flops import forward_work, tallied
from petl_bench.measure.cost.workload import levels
from petl_bench.measure.count.explain import OWNERS
from petl_bench.method import Method
from petl_bench.terminal import bar

TASKS = (1, 4, 16)
IMAGE_SIZES = {
    "embedded": (64, 96),
    "swin_tiny_patch4_window7_224": (224, 448),
    "swin_base_patch4_window7_224": (224, 448),
    "vit_small_patch16_224": (224, 448),
    "vit_base_patch16_224": (224, 448),
}
# Backbone, image size and number of tasks where costs are counted too: half a second each, in place of milliseconds.
COST_CELLS = frozenset(
    (name, size, number)
    for name, size in (("embedded", 64), ("swin_tiny_patch4_window7_224", 224))
    for number in (1, 4)
)

Cell = dict[str, int | str]
# Counts by method, backbone, image size and number of tasks; None where a method is not defined on a backbone.
Golden = dict[str, dict[str, dict[str, dict[str, Cell]] | None]]


def count_all(methods: Sequence[str]) -> Golden:
    """Count methods with their default settings on every backbone, size and number of tasks of the guard."""
    golden: Golden = {method: {} for method in methods}
    with bar(Console(stderr=True)) as shown:
        job = shown.add_task("count", total=len(methods) * len(IMAGE_SIZES), state="")
        for method, name in itertools.product(methods, IMAGE_SIZES):
            shown.update(job, state=f"{method} on {name}")
            golden[method][name] = _count_on(method, name)
            shown.advance(job)
    return golden


@functools.cache
def _pickled(name: str, image_size: int) -> bytes:
    """Return a backbone pickled, once a process: it unpickles three times faster than it is copied."""
    with torch.device("meta"):
        return pickle.dumps(build_backbone(name, weights="random", image_size=image_size, seed=0))


def _count_on(method: str, name: str) -> dict[str, dict[str, Cell]] | None:
    made = plugins.load("methods", method)
    config = plan.plan({"method": {"name": method}, "backbone": {"name": name}}, plugins.vocabulary).method
    counted: dict[str, dict[str, Cell]] = {}
    for size in IMAGE_SIZES[name]:
        pickled = _pickled(name, size)
        if pickle.loads(pickled).missing(made.needs_of(config)):
            return None
        counted[str(size)] = {}
        for number in TASKS:
            with torch.device("meta"):
                built = made(pickle.loads(pickled), tuple(f"task_{i}" for i in range(number)), config, 0)
            counted[str(size)][str(number)] = _parameters(built)
            if (name, size, number) in COST_CELLS:
                counted[str(size)][str(number)] |= _costs(built, size)
    return counted


def _parameters(method: Method) -> Cell:
    held = held_parameters(method)
    return {"execution": method.execution, **{owner: getattr(held, owner) for owner in OWNERS}}


def _costs(method: Method, image_size: int) -> dict[str, Any]:
    method.to("meta")
    image = torch.empty(1, 3, image_size, image_size, device="meta")
    infer = forward_work(method.eval(), image)
    with tallied() as train:
        ends = [level for level in levels(method.train()(image)) if level.requires_grad]
        if ends:
            torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])
    return {
        "infer_macs": infer.macs,
        "infer_elementwise_ops": infer.elementwise_ops,
        "train_macs": train.macs,
        "train_elementwise_ops": train.elementwise_ops,
    }
