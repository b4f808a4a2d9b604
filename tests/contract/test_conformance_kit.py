"""A kit that cannot fail proves nothing: every check is given a method with the defect it looks for."""

import pytest
import torch
from torch import Tensor, nn

from methods.lora import LoRA
from methods.vmt import VMT
from petl_bench.features import Features
from petl_bench.method import Counts
from petl_bench.testing import CHECKS, Subject

LEAK: list[Tensor] = []


class WritesToFrozen(VMT):
    def forward(self, image: Tensor) -> Features:
        with torch.no_grad():
            self.backbone.trunk.patch_embed.proj.weight.mul_(1.001)
        return super().forward(image)


class NotIdentity(VMT):
    def adapt(self) -> None:
        super().adapt()
        for extract in self.extract:
            nn.init.ones_(extract.beta)


class DeadParameter(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.unused = nn.Linear(4, 4)

    def forward(self, image: Tensor) -> Features:
        features = super().forward(image)
        silent = 0.0 * self.unused(torch.ones(4)).sum()
        return Features(per_task={t: (p[0] + silent, *p[1:]) for t, p in features.per_task.items()})


class LeaksAcrossTasks(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        mean = [torch.stack(levels).mean(0) for levels in zip(*held.values(), strict=True)]
        return Features(per_task={t: tuple(x + 0.1 * m for x, m in zip(p, mean, strict=True)) for t, p in held.items()})


class MiscountsItself(VMT):
    def expected_parameters(self) -> Counts:
        honest = super().expected_parameters()
        return Counts(shared=honest.shared, per_task=honest.per_task + 1)


class KeepsStateOutside(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.hidden = [0.0]

    def forward(self, image: Tensor) -> Features:
        if self.training:
            self.hidden[0] += 0.1
        held = super().forward(image).per_task
        return Features(per_task={t: tuple(x + self.hidden[0] for x in p) for t, p in held.items()})


class DrawsFromTheGlobalGenerator(VMT):
    def adapt(self) -> None:
        super().adapt()
        self.extra = nn.Parameter(torch.randn(1))

    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        return Features(per_task={t: tuple(x + self.extra for x in p) for t, p in held.items()})


class FirstTaskIsSpecial(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        return Features(per_task={t: tuple(x + n for x in p) for n, (t, p) in enumerate(held.items())})


class DividesByTheNumberOfTasks(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        return Features(per_task={t: tuple(x / len(self.tasks) for x in p) for t, p in held.items()})


class LeaksBetweenModels(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        LEAK.append(next(iter(held.values()))[0].detach().mean())
        return Features(per_task={t: tuple(x + LEAK[-2:][0] for x in p) for t, p in held.items()})


class BreaksTheGraph(VMT):
    def forward(self, image: Tensor) -> Features:
        held = super().forward(image).per_task
        scale = 2.0 if float(image.mean()) > 9 else 1.0
        return Features(per_task={t: tuple(x * scale for x in p) for t, p in held.items()})


class SaysTappedButForks(LoRA):
    executions = ("tapped",)

    @property
    def execution(self) -> str:
        return "tapped"


DEFECTS = {
    "frozen_bits": WritesToFrozen,
    "identity_at_start": NotIdentity,
    "gradients": DeadParameter,
    "task_isolation": LeaksAcrossTasks,
    "count_is_closed_form": MiscountsItself,
    "state_round_trip": KeepsStateOutside,
    "same_seed_same_numbers": DrawsFromTheGlobalGenerator,
    "task_order": FirstTaskIsSpecial,
    "number_of_tasks": DividesByTheNumberOfTasks,
    "interleaved": LeaksBetweenModels,
    "compiles": BreaksTheGraph,
    "execution_as_declared": SaysTappedButForks,
}


def test_every_check_has_its_defect() -> None:
    assert set(DEFECTS) == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS)
def test_check_fails_on_its_defect(check: str) -> None:
    method = DEFECTS[check]
    subject = Subject(method, method.Config(name=method.name), "swin")
    with pytest.raises((AssertionError, RuntimeError)):
        CHECKS[check](subject)
