"""LoRA equals peft and loralib on the same weights.

peft adapts the fused qkv with one pair (A, B). The equal model: rank 8 with alpha doubled, A = [A_q; A_v], B block-
diagonal with zero rows for the keys. loralib's MergedLinear has separate pairs for query and value. With all linear
layers of a block as targets peft's pairs are ours.
"""

from typing import Any

import loralib
import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from methods._low_rank import LowRankUpdate, MagnitudeAndDirection, Parts
from methods.lora import LoRA
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

RANK = 4
EVERY_LINEAR = r".*\.(attn\.(qkv|proj)|mlp\.(fc1|fc2))"


def shared_lora(family: str) -> LoRA:
    method = LoRA(tiny_backbone(family), TASKS, LoRA.Config(name="lora", scope="shared", norm="none"), 0)
    with torch.no_grad():
        for layer in method.modules():
            if isinstance(layer, LowRankUpdate):
                layer.up.normal_(generator=torch.Generator().manual_seed(1))
    return method


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_features_equal_pefts(family: str) -> None:
    method = shared_lora(family)
    peer_backbone = tiny_backbone(family)
    config = LoraConfig(r=2 * RANK, lora_alpha=2 * RANK, target_modules=["qkv"])
    peer = get_peft_model(peer_backbone, config)  # pyright: ignore[reportArgumentType]
    layers = [layer for layer in method.modules() if isinstance(layer, LowRankUpdate)]
    wrapped = [module for module in peer.modules() if hasattr(module, "lora_A")]
    assert len(layers) == len(wrapped) == 8
    with torch.no_grad():
        for ours, theirs in zip(layers, wrapped, strict=True):
            width = ours.down.shape[-1]
            theirs.lora_A["default"].weight.copy_(ours.down[0].flatten(0, 1))
            up = theirs.lora_B["default"].weight.zero_()
            up[:width, :RANK] = ours.up[0, 0]
            up[2 * width :, RANK:] = ours.up[0, 1]
    images = Subject(LoRA, method.config, family).images()
    shared = method(images).shared
    assert shared is not None
    for ours, theirs, plain in zip(shared, peer(images), tiny_backbone(family)(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        assert (ours - plain).abs().max() > 1e-2


def test_layer_equals_loralibs_merged_linear() -> None:
    width = 16
    qkv = nn.Linear(width, 3 * width)
    ours = LowRankUpdate(qkv, RANK, None, Parts((0, 2), 3))
    theirs = loralib.MergedLinear(
        width, 3 * width, r=RANK, lora_alpha=RANK, enable_lora=[True, False, True], merge_weights=False
    )
    with torch.no_grad():
        ours.down.normal_()
        ours.up.normal_()
        theirs.weight.copy_(qkv.weight)
        theirs.bias.copy_(qkv.bias)
        theirs.lora_A.copy_(ours.down[0].flatten(0, 1))
        theirs.lora_B.copy_(ours.up[0].flatten(0, 1))
    x = torch.randn(2, 5, width)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


def test_every_task_has_its_own_update() -> None:
    subject = Subject(LoRA, LoRA.Config(name="lora"), "swin")
    features = disturb(subject.build()).method(subject.images())
    first, second = features.for_task(TASKS[0])[-1], features.for_task(TASKS[1])[-1]
    assert (first - second).abs().max() > 1e-3


def every_linear(family: str, **settings: object) -> tuple[LoRA, list[LowRankUpdate]]:
    """Return a shared LoRA on all linear layers of the blocks, and its layers."""
    config = LoRA.Config(name="lora", scope="shared", norm="none", targets="all", **settings)
    method = LoRA(tiny_backbone(family), TASKS, config, 0)
    return method, [layer for layer in method.modules() if isinstance(layer, LowRankUpdate)]


def pefts(family: str, **settings: object) -> tuple[Any, list[Any]]:
    """Return peft's model of the same, and its layers."""
    config = LoraConfig(r=RANK, lora_alpha=RANK, target_modules=EVERY_LINEAR, **settings)  # pyright: ignore[reportArgumentType]
    peer = get_peft_model(tiny_backbone(family), config)  # pyright: ignore[reportArgumentType]
    return peer, [module for module in peer.modules() if hasattr(module, "lora_A")]


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_features_and_gradients_of_dora_equal_pefts(family: str) -> None:
    method, layers = every_linear(family, weight="dora")
    peer, wrapped = pefts(family, use_dora=True)
    generator = torch.Generator().manual_seed(1)
    assert len(layers) == len(wrapped) == 4 * 8
    with torch.no_grad():
        for ours, theirs in zip(layers, wrapped, strict=True):
            torch.testing.assert_close(ours.magnitude[0, 0], theirs.lora_magnitude_vector["default"].weight)
            ours.up.normal_(std=0.1, generator=generator)
            ours.magnitude.mul_(1 + 0.1 * torch.randn(ours.magnitude.shape, generator=generator))
            theirs.lora_A["default"].weight.copy_(ours.down[0, 0])
            theirs.lora_B["default"].weight.copy_(ours.up[0, 0])
            theirs.lora_magnitude_vector["default"].weight.copy_(ours.magnitude[0, 0])
    images = Subject(LoRA, method.config, family).images()
    shared, expected = method(images).shared, peer(images)
    assert shared is not None
    for ours, theirs, plain in zip(shared, expected, tiny_backbone(family)(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=2e-5)
        assert (ours - plain).abs().max() > 1e-2
    for pyramid in (shared, expected):
        sum(level.square().mean() for level in pyramid).backward()  # pyright: ignore[reportAttributeAccessIssue]
    for ours, theirs in zip(layers, wrapped, strict=True):
        pairs = [
            (ours.down.grad, theirs.lora_A["default"].weight.grad),
            (ours.up.grad, theirs.lora_B["default"].weight.grad),
            (ours.magnitude.grad, theirs.lora_magnitude_vector["default"].weight.grad),
        ]
        for mine, other in pairs:
            torch.testing.assert_close(mine[0, 0], other, rtol=1e-3, atol=1e-6)


def test_dora_of_query_and_value_leaves_the_keys_as_they_are() -> None:
    qkv = nn.Linear(16, 48)
    layer = MagnitudeAndDirection(qkv, RANK, None, Parts((0, 2), 3))
    with torch.no_grad():
        for parameter in (layer.up, layer.down, layer.magnitude):
            parameter.normal_()
    x = torch.randn(2, 5, 16)
    query, key, value = layer(x).chunk(3, -1)
    for number, (out, weight, bias) in enumerate(
        zip((query, value), qkv.weight.chunk(3)[::2], qkv.bias.chunk(3)[::2], strict=True)
    ):
        whole = weight + layer.up[0, number] @ layer.down[0, number]
        expected = layer.magnitude[0, number].unsqueeze(-1) * whole / whole.norm(dim=1, keepdim=True)
        torch.testing.assert_close(out, x @ expected.mT + bias, rtol=0, atol=1e-5)
    torch.testing.assert_close(key, qkv(x).chunk(3, -1)[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_pissa_divides_every_weight_as_peft_does(family: str) -> None:
    method, layers = every_linear(family, start="pissa")
    peer, wrapped = pefts(family, init_lora_weights="pissa")
    plain = tiny_backbone(family)
    for ours, theirs in zip(layers, wrapped, strict=True):
        torch.testing.assert_close(ours.linear.weight, theirs.base_layer.weight, rtol=0, atol=1e-6)
        product = theirs.lora_B["default"].weight @ theirs.lora_A["default"].weight
        torch.testing.assert_close(ours.up[0, 0] @ ours.down[0, 0], product, rtol=0, atol=1e-6)
        assert product.norm() > 0.1
        balance = ours.up.norm(dim=2), ours.down.norm(dim=3)  # the roots of the singular values stand on both sides
        torch.testing.assert_close(*balance, rtol=1e-4, atol=1e-6)
    images = Subject(LoRA, method.config, family).images()
    shared = method(images).shared
    assert shared is not None
    for ours, theirs, frozen in zip(shared, peer(images), plain(images), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours, frozen, rtol=0, atol=1e-5)


def test_pissa_starts_every_task_at_the_same_factors_and_takes_them_off_once() -> None:
    qkv = nn.Linear(16, 48)
    before = qkv.weight.detach().clone()
    layer = LowRankUpdate(qkv, RANK, TASKS, Parts((0, 2), 3), start="pissa")
    with torch.no_grad():
        layer.initialise(lambda name, row: torch.Generator())
    assert all(torch.equal(factor[0], factor[t]) for factor in (layer.up, layer.down) for t in (1, 2))
    torch.testing.assert_close(layer.whole_weight(0, *layer.pair()), before, rtol=0, atol=1e-6)
    assert torch.equal(qkv.weight[16:32], before[16:32])
    assert torch.linalg.matrix_rank(qkv.weight[:16], atol=1e-5) == 16 - RANK
