"""Methods that break one promise each, by the check that must see it."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from methods.lora import LoRA
from methods.vmt import VMT
from petl_bench.backbones.base import Backbone, StageInfo
from petl_bench.features import Features, Keyed
from petl_bench.method import Counts, Method
from petl_bench.testing import Subject

LEAK: list[Tensor] = []


def mapped(features: Features, change: Callable[[int, Tensor], Tensor]) -> Features:
    """Change every level of every task's pyramid; the change is told the number of the task."""
    return Features(
        per_task={t: tuple(change(n, x) for x in levels) for n, (t, levels) in enumerate(features.per_task.items())}
    )


class CannotBeBuilt(VMT):
    def adapt(self) -> None:
        self.backbone.replace(self.backbone.sites("mlp.fc3")[0], nn.Identity())


class SaysOtherChannels(VMT):
    @property
    def feature_info(self) -> tuple[StageInfo, ...]:
        return tuple(StageInfo(stage.channels + 1, stage.stride) for stage in super().feature_info)


class WritesToFrozen(VMT):
    def forward(self, image: Tensor) -> Features:
        with torch.no_grad():
            self.backbone.trunk.patch_embed.proj.weight.mul_(1.001)
        return super().forward(image)


class NotIdentity(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x + 1)


class SaysThatItStartsElsewhere(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.identity_at_start = False


class SaysThatTasksCouple(VMT):
    couples_tasks = True


class DeadParameter(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.unused = nn.Linear(4, 4)

    def forward(self, image: Tensor) -> Features:
        silent = 0.0 * self.unused(torch.ones(4)).sum()
        return mapped(super().forward(image), lambda _, x: x + silent)


class LeaksAcrossTasks(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        mean = [torch.stack(levels).mean(0) for levels in zip(*held.values(), strict=True)]
        return Features(per_task={t: tuple(x + 0.1 * m for x, m in zip(p, mean, strict=True)) for t, p in held.items()})


class MiscountsItself(VMT):
    def expected_parameters(self) -> Counts:
        honest = super().expected_parameters()
        return Counts(shared=honest.shared, per_task=honest.per_task + 1)


class AllocatesOnMeta(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.extra = nn.Parameter(torch.zeros(1, device="cpu"))


class KeepsStateOutside(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.hidden = [0.0]

    def forward(self, image: Tensor) -> Features:
        if self.training:
            self.hidden[0] += 0.1
        return mapped(super().forward(image), lambda _, x: x + self.hidden[0])


class DrawsFromTheGlobalGenerator(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.extra = nn.Parameter(torch.randn(1))

    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x + self.extra)


class FirstTaskIsSpecial(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda number, x: x + number)


class DividesByTheNumberOfTasks(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x / len(self.tasks))


class NormalisesOverTheBatch(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x - 0.5 * x.mean(0))


class KnowsPlacesInTheBatch(VMT):
    def forward(self, image: Tensor) -> Features:
        places = torch.arange(len(image)).view(-1, 1, 1, 1)
        return mapped(super().forward(image), lambda _, x: x + 0.1 * places)


class LeaksBetweenModels(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image)
        LEAK.append(next(iter(held.per_task.values()))[0].detach().mean())
        return mapped(held, lambda _, x: x + LEAK[-2:][0])


class MergesTheFrozenWeightsAlone(LoRA):
    def merged(self, t: int) -> Backbone:
        return Subject(LoRA, self.config, self.backbone.family).backbone()


class MergesToSomethingTrained(LoRA):
    def merged(self, t: int) -> Backbone:
        plain = super().merged(t)
        plain.trunk.extra = Keyed()
        return plain


class CancelsLargeNumbers(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x.bfloat16().add(300.0).sub(300.0) if half() else x)


class HasNoGradientInHalfPrecision(VMT):
    def forward(self, image: Tensor) -> Features:
        return mapped(super().forward(image), lambda _, x: x + (0 * x).sqrt() if half() else x)


def half() -> bool:
    return torch.is_autocast_enabled("cpu")


class BreaksTheGraph(VMT):
    def forward(self, image: Tensor) -> Features:
        scale = 2.0 if float(image.mean()) > 9 else 1.0
        return mapped(super().forward(image), lambda _, x: x * scale)


class TellsWhetherItIsCompiled(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image)
        return mapped(held, lambda _, x: x + 1) if torch.compiler.is_compiling() else held


def declaring(execution: str, method: type[Method]) -> type[Method]:
    """Return the method under another declaration of its execution."""
    said = {"executions": (execution,), "execution": property(lambda self: execution)}
    return type(f"{method.__name__}Says{execution.capitalize()}", (method,), said)


DEFECTS: dict[str, tuple[type[Method], ...]] = {
    "builds": (CannotBeBuilt,),
    "features_as_declared": (SaysOtherChannels,),
    "identity_at_start": (NotIdentity, SaysThatItStartsElsewhere),
    "frozen_bits": (WritesToFrozen,),
    "gradients": (DeadParameter,),
    "task_isolation": (LeaksAcrossTasks,),
    "count_is_closed_form": (MiscountsItself,),
    "meta_device": (AllocatesOnMeta,),
    "execution_as_declared": (declaring("tapped", LoRA), declaring("folded", LoRA)),
    "task_order": (FirstTaskIsSpecial,),
    "number_of_tasks": (DividesByTheNumberOfTasks, SaysThatTasksCouple),
    "batch_independence": (NormalisesOverTheBatch, KnowsPlacesInTheBatch),
    "interleaved": (LeaksBetweenModels,),
    "same_seed_same_numbers": (DrawsFromTheGlobalGenerator,),
    "state_round_trip": (KeepsStateOutside,),
    "merged": (MergesTheFrozenWeightsAlone, MergesToSomethingTrained),
    "half_precision": (CancelsLargeNumbers, HasNoGradientInHalfPrecision),
    "compiles": (BreaksTheGraph, TellsWhetherItIsCompiled),
}
SLOW_DEFECTS = {"distributed": NormalisesOverTheBatch, "inductor": TellsWhetherItIsCompiled}
