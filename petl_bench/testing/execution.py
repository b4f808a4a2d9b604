"""How T tasks are run, told from what is computed for one task and for three.

Two things are looked at. What a *part* of the backbone works on: a part is a parameter that is no norm's, or an
activation, and it works on the elements of the results that it enters, views aside. It works on more for more tasks
exactly where values of a task pass through it. Norms are left out: a tap may look at the tasks through a frozen one.
And the *slope*: what one task more adds in multiply-adds of products, convolutions and attention, as a share of those
of the plain backbone.

==========  ============================================================================================================
execution   rule
==========  ============================================================================================================
shared      one pyramid for all tasks; no part of the backbone works on more; slope 0
tapped      a pyramid per task; no part of the backbone works on more; slope < 0.5; a training step goes back through it
side        as tapped, but no part of the backbone is kept for a backward pass: training costs it a forward pass alone
streamed    a pyramid per task; parts of the backbone work on more, but of no block that is followed by another one in
            its stage; 0 < slope < 1. Where tasks couple, a few tokens of each may stand in every block
forked      a pyramid per task, from one backbone; every matrix of the last block works on T times as much; slope > 0
branched    as forked, with fewer branches than tasks: every matrix of the last block works on a whole number of times
            as much, less than T
replicated  a pyramid per task, from T backbones without a parameter in common; slope >= 0.99
==========  ============================================================================================================
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from petl_bench.backbones.base import Backbone
from petl_bench.backward import trunk_kept
from petl_bench.features import Features
from petl_bench.method import Method
from petl_bench.testing.subject import TASKS, Subject

MOST_OF_A_TAP = 0.5
LEAST_OF_A_REPLICA = 0.99
MOST_OF_COUPLED_TASKS = 2.0  # times as much for three tasks, whose whole streams would be three times


class PartWork(TorchDispatchMode):
    """Count the elements that each part of the backbone works on, inside a ``with`` block.

    Args:
        parameters: By name.
        activations: Modules without parameters, by name.
    """

    def __init__(self, parameters: Mapping[str, Tensor], activations: Mapping[str, nn.Module]) -> None:
        super().__init__()
        self.elements: Counter[str] = Counter()
        self._names = {_storage(parameter): name for name, parameter in parameters.items()}
        for name, module in activations.items():
            module.register_forward_hook(partial(self._activated, name))

    def _activated(self, name: str, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        self.elements[name] += output.numel()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        out = func(*args, **(kwargs or {}))
        results = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        entered = {_storage(leaf) for leaf in tree_leaves((args, kwargs or {})) if isinstance(leaf, Tensor)}
        for storage in entered & self._names.keys():
            if results and storage != _storage(results[0]):
                self.elements[self._names[storage]] += results[0].numel()
        return out


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


@dataclass(frozen=True)
class Seen:
    """What one forward pass for T tasks did.

    Attributes:
        method: The method that ran.
        features: What it returned.
        flops: Of products, convolutions and attention.
        elements: What every part of the backbone worked on.
        kept: Parameters of the backbone, norms left out, that a training step keeps to go back through.
    """

    method: Method
    features: Features
    flops: int
    elements: Mapping[str, int]
    kept: frozenset[str]

    @property
    def backbones(self) -> list[Backbone]:
        """The backbones in the method, one of them counted once."""
        return [module for module in self.method.modules() if isinstance(module, Backbone)]


@torch.no_grad()
def _see(subject: Subject, tasks: tuple[str, ...]) -> Seen:
    backbone = subject.backbone()
    activations = {id(module) for module in backbone.modules() if _is_activation(module)}
    norms = {id(parameter) for norm in backbone.norms() for parameter in norm.parameters()}
    method = subject.method(backbone, tasks, subject.config, 0).eval()
    parameters = {
        name: parameter
        for name, parameter in method.named_parameters()
        if method.belongs_to_backbone(name) and id(parameter) not in norms
    }
    work = PartWork(parameters, {path: m for path, m in method.named_modules() if id(m) in activations})
    # Fused attention is taken apart, because torch's counter does not know it on the CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, work:
        features = method(subject.images())
    return Seen(method, features, counter.get_total_flops(), work.elements, trunk_kept(method, subject.images()))


def _is_activation(module: nn.Module) -> bool:
    bare = next(module.children(), None) is None and next(module.parameters(), None) is None
    return bare and not isinstance(module, (nn.Identity, nn.Dropout))


@dataclass(frozen=True)
class Growth:
    """What three tasks do beyond one.

    Attributes:
        one: What ran for one task; likewise ``many`` for all of ``TASKS``.
        slope: Share of the plain backbone's multiply-adds that one task more adds.
    """

    one: Seen
    many: Seen
    slope: float

    @property
    def grown(self) -> list[str]:
        """Parts of the backbone that work on more for more tasks."""
        return [name for name, elements in self.many.elements.items() if elements > self.one.elements.get(name, 0)]

    def times(self, name: str) -> float:
        """Return how many times as much a part of the backbone works on."""
        return self.many.elements[name] / max(1, self.one.elements.get(name, 0))

    def require_slope(self, holds: bool, expected: str) -> None:
        """Fail, with what is expected of the slope, unless it holds."""
        assert holds, f"a task more adds {self.slope:.3f} of the plain backbone's multiply-adds, expected is {expected}"

    def require_pyramid_per_task(self) -> None:
        """Fail unless every task has a pyramid of its own."""
        missing = [task for task in TASKS if task not in self.many.features.per_task]
        assert not missing, f"{missing[0]} has no pyramid of its own: it reads the shared one"

    def require_one_backbone(self) -> None:
        """Fail if there are several."""
        number = len(self.many.backbones)
        assert number == 1, f"there are {number} backbones for {len(TASKS)} tasks"

    def require_backbone_once(self) -> None:
        """Fail if a part of the backbone works on values of a task."""
        assert not self.grown, (
            f"{self.grown[0]} of the backbone works on {self.times(self.grown[0]):.3g} times as much for {len(TASKS)} "
            "tasks"
        )


def _shared(growth: Growth) -> None:
    per_task = list(growth.many.features.per_task)
    assert not per_task, f"{per_task[0]} has a pyramid of its own"
    growth.require_one_backbone()
    growth.require_backbone_once()
    growth.require_slope(growth.slope == 0, "0")


def _beside_the_trunk(growth: Growth) -> None:
    growth.require_pyramid_per_task()
    growth.require_one_backbone()
    growth.require_backbone_once()
    growth.require_slope(growth.slope < MOST_OF_A_TAP, f"less than {MOST_OF_A_TAP}")


def _tapped(growth: Growth) -> None:
    _beside_the_trunk(growth)
    assert growth.one.kept, "nothing of the backbone is kept for a backward pass: that is side"


def _side(growth: Growth) -> None:
    _beside_the_trunk(growth)
    kept = sorted(growth.one.kept)
    assert not kept, f"{kept[0]} of the backbone is kept for a backward pass through it"


def _streamed(growth: Growth) -> None:
    growth.require_pyramid_per_task()
    growth.require_one_backbone()
    assert growth.grown, "nothing of a task passes through the backbone: no part of it works on more"
    followed = [block for block in growth.many.method.backbone.blocks if not block.is_last_in_stage]
    for block in followed:
        reached = [name for name in growth.grown if name.startswith(f"backbone.trunk.{block.path}.")]
        if growth.many.method.couples_tasks:
            reached = [name for name in reached if growth.times(name) >= MOST_OF_COUPLED_TASKS]
        assert not reached, f"{reached[0]} works on values of a task, and its block is not the last of its stage"
    growth.require_slope(0 < growth.slope < 1, "between 0 and 1")


def _forked(growth: Growth) -> None:
    growth.require_pyramid_per_task()
    growth.require_one_backbone()
    inside = f"backbone.trunk.{growth.many.method.backbone.blocks[-1].path}."
    for name, parameter in growth.many.method.named_parameters():
        inner = name.startswith(inside) and _is_matrix(growth, name, parameter)
        elements = growth.many.elements.get(name, 0) if inner else 0
        exact = elements == len(TASKS) * growth.one.elements.get(name, 0)
        assert not elements or exact, f"{name} of the last block works on {growth.times(name):.3g} times as much"
    growth.require_slope(growth.slope > 0, "more than 0")


def _branched(growth: Growth) -> None:
    growth.require_pyramid_per_task()
    growth.require_one_backbone()
    inside = f"backbone.trunk.{growth.many.method.backbone.blocks[-1].path}."
    times = {
        growth.many.elements[name] / growth.one.elements[name]
        for name, parameter in growth.many.method.named_parameters()
        if name.startswith(inside) and _is_matrix(growth, name, parameter) and growth.one.elements.get(name)
    }
    number = next(iter(times), 1.0)
    whole = len(times) == 1 and number == int(number) and 1 < number < len(TASKS)
    assert whole, f"the matrices of the last block work on {sorted(times)} times as much for {len(TASKS)} tasks"
    growth.require_slope(growth.slope > 0, "more than 0")


def _is_matrix(growth: Growth, name: str, parameter: Tensor) -> bool:
    return parameter.dim() > 1 and not growth.many.method.backbone.is_beside_tokens(name)


def _replicated(growth: Growth) -> None:
    growth.require_pyramid_per_task()
    number = len(growth.many.backbones)
    assert number == len(TASKS), f"there are {number} backbones for {len(TASKS)} tasks"
    held = [{id(parameter) for parameter in backbone.parameters()} for backbone in growth.many.backbones]
    assert len(set.union(*held)) == sum(map(len, held)), "the backbones have parameters in common"
    growth.require_slope(growth.slope >= LEAST_OF_A_REPLICA, f"{LEAST_OF_A_REPLICA} at least")


RULES: dict[str, Callable[[Growth], None]] = {
    "shared": _shared,
    "tapped": _tapped,
    "side": _side,
    "streamed": _streamed,
    "forked": _forked,
    "branched": _branched,
    "replicated": _replicated,
}


def execution_as_declared(subject: Subject) -> None:
    """T tasks are run as declared: shared, tapped, side, streamed, forked, branched or replicated."""
    one, many = _see(subject, TASKS[:1]), _see(subject, TASKS)
    declared = many.method.execution
    assert declared in RULES, f"unknown execution {declared!r}: there are {', '.join(RULES)}"
    assert declared in subject.method.executions, f"{declared} is not among the declared {subject.method.executions}"
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as plain, torch.no_grad():
        subject.backbone()(subject.images())
    slope = (many.flops - one.flops) / (len(TASKS) - 1) / plain.get_total_flops()
    try:
        RULES[declared](Growth(one, many, slope))
    except AssertionError as error:
        raise AssertionError(f"declared {declared}: {error}") from None
