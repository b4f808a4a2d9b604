"""Branched LoRA equals a plain trunk for every group, with W + B A of the early stages and of its branch."""

from typing import Any

import pytest
import torch

from methods._stream import LoRALinear
from methods.branched_lora import BranchedLinear, BranchedLoRA
from petl_bench.errors import UsageError
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

GROUPS = {"": ["first", "second", "third"], "first+third": ["first+third", "second", "first+third"]}


def subject(family: str, **settings: object) -> Subject:
    return Subject(BranchedLoRA, BranchedLoRA.Config(name="branched-lora", **settings), family)


def product(pair: Any) -> torch.Tensor:
    return pair.up.weight[0] @ pair.down.weight[0]


@pytest.mark.parametrize("family", ["swin", "vit"])
@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("stages", [0, 2, 3])
@torch.no_grad()
def test_every_task_reads_the_merged_trunk_of_its_group(family: str, groups: str, stages: int) -> None:
    one = subject(family, groups=groups, shared_stages=stages)
    method = disturb(one.build()).method
    images = one.images()
    features = method(images)
    frozen = tiny_backbone(family)
    for task, branch in zip(TASKS, GROUPS[groups], strict=True):
        plain = tiny_backbone(family)
        for kind in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"):
            for ours, theirs in zip(method.backbone.sites(kind), plain.sites(kind), strict=True):
                layer = ours.module
                assert isinstance(layer, LoRALinear if ours.stage < stages else BranchedLinear)
                pair = layer.shared if ours.stage < stages else layer.pairs[branch]
                theirs.module.weight += product(pair)
        expected = plain(images)
        for ours, theirs in zip(features.for_task(task), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (expected[-1] - frozen(images)[-1]).abs().max() > 1e-2
    same = [torch.equal(features.for_task("first")[-1], features.for_task(other)[-1]) for other in ("second", "third")]
    assert same == [False, bool(groups)]


@pytest.mark.parametrize(
    ("settings", "execution"),
    [
        ({}, "forked"),
        ({"groups": "first+second"}, "branched"),
        ({"groups": "first+second+third"}, "shared"),
        ({"shared_stages": 4}, "shared"),
        ({"groups": "first+another,second"}, "forked"),  # of a run with more tasks
    ],
)
def test_the_number_of_branches_is_the_execution(settings: dict[str, object], execution: str) -> None:
    assert subject("swin", **settings).build().method.execution == execution


def test_what_belongs_to_a_group_of_several_is_nobodys_own() -> None:
    owned = subject("vit", groups="first+second").build().method.owned()
    assert not owned.private["first"]
    assert not owned.private["second"]
    assert owned.private["third"]
    assert {name for name in owned.shared if "first+second" in name}


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        ("first+second,second", "'second' stands in more than one place"),
        ("first+secondx", "there is no task 'secondx'. Did you mean 'second'?"),
    ],
)
def test_groups_that_cannot_be_are_refused(groups: str, fault: str) -> None:
    with pytest.raises(UsageError) as refused:
        subject("vit", groups=groups).build()
    assert fault in str(refused.value)


@pytest.mark.parametrize("groups", ["first second", "first,,second", "+first", "first+"])
def test_groups_that_are_not_spelt_so_are_refused(groups: str) -> None:
    with pytest.raises(ValueError, match="groups"):
        subject("vit", groups=groups)
