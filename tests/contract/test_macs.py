"""Multiply-adds of the encoder of every method equal the closed forms of the equations, exactly.

Where the code multiplies more than the equations ask for, the form stays as it is, and what is spent beyond it is said
in ``BEYOND`` with the reason: to the unit, so that neither more nor less of it goes unnoticed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import macs
import pytest
import torch
from macs import TRUNKS, Form, Trunk, bottleneck, forked, lora, once, products

from petl_bench import plugins
from petl_bench.errors import UsageError
from petl_bench.features import Features
from petl_bench.measure.cost.flops import forward_work, tallied
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.method import Method

# What is refused, and how.
UNDEFINED = {
    ("relative-bias", "vit_small_patch16_224"): "needs relative-position tables, which",
    ("tadformer", "vit_small_patch16_224"): "needs attention in windows whose scores can be read, which",
    ("tadformer filter=static rank=64", "vit_small_patch16_224"): "needs attention in windows",
    ("tadformer filter=none taps=after-merge", "vit_small_patch16_224"): "attention in windows",
    ("ditask taps=after-merge", "vit_small_patch16_224"): "needs linear layers that merge patches",
    ("mtlora taps=after-merge", "vit_small_patch16_224"): "needs linear layers that merge patches",
}
BACKBONES = pytest.mark.parametrize("backbone", TRUNKS)
TASKS = pytest.mark.parametrize("tasks", [1, 4])
IMAGE = (1, 3, 224, 224)


def zero_keys_and_crossed_pairs(trunk: Trunk) -> int:
    """LoRA's B of rank 4 is one matrix [3C, 2r]: zero for the keys, and between the query's pair and the value's."""
    return trunk.per_token(lambda c: 2 * 4 * 3 * c - 2 * 4 * c)


def joint_embedding_twice(trunk: Trunk) -> int:
    """Hyperformer computes v of a task and a block at both places of the block."""
    return trunk.per_block(lambda c: 2 * 64 * 128 + 128 * 64)


def first_adapter_of_a_stage_again(trunk: Trunk) -> int:
    """A task state is zero in front of a stage, where the adapter gives what it gave in the trunk."""
    return trunk.per_token_of_last_blocks(bottleneck(4))


def times_tasks(of_trunk: Callable[[Trunk], int]) -> Form:
    return lambda trunk, tasks: tasks * of_trunk(trunk)


def whatever_the_tasks(of_trunk: Callable[[Trunk], int]) -> Form:
    return lambda trunk, tasks: of_trunk(trunk)


def none_beyond(trunk: Trunk, tasks: int) -> int:
    return 0


BEYOND: Mapping[str, Form] = {
    "mtl-lora": times_tasks(lambda trunk: 2 * zero_keys_and_crossed_pairs(trunk)),
    "hyperformer": times_tasks(joint_embedding_twice),
    "lora": times_tasks(zero_keys_and_crossed_pairs),
    "lora scope=shared": whatever_the_tasks(zero_keys_and_crossed_pairs),
    "lora weight=dora": times_tasks(zero_keys_and_crossed_pairs),
    "lora start=pissa rank_schedule=prefix": times_tasks(zero_keys_and_crossed_pairs),
    "vmt task_path=side": whatever_the_tasks(first_adapter_of_a_stage_again),
}


def built(method: str, backbone: str, tasks: int, **settings: object) -> Method:
    asked = {"backbone": {"name": backbone}, "method": {"name": method, **settings}, "tasks": tasks}
    return build_on_meta({**asked, "dataset": {"image_size": IMAGE[-1]}}).model.to("meta").method


def inference_macs(method: Method) -> int:
    return forward_work(method.eval(), torch.empty(IMAGE, device="meta")).macs


def training_macs(method: Method) -> int:
    with tallied() as tally:
        features: Features = method.train()(torch.empty(IMAGE, device="meta"))
        pyramids = [pyramid for pyramid in (*features.per_task.values(), features.shared) if pyramid is not None]
        ends = [level for pyramid in pyramids for level in pyramid]
        torch.autograd.backward(ends, [torch.ones_like(end) for end in ends])
    return tally.work.macs


@pytest.mark.parametrize("method", list(plugins.listings("methods")))
@BACKBONES
@TASKS
def test_inference_follows_the_equations(method: str, backbone: str, tasks: int) -> None:
    if method not in macs.FORMS:
        pytest.fail(f"The method {method!r} has no closed form: write its equations into FORMS of {macs.__file__}.")
    assert_form(macs.FORMS[method], method, {}, backbone, tasks)


def assert_form(form: Form, method: str, settings: Mapping[str, Any], backbone: str, tasks: int) -> None:
    name, trunk = label(method, settings), TRUNKS[backbone]
    if (name, backbone) in UNDEFINED:
        with pytest.raises(UsageError, match=UNDEFINED[name, backbone]):
            built(method, backbone, tasks, **settings)
        return
    expected = form(trunk, tasks) + BEYOND.get(name, none_beyond)(trunk, tasks)
    assert inference_macs(built(method, backbone, tasks, **settings)) == expected


def label(method: str, settings: Mapping[str, Any]) -> str:
    return " ".join([method, *(f"{key}={value}" for key, value in settings.items())])


def test_every_form_is_that_of_a_method() -> None:
    assert macs.FORMS.keys() <= plugins.listings("methods").keys()
    assert BEYOND.keys() <= macs.FORMS.keys() | {label(method, settings) for method, settings, _ in SETTINGS}


