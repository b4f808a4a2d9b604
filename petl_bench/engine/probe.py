"""Which tasks go together: a short training, the cosines of the tasks' gradients in it, and groups by them."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from petl_bench.config import RunConfig
from petl_bench.engine.balancers import flattened
from petl_bench.engine.batches import batches
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.train import Loop
from petl_bench.errors import UsageError
from petl_bench.plugins import load

Matrix = NDArray[np.float64]


def gradient_cosines(config: RunConfig, tell: Callable[[int], None]) -> Matrix:
    """Train as a run does, and average over its steps the cosines between the tasks' gradients.

    Gradients are those of what all tasks share inside the method. ``tell`` is called with the step.

    Returns:
        [T, T], ones on the diagonal.

    Raises:
        UsageError: The method shares nothing, or there are fewer than two tasks.
    """
    if len(config.tasks) < 2:
        raise UsageError(f"Groups need two tasks at least, not {', '.join(config.tasks)} alone.\nType: --tasks 4")
    accelerator = make_accelerator(config)
    model = build(config).to(accelerator.device)
    owned = model.method.owned()
    shared = [*owned.shared.values(), *owned.generator.values()]
    if not shared:
        raise UsageError(
            f"The tasks of {config.method.name!r} train nothing in common, so their gradients cannot be compared.\n"
            "Type: --set method.scope=shared   where the method has a scope, or another --method"
        )
    dataset = load("datasets", config.dataset.name)(config.dataset, "train", config.tasks, root=config.runtime.folder)
    loop = Loop(model, task_specs(config), config, accelerator)
    total = np.zeros((len(config.tasks),) * 2)
    for batch in batches(dataset, config):
        local = batch.to(accelerator.device)
        total += _cosines(loop.losses(local), config.tasks, shared)
        loop.take(local)
        tell(loop.step)
    return total / loop.step


def _cosines(losses: dict[str, torch.Tensor], tasks: Sequence[str], shared: list[torch.nn.Parameter]) -> Matrix:
    """Return the cosines of one batch; a task without a gradient is at a right angle to all others."""
    rows = [
        flattened(torch.autograd.grad(losses[task], shared, retain_graph=True, allow_unused=True), shared)
        for task in tasks
    ]
    unit = torch.nn.functional.normalize(torch.stack(rows), dim=1, eps=1e-30)
    cosines = (unit @ unit.mT).double().cpu().numpy()
    np.fill_diagonal(cosines, 1.0)
    return cosines


def grouped(cosines: Matrix, tasks: Sequence[str], number: int) -> list[tuple[str, ...]]:
    """Join the most alike groups of tasks, by the mean cosine between them, until so many are left.

    Raises:
        UsageError: There are not so many tasks.
    """
    if not 1 <= number <= len(tasks):
        raise UsageError(f"--number {number}: of {len(tasks)} tasks, from 1 to {len(tasks)} groups can be made.")
    tree = linkage(squareform(1 - (cosines + cosines.T) / 2, checks=False), method="average")
    numbers = fcluster(tree, t=number, criterion="maxclust")
    groups: dict[int, list[str]] = {}
    for task, group in zip(tasks, numbers.tolist(), strict=True):
        groups.setdefault(group, []).append(task)
    return [tuple(group) for group in groups.values()]
