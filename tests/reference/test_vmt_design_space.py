"""Every choice in VMT-Adapter's design space equals its equation, written out in plain loops over tasks and blocks."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.adapter import Adapter
from methods.adaptformer import AdaptFormer
from methods.vmt import VMT
from methods.vmt_lite import VMTLite
from petl_bench.backbones.base import Block
from petl_bench.features import Pyramid
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

VMT_SETTINGS: list[dict[str, Any]] = [
    {},
    {"task_path": "side"},
    {"task_path": "trunk"},
    {"extract": "none"},
    {"extract": "scale"},
    {"extract_at": "bottleneck"},
    {"extract_at": "pre-activation"},
    {"extract_from": "last"},
    {"decoder_input": "concat"},
    {"decoder_input": "task-only"},
    {"position": "parallel-attn"},
    {"position": "sequential-mlp"},
    {"norm": "block"},
    {"activation": "relu"},
    {"scale": 0.5},
    {"task_path": "side", "extract_at": "bottleneck", "extract": "scale"},
    {"task_path": "side", "extract_at": "pre-activation", "decoder_input": "concat"},
    {"task_path": "side", "decoder_input": "task-only", "position": "sequential-mlp", "norm": "block"},
    {"task_path": "trunk", "extract_at": "bottleneck", "extract_from": "last"},
    {"task_path": "trunk", "extract_at": "pre-activation", "position": "parallel-attn", "norm": "block"},
    {"extract_at": "bottleneck", "decoder_input": "task-only", "extract_from": "last"},
    {"extract_at": "pre-activation", "decoder_input": "task-only", "extract": "scale", "activation": "relu"},
    {"reenter": False},
    {"reenter": False, "extract": "none"},
    {"reenter": False, "extract_at": "bottleneck", "position": "parallel-attn", "norm": "block"},
    {"reenter": False, "extract_at": "pre-activation", "position": "sequential-mlp", "decoder_input": "task-only"},
    {"reenter": False, "decoder_input": "concat", "scale": 0.5},
    {"reenter": False, "task_path": "side"},
    {"reenter": False, "task_path": "side", "extract_at": "bottleneck", "extract": "scale", "decoder_input": "concat"},
]
LITE_SETTINGS: list[dict[str, Any]] = [
    {},
    {"sharing": "stage-tied"},
    {"sharing": "stage-untied", "scale": 2.0},
    {"sharing": "tied", "task_path": "trunk"},
    {"sharing": "stage-tied", "task_path": "trunk"},
    {"sharing": "stage-tied", "task_path": "side", "decoder_input": "task-only"},
    {"sharing": "stage-tied", "extract_at": "output", "extract_from": "last", "norm": "own"},
    {"sharing": "stage-tied", "reenter": False},
]
CASES = [("vmt", settings) for settings in VMT_SETTINGS] + [("vmt-lite", settings) for settings in LITE_SETTINGS]


def subject(name: str, family: str, settings: dict[str, Any]) -> Subject:
    cls = {"vmt": VMT, "vmt-lite": VMTLite}[name]
    return Subject(cls, cls.Config(name=name, **settings), family)


class OneBlock:
    """The equations of one block for one task, with the weights of ``method``."""

    def __init__(self, method: Any, block: Block, t: int, extract: Any) -> None:
        self.config, branch = method.config, method.backbone.block_module(block).branch
        self.act = {"gelu": F.gelu, "relu": F.relu}[self.config.activation]
        self.input_norm = branch.norm
        tied = self.config.name == "vmt-lite" and self.config.sharing != "stage-untied"
        self.down, self.b_down = branch.down.weight[0], branch.down.bias[0]
        self.up, self.b_up = (self.down.T, branch.up.bias) if tied else (branch.up.weight[0], branch.up.bias[0])
        self.s = branch.up.scale if tied else self.config.scale
        if extract is not None:
            self.alpha = extract.alpha[t]
            self.beta = extract.beta[t] if self.config.extract == "scale-shift" else torch.zeros_like(self.alpha)

    def z(self, a: Tensor, frozen: Any) -> Tensor:
        if self.config.norm == "own":
            a = F.layer_norm(a, a.shape[-1:], self.input_norm.weight[0], self.input_norm.bias[0])
        else:
            a = frozen.norm1(a) if self.config.position == "parallel-attn" else frozen.norm2(a)
        return a @ self.down.T + self.b_down

    def u(self, z: Tensor) -> Tensor:
        return self.s * (self.act(z) @ self.up.T + self.b_up)

    def k(self, z: Tensor) -> Tensor:
        alpha, beta = self.alpha, self.beta
        match self.config.extract_at:
            case "output":
                k = alpha * self.u(z) + beta
            case "bottleneck":
                k = self.s * ((alpha * self.act(z) + beta) @ self.up.T)
            case _:
                k = self.s * ((self.act((1 + alpha) * z + beta) - self.act(z)) @ self.up.T)
        # What re-enters is in the stage's output; otherwise the decoders read it here.
        return self.u(z) + k if self.config.decoder_input == "task-only" or not self.config.reenter else k


def literal(method: Any, image: Tensor, t: int) -> Pyramid:
    """Return what decoder t reads: the equations for one task, block by block, on a fresh frozen trunk."""
    config, plain = method.config, tiny_backbone(method.backbone.family)
    extracts = iter(method.extract)
    x = plain.stem((image - plain.mean) / plain.std)
    read = torch.zeros_like(x)
    levels: list[Tensor] = []
    for block in plain.blocks:
        if block.index == 0:
            x = plain.enter_stage(x, block.stage)
            read = torch.zeros_like(x)
        frozen: Any = plain.block_module(block)
        has_k = config.extract != "none" and (config.extract_from == "all" or block.is_last_in_stage)
        if has_k and config.task_path == "trunk":
            extract = method.backbone.block_module(block).extract
        else:
            extract = next(extracts) if has_k else None
        one = OneBlock(method, block, t, extract)

        middle = plain.attention_half(frozen, x)
        hidden = frozen.mlp(frozen.norm2(middle))
        a = {"parallel-attn": x, "parallel-mlp": middle, "sequential-mlp": hidden}[config.position]
        joins = one.u(one.z(a, frozen))
        if has_k and config.task_path == "trunk":
            joins = joins + one.k(one.z(a, frozen))
        elif has_k:
            read = read + one.k(one.z(a + read if config.task_path == "side" else a, frozen))
        elif not config.reenter:
            read = read + joins
        if not config.reenter:
            joins = torch.zeros_like(joins)
        if config.position == "parallel-attn":
            middle = middle + joins
            x = middle + frozen.mlp(frozen.norm2(middle))
        else:
            x = middle + hidden + joins

        if block.is_last_in_stage:
            tokens = {"sum": x + read, "concat": torch.cat([x, read], -1), "task-only": read}[config.decoder_input]
            levels.append(plain.to_map(tokens, block.stage))
    return tuple(levels)


@pytest.mark.parametrize("family", ["swin", "vit"])
@pytest.mark.parametrize(("name", "settings"), CASES, ids=str)
def test_features_equal_the_equation(name: str, settings: dict[str, Any], family: str) -> None:
    case = subject(name, family, settings)
    method, images = disturb(case.build()).method, case.images()
    with torch.no_grad():
        features, plain = method(images), tiny_backbone(family)(images)
        for t, task in enumerate(TASKS):
            for ours, theirs in zip(features.for_task(task), literal(method, images, t), strict=True):
                torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    one, two = features.for_task(TASKS[0])[-1], features.for_task(TASKS[1])[-1]
    at_the_start = F.pad(plain[-1], (0, 0, 0, 0, 0, one.shape[1] - plain[-1].shape[1]))
    assert (one - at_the_start).abs().max() > 5e-3
    assert torch.equal(one, two) == (settings.get("extract") == "none")


def without_alpha_and_beta(case: Subject) -> Method:
    method = disturb(case.build()).method
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name.endswith((".alpha", ".beta")):
                parameter.zero_()
    return method


def with_the_shared_weights_of(method: Method, case: Subject) -> Method:
    other = case.build().method
    given = method.owned().shared
    with torch.no_grad():
        for name, parameter in other.owned().shared.items():
            parameter.copy_(given[name])
    return other


@pytest.mark.parametrize("extract_at", ["output", "bottleneck", "pre-activation"])
@pytest.mark.parametrize("task_path", ["tap", "side", "trunk"])
@pytest.mark.parametrize(("name", "sharing"), [("vmt", {}), ("vmt-lite", {}), ("vmt-lite", {"sharing": "stage-tied"})])
def test_without_alpha_and_beta_every_form_is_the_shared_adapter(
    name: str, sharing: dict[str, str], task_path: str, extract_at: str
) -> None:
    """The nested null, for every path and place: what ``extract = none`` gives with the same weights."""
    case = subject(name, "swin", {**sharing, "task_path": task_path, "extract_at": extract_at})
    method, images = without_alpha_and_beta(case), case.images()
    shared = with_the_shared_weights_of(method, subject(name, "swin", {**sharing, "extract": "none"}))
    expected, plain = shared(images).shared, tiny_backbone("swin")(images)
    assert expected is not None
    for task in TASKS:
        for ours, theirs in zip(method(images).for_task(task), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    assert (expected[-1] - plain[-1]).abs().max() > 1e-3


@pytest.mark.parametrize("extract_at", ["output", "bottleneck", "pre-activation"])
def test_the_null_of_the_other_decoder_inputs(extract_at: str) -> None:
    """Side by side it is the shared adapter and zero; alone it is the same sum of u whatever is extracted where."""
    given = {"extract_at": extract_at}
    case = subject("vmt", "swin", {**given, "decoder_input": "concat"})
    method, images = without_alpha_and_beta(case), case.images()
    shared = with_the_shared_weights_of(method, subject("vmt", "swin", {"extract": "none"}))
    expected = shared(images).shared
    assert expected is not None
    for ours, theirs in zip(method(images).for_task(TASKS[0]), expected, strict=True):
        output, k = ours.chunk(2, 1)
        torch.testing.assert_close(output, theirs, rtol=1e-5, atol=1e-5)
        assert not k.any()
    alone = without_alpha_and_beta(subject("vmt", "swin", {**given, "decoder_input": "task-only"}))
    at_output = without_alpha_and_beta(subject("vmt", "swin", {"decoder_input": "task-only"}))
    for ours, theirs in zip(alone(images).for_task(TASKS[0]), at_output(images).for_task(TASKS[0]), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
        assert ours.abs().max() > 1e-3


@pytest.mark.parametrize("settings", VMT_SETTINGS, ids=str)
def test_what_the_decoders_read_at_the_start(settings: dict[str, Any]) -> None:
    """The frozen pyramid; side by side with zero; or zero alone, which is the only start that says it is another."""
    case = subject("vmt", "swin", settings)
    method, images = case.build().method, case.images()
    ours, plain = method(images).for_task(TASKS[0]), tiny_backbone("swin")(images)
    how = settings.get("decoder_input", "sum")
    assert method.identity_at_start == (how == "sum")
    assert [info.channels for info in method.feature_info] == [level.shape[1] for level in ours]
    for level, theirs in zip(ours, plain, strict=True):
        zero = torch.zeros_like(theirs)
        expected = {"sum": theirs, "concat": torch.cat([theirs, zero], 1), "task-only": zero}[how]
        torch.testing.assert_close(level, expected, rtol=0, atol=1e-5)


def test_the_shared_adapter_is_adaptformer_beside_the_mlp_and_adapter_behind_it() -> None:
    """The nulls of two positions are methods of their own."""
    images = subject("vmt", "vit", {}).images()
    beside = subject("vmt", "vit", {"extract": "none", "activation": "relu", "scale": 0.1})
    behind = subject("vmt", "vit", {"extract": "none", "position": "sequential-mlp"})
    adaptformer = Subject(AdaptFormer, AdaptFormer.Config(name="adaptformer", scope="shared", rank=8), "vit")
    adapter = Subject(Adapter, Adapter.Config(name="adapter", scope="shared", rho=4), "vit")
    for ours, theirs in [(beside, adaptformer), (behind, adapter)]:
        one, two = disturb(ours.build()).method, theirs.build().method
        with torch.no_grad():
            pairs = zip(one.owned().shared.values(), two.owned().shared.values(), strict=True)
            for source, parameter in pairs:
                parameter.copy_(source)
        expected, got = two(images).shared, one(images).shared
        assert expected is not None
        assert got is not None
        for a, b in zip(got, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
        assert (got[-1] - tiny_backbone("vit")(images)[-1]).abs().max() > 1e-2


def test_a_stages_blocks_share_one_adapter_and_one_extraction() -> None:
    method: Any = subject("vmt-lite", "swin", {"sharing": "stage-tied"}).build().method
    first, second, third = (method.backbone.block_module(method.backbone.blocks[n]).branch for n in (0, 1, 2))
    assert first.down is second.down
    assert first.up is second.up
    assert first.down is not third.down
    assert first.norm is not second.norm
    assert method.extract[0] is method.extract[1]
    assert method.extract[0] is not method.extract[2]
