"""The task axis: what a method hands to the decoders, and how a batch is forked into tasks.

A forked batch is task-major: [T * B, ...] holds all images of the first task, then all of the second. It is forked
once, at a place that is fixed when the model is built, so no module guesses whether its input is forked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from petl_bench import draws

Pyramid = tuple[Tensor, ...]  # stage s: [B, C_s, H_s, W_s], finest first

SHARED = "shared"  # the one row of a layer that all tasks use


@dataclass(frozen=True)
class Features:
    """A shared pyramid, one pyramid per task, or both; a task's own one comes first."""

    shared: Pyramid | None = None
    per_task: Mapping[str, Pyramid] = field(default_factory=dict)

    def for_task(self, task: str) -> Pyramid:
        """Return the pyramid that the decoder of ``task`` reads."""
        if task in self.per_task:
            return self.per_task[task]
        assert self.shared is not None, f"neither a shared pyramid nor one for {task!r}"
        return self.shared


def fork(x: Tensor, num_tasks: int) -> Tensor:
    """Repeat a batch [B, ...] once per task: [T * B, ...], task-major."""
    return x if num_tasks == 1 else x.unsqueeze(0).expand(num_tasks, *x.shape).flatten(0, 1)


def split(x: Tensor, num_tasks: int) -> Tensor:
    """View a forked [T * B, ..., C] as [T, N, C] with one row per token of a task."""
    return x.reshape(num_tasks, -1, x.shape[-1])


class Keyed(nn.Module):
    """A layer that fills its parameters from generators keyed by name.

    Attributes:
        vectors: Names of own parameters that are stacks of vectors: like 1-D ones they take no weight decay.
    """

    vectors: ClassVar[tuple[str, ...]] = ()

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Fill the parameters; ``draw(name, row)`` is the generator of one row of one parameter."""

    def merged(self, t: int) -> nn.Module | None:
        """Return a plain module that does for task number ``t`` what this layer does, or None if there is none."""
        return None


class Generator(Keyed):
    """A hyper-network: all trained below it generates weights, and is counted apart."""


class PerTask(Keyed):
    """A layer whose own parameters are stacked [T, ...], one slice per task, applied as one batched product.

    With ``tasks = None`` there is one slice that all tasks share, and the input is not forked: the same code serves
    both scopes.
    """

    def __init__(self, tasks: tuple[str, ...] | None) -> None:
        super().__init__()
        self.rows = (SHARED,) if tasks is None else tasks
        self.is_per_task = tasks is not None

    @property
    def num_rows(self) -> int:
        """Number of slices: T, or 1 when shared."""
        return len(self.rows)

    def row(self, t: int) -> int:
        """Return the number of the slice that task number ``t`` uses."""
        return t if self.is_per_task else 0

    def stack(self, *shape: int) -> nn.Parameter:
        """Return a parameter [T, *shape] of zeros."""
        return nn.Parameter(torch.zeros(self.num_rows, *shape))


def initialise(root: nn.Module, seed: int, prefix: str = "") -> None:
    """Fill every keyed layer below ``root``, each draw keyed by (seed, prefix, path, parameter, row)."""
    for path, layer in root.named_modules():
        if isinstance(layer, Keyed) and not any(parameter.is_meta for parameter in layer.parameters()):
            with torch.no_grad():
                layer.initialise(lambda name, row, path=path: draws.generator(seed, prefix, path, name, row))


def per_task_layers(root: nn.Module) -> Iterator[tuple[str, PerTask]]:
    """Yield the layers below ``root`` (itself included) that hold one slice per task."""
    for path, layer in root.named_modules():
        if isinstance(layer, PerTask) and layer.is_per_task:
            yield path, layer


def generator_paths(root: nn.Module) -> list[str]:
    """Return what the names of the parameters of hyper-networks below ``root`` begin with."""
    return [f"{path}." if path else "" for path, layer in root.named_modules() if isinstance(layer, Generator)]