SETTINGS: list[tuple[str, dict[str, Any], Form]] = [
    ("adapter", {"scope": "shared"}, once(bottleneck(2))),
    ("branched-lora", {"groups": "semseg+normals", "shared_stages": 3}, macs.branched_lora(16, 3, joined=1)),
    ("lora", {"scope": "shared"}, once(lora(4))),
    ("lora", {"weight": "dora"}, forked(lora(4), lambda c: 2 * 4 * c * c)),
    ("lora", {"targets": "all"}, forked(macs.every_linear(4))),
    ("lora", {"targets": "all", "weight": "dora"}, forked(macs.every_linear(4), lambda c: 4 * 12 * c * c)),
    ("lora", {"start": "pissa", "rank_schedule": "prefix"}, forked(lora(4))),
    ("ditask", {"taps": "after-merge"}, lambda trunk, tasks: macs.ditask(trunk, tasks) + tasks * trunk.merging()),
    ("mtlora", {"taps": "after-merge"}, macs.mtlora(16, 4, after_merge=True)),
    ("tadformer", {"filter": "static", "rank": 64}, macs.tadformer(64, "static")),
    ("tadformer", {"filter": "none", "taps": "after-merge"}, macs.tadformer(16, "none", after_merge=True)),
    ("vmt", {"extract_at": "bottleneck"}, macs.vmt_lifted(4, 1)),
    ("vmt", {"extract_at": "pre-activation"}, macs.vmt_lifted(4, 0)),
    ("vmt", {"task_path": "side"}, macs.vmt_side(4)),
    ("vmt", {"task_path": "trunk"}, forked(bottleneck(4))),
    ("vmt", {"reenter": False}, once(bottleneck(4))),
    ("vmt", {"reenter": False, "task_path": "side"}, macs.vmt_side(4, reenter=False)),
]


@pytest.mark.parametrize(("method", "settings", "form"), SETTINGS, ids=[label(m, s) for m, s, _ in SETTINGS])
@BACKBONES
@TASKS
def test_inference_of_other_settings_does_too(
    method: str, settings: dict[str, Any], form: Form, backbone: str, tasks: int
) -> None:
    assert_form(form, method, settings, backbone, tasks)


def behind_a_frozen_start(trunk: Trunk, added: int, *, untrained: int) -> int:
    """Forward and backward behind the patch embedding, where ``added`` is trained and all of the trunk is frozen.

    A trained product costs three products, that of a frozen layer two. Both factors of Q K^T and A V are activations,
    so that these cost three in a frozen block as well. In front of the first trained site all cost one: ``untrained``
    is what that takes off the first block.
    """
    return 2 * trunk.linear() + 3 * (trunk.attention() + added) - untrained


@BACKBONES
@TASKS
def test_training_the_whole_backbone_costs_three_passes_but_for_the_gradient_of_the_image(
    backbone: str, tasks: int
) -> None:
    trunk = TRUNKS[backbone]
    expected = 3 * (trunk.stem + trunk.blocks()) - trunk.stem
    assert training_macs(built("full", backbone, tasks)) == expected


@BACKBONES
@TASKS
@pytest.mark.parametrize(("method", "rho", "passes"), [("vmt", 4, 1), ("adapter", 2, None)])
def test_training_adapters_goes_back_to_the_norm_of_the_first_one(
    method: str, rho: int, passes: int | None, backbone: str, tasks: int
) -> None:
    """Attention and MLP of the first block stand in front of it; the patch embedding does so in any case, once."""
    trunk = TRUNKS[backbone]
    first = trunk.stages[0]
    untrained = first.tokens * 12 * first.width**2 + 2 * products(first)
    one = behind_a_frozen_start(trunk, trunk.per_token(bottleneck(rho)), untrained=untrained)
    assert training_macs(built(method, backbone, tasks)) == trunk.stem + (passes or tasks) * one


@BACKBONES
@TASKS
@pytest.mark.parametrize("scope", ["shared", "per-task"])
def test_training_lora_goes_back_to_the_first_query_and_value(scope: str, backbone: str, tasks: int) -> None:
    """W and A of the first block read what needs no gradient, so that neither of them hands one on."""
    trunk = TRUNKS[backbone]
    first = trunk.stages[0]
    untrained = first.tokens * (3 * first.width**2 + 2 * 4 * first.width)
    added = trunk.per_token(lora(4)) + zero_keys_and_crossed_pairs(trunk)
    passes = 1 if scope == "shared" else tasks
    expected = trunk.stem + passes * behind_a_frozen_start(trunk, added, untrained=untrained)
    assert training_macs(built("lora", backbone, tasks, scope=scope)) == expected


@BACKBONES
@TASKS
@pytest.mark.parametrize(
    ("method", "settings", "beside"),
    [
        ("side", {}, macs.ladder_alone(4)),
        ("vmt", {"reenter": False}, lambda trunk: trunk.per_token(bottleneck(4))),
    ],
    ids=["side", "vmt reenter=False"],
)
def test_training_beside_the_trunk_costs_it_a_forward_pass_alone(
    method: str, settings: dict[str, Any], beside: Callable[[Trunk], int], backbone: str, tasks: int
) -> None:
    """Nothing goes back through the trunk; what stands beside it is trained up to its own input norms, three times."""
    trunk = TRUNKS[backbone]
    expected = trunk.stem + trunk.blocks() + 3 * beside(trunk)
    assert training_macs(built(method, backbone, tasks, **settings)) == expected


def test_training_beside_the_trunk_is_less_than_half_of_training_all_of_it() -> None:
    full = training_macs(built("full", "swin_tiny_patch4_window7_224", 4))
    for method, settings in (("side", {}), ("vmt", {"reenter": False})):
        assert training_macs(built(method, "swin_tiny_patch4_window7_224", 4, **settings)) < 0.40 * full
