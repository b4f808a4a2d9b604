"""A kit that cannot fail proves nothing: every check is given a method with the defect it looks for."""

import pytest
import torch
from defects import (
    DEFECTS,
    SLOW_DEFECTS,
    CannotBeBuilt,
    DividesByTheNumberOfTasks,
    LeaksAcrossTasks,
    SaysOtherChannels,
    SaysThatItStartsElsewhere,
    SaysThatTasksCouple,
    declaring,
)
from torch import Tensor, nn

from methods.adapter_plus import AdapterPlus
from methods.branched_lora import BranchedLoRA
from methods.decoders import Decoders
from methods.full import Full
from methods.hyperformer import Hyperformer
from methods.lora import LoRA
from methods.mtlora import MTLoRA
from methods.side import Side
from methods.single import Single
from methods.vmt import VMT
from petl_bench import plugins
from petl_bench.backward import trunk_kept
from petl_bench.cli.support import read_properties
from petl_bench.features import Features
from petl_bench.method import Method
from petl_bench.testing import CHECKS, SLOW_CHECKS, NotApplicable, Subject, check_method
from petl_bench.testing.execution import RULES
from petl_bench.testing.properties import properties
from petl_bench.testing.subject import IMAGE_SIZES
from petl_bench.testing.verdict import judge


def subject_of(method: type[Method], family: str = "swin", **settings: object) -> Subject:
    return Subject(method, method.Config(name=method.name, **settings), family)


def test_every_check_has_its_defect() -> None:
    assert set(DEFECTS) == set(CHECKS)
    assert set(SLOW_DEFECTS) == set(SLOW_CHECKS)


@pytest.mark.parametrize(
    ("check", "method"), [(check, method) for check, methods in DEFECTS.items() for method in methods]
)
def test_a_check_fails_on_its_defect(check: str, method: type[Method]) -> None:
    verdict = judge(check, lambda: CHECKS[check](subject_of(method)))
    assert verdict.outcome == "FAIL"
    assert verdict.detail


@pytest.mark.slow
@pytest.mark.parametrize("check", SLOW_DEFECTS)
def test_a_slow_check_fails_on_its_defect(check: str) -> None:
    with pytest.raises(AssertionError, match="differ"):
        SLOW_CHECKS[check](subject_of(SLOW_DEFECTS[check], "vit"))


class TwoBranches(BranchedLoRA):
    class Config(BranchedLoRA.Config):
        groups: str = "first+second"


RUNS = {
    "shared": Full,
    "tapped": VMT,
    "side": Side,
    "streamed": MTLoRA,
    "forked": LoRA,
    "branched": TwoBranches,
    "replicated": Single,
}


@pytest.mark.parametrize("said", RULES)
@pytest.mark.parametrize("runs", RULES)
def test_no_execution_passes_for_another(runs: str, said: str) -> None:
    """One honest declaration each, and all that are not."""
    check = CHECKS["execution_as_declared"]
    verdict = judge("execution", lambda: check(subject_of(declaring(said, RUNS[runs]), "vit")))
    assert verdict.passed == (runs == said), verdict.detail


@pytest.mark.parametrize("path", ["side", "trunk"])
def test_a_task_state_beside_the_trunk_is_a_tap_and_inside_it_a_fork(path: str) -> None:
    """Also through a frozen norm, which the adapters of every task read through."""
    subject = subject_of(VMT, "vit", task_path=path, norm="block")
    CHECKS["execution_as_declared"](subject)
    for said in ("tapped", "streamed", "forked"):
        other = Subject(declaring(said, VMT), subject.config, "vit")
        verdict = judge(said, lambda other=other: CHECKS["execution_as_declared"](other))
        assert verdict.passed == (said == {"side": "tapped", "trunk": "forked"}[path]), verdict.detail


@pytest.mark.parametrize("path", ["tap", "side"])
def test_what_does_not_re_enter_the_trunk_is_beside_it(path: str) -> None:
    subject = subject_of(VMT, "swin", task_path=path, reenter=False)
    CHECKS["execution_as_declared"](subject)
    other = Subject(declaring("tapped", VMT), subject.config, "swin")
    verdict = judge("tapped", lambda: CHECKS["execution_as_declared"](other))
    assert "that is side" in verdict.detail


@pytest.mark.parametrize(
    ("method", "seen"),
    [
        (VMT, {"tasks": "isolated", "start": "pre-trained", "backward": "through the trunk"}),
        (Side, {"tasks": "isolated", "start": "pre-trained", "backward": "beside the trunk"}),
        (SaysThatTasksCouple, {"tasks": "isolated"}),
        (SaysThatItStartsElsewhere, {"start": "pre-trained"}),
        (DividesByTheNumberOfTasks, {"tasks": "coupled", "start": "elsewhere"}),
        (LeaksAcrossTasks, {"tasks": "coupled"}),
        (declaring("side", VMT), {"backward": "through the trunk"}),
    ],
)
def test_properties_are_seen_whatever_a_method_says(method: type[Method], seen: dict[str, str]) -> None:
    assert properties(subject_of(method)).items() >= seen.items()


@pytest.mark.parametrize("name", plugins.listings("methods"))
def test_the_committed_table_of_properties_is_what_methods_say_and_the_kit_holds_them_to(name: str) -> None:
    row = read_properties()[name]
    method = subject_of(plugins.load("methods", name), row["network"]).build().method
    images = torch.rand(1, 3, *[IMAGE_SIZES[row["network"]]] * 2)
    assert row["tasks"] == ("coupled" if method.couples_tasks else "isolated")
    assert row["start"] == ("pre-trained" if method.identity_at_start else "elsewhere")
    assert row["backward"] == ("through the trunk" if trunk_kept(method, images) else "beside the trunk")


def test_an_exempt_parameter_may_have_no_gradient() -> None:
    class Unused(Decoders):
        def adapt(self) -> None:
            self.unused = nn.Linear(4, 4)

    class Exempt(Unused):
        gradient_exempt = {"unused": "nothing reads it"}

    with pytest.raises(AssertionError, match=r"unused\.weight gets no gradient"):
        CHECKS["gradients"](subject_of(Unused))
    CHECKS["gradients"](subject_of(Exempt))


def test_a_hyper_network_belongs_to_all_tasks() -> None:
    subject = subject_of(Hyperformer, "vit")
    owned = subject.build().method.owned()
    assert owned.generator
    assert owned.stacked
    for check in ("gradients", "task_isolation", "number_of_tasks", "count_is_closed_form"):
        CHECKS[check](subject)


def test_what_does_not_apply_says_why() -> None:
    with pytest.raises(NotApplicable, match="no plain form"):
        CHECKS["merged"](subject_of(VMT))

    with pytest.raises(NotApplicable, match="starts elsewhere, as it says"):
        CHECKS["identity_at_start"](subject_of(AdapterPlus))
    with pytest.raises(NotApplicable, match="other features"):
        CHECKS["identity_at_start"](subject_of(SaysOtherChannels))


def test_nothing_more_is_asked_of_a_method_that_cannot_be_built() -> None:
    (verdict,) = check_method(CannotBeBuilt)
    assert verdict.check == "builds"
    assert "fc3" in verdict.detail


def test_a_verdict_says_where_a_method_raised() -> None:
    class Raises(Decoders):
        def forward(self, image: Tensor) -> Features:
            raise KeyError("missing piece")

    (verdict,) = check_method(Raises)
    assert "missing piece" in verdict.detail
    assert "test_conformance_kit.py:" in verdict.detail
