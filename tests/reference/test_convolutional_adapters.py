"""Mona, Convpass and Adapter+ equal their equations, in torch's own layers, a task and an image at a time."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods.adapter_plus import AdapterPlus
from methods.convpass import Convpass
from methods.mona import Mona
from petl_bench.features import split
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb

FAMILIES = pytest.mark.parametrize("family", ["swin", "vit"])
TOLERANCE = {"rtol": 0, "atol": 1e-5}
IMAGES = 2


def subject(method: type[Method], family: str, **settings: object) -> Subject:
    return Subject(method, method.Config(name=method.name, **settings), family)


def disturbed(method: type[Method], family: str, **settings: object) -> Method:
    return disturb(subject(method, family, **settings).build()).method


def blocks(method: Method) -> list[tuple[Any, Tensor]]:
    """Return the first block, and the first one of another stage, each with tokens of a forked batch."""
    pairs = []
    for block in (method.backbone.blocks[0], method.backbone.blocks[3]):
        module: Any = method.backbone.block_module(block)
        frozen = next(m for m in module.modules() if hasattr(m, "attn"))
        shape = frozen.input_resolution if method.backbone.family == "swin" else (1 + 4 * 4,)
        generator = torch.Generator().manual_seed(block.width)
        pairs.append((module, torch.randn(IMAGES * len(TASKS), *shape, block.width, generator=generator)))
    return pairs


def maps(tokens: Tensor, family: str) -> list[tuple[Any, Tensor]]:
    """Return what of one image's tokens is a map [1, C, H, W], each with the place that it comes from."""
    if family == "swin":
        return [(slice(None), tokens.permute(2, 0, 1)[None])]
    patches = tokens[1:].reshape(4, 4, -1).permute(2, 0, 1)[None]
    return [(slice(0, 1), tokens[0].reshape(1, -1, 1, 1)), (slice(1, None), patches)]


def over_maps(tokens: Tensor, family: str, operation: Any) -> Tensor:
    """Apply an operation on maps to the tokens of one image."""
    out = torch.empty_like(tokens)
    for place, one in maps(tokens, family):
        out[place] = operation(one)[0].permute(1, 2, 0).reshape(out[place].shape)
    return out


def each(function: Any, tokens: Tensor) -> Tensor:
    """Apply a function of an image's tokens and its task to a forked batch."""
    return torch.stack([function(image, number // IMAGES) for number, image in enumerate(tokens)])


def linear(layer: Any, t: int, x: Tensor) -> Tensor:
    return F.linear(x, layer.weight[t], layer.bias[t])


def loaded(conv: nn.Conv2d, weights: Tensor, biases: Tensor, t: int) -> nn.Conv2d:
    """Give a convolution the kernel and the bias of a task."""
    conv.load_state_dict({"weight": weights[t], "bias": biases[t]})
    return conv


def mona(parts: Any, t: int, x: Tensor, family: str) -> Tensor:
    """The released layer: scaled norm, down, mean of three convolutions and identity, 1 x 1 and identity, GELU, up."""
    width, inner = x.shape[-1], parts.down.weight.shape[1]
    norm = parts.norm
    scaled = F.layer_norm(x, (width,), norm.norm.weight[t], norm.norm.bias[t]) * norm.gamma[t] + x * norm.gamma_x[t]
    y = linear(parts.down, t, scaled)

    def convolve(one: Tensor) -> Tensor:
        three = []
        for k in (3, 5, 7):
            conv = nn.Conv2d(inner, inner, k, padding=k // 2, groups=inner)
            three.append(
                loaded(conv, getattr(parts.convolutions, f"weight_{k}"), getattr(parts.convolutions, f"bias_{k}"), t)(
                    one
                )
            )
        mixed = sum(three) / 3 + one
        projector = parts.mix.branch
        return mixed + loaded(nn.Conv2d(inner, inner, 1), projector.weight[..., None, None], projector.bias, t)(mixed)

    return x + linear(parts.up, t, F.gelu(over_maps(y, family, convolve)))


@FAMILIES
@torch.no_grad()
def test_mona_equals_the_released_layer_behind_both_residuals(family: str) -> None:
    method = disturbed(Mona, family, inner=8)
    backbone = method.backbone
    for module, x in blocks(method):
        first, second = module.behind_attention.branch, module.behind_mlp.branch
        plain = backbone.attention_half(module.block, x)
        middle = each(lambda image, t, parts=first: mona(parts, t, image, family), plain)
        whole = middle + backbone.mlp_half(module.block, middle)
        expected = each(lambda image, t, parts=second: mona(parts, t, image, family), whole)
        torch.testing.assert_close(module(x), expected, **TOLERANCE)
        assert (middle - plain).abs().max() > 1e-2
        assert (expected - whole).abs().max() > 1e-2


def test_mona_starts_as_released() -> None:
    method = subject(Mona, "swin").build().method
    for module, _ in blocks(method):
        branch = module.behind_mlp.branch
        assert torch.equal(branch.norm.gamma, torch.full_like(branch.norm.gamma, 1e-6))
        assert torch.equal(branch.norm.gamma_x, torch.ones_like(branch.norm.gamma_x))
        width = branch.down.weight.shape[-1]
        layers = [(branch.down, width), (branch.up, 64), (branch.mix.branch, 64)]
        drawn = [(layer.weight, layer.bias, fan_in) for layer, fan_in in layers]
        convolutions = branch.convolutions
        drawn += [(getattr(convolutions, f"weight_{k}"), getattr(convolutions, f"bias_{k}"), k * k) for k in (3, 5, 7)]
        for weight, bias, fan_in in drawn:
            for tensor in (weight, bias):  # uniform: as wide as the bound, and no wider
                assert 0.85 / fan_in**0.5 < tensor.abs().max() <= 1 / fan_in**0.5
            assert not torch.equal(weight[0], weight[1])


def convpass(parts: Any, t: int, x: Tensor, family: str, scale: float) -> Tensor:
    """s W_up q(K * q(W_down x + b_down) + b) + s b_up, q(h) = h sigmoid(1.702 h)."""
    conv = nn.Conv2d(parts.conv.weight.shape[1], parts.conv.weight.shape[1], 3, padding=1)
    loaded(conv, parts.conv.weight, parts.conv.bias, t)
    down = linear(parts.down, t, x)
    mixed = over_maps(down * torch.sigmoid(1.702 * down), family, conv)
    return scale * linear(parts.up, t, mixed * torch.sigmoid(1.702 * mixed))


@FAMILIES
@pytest.mark.parametrize("place", ["both", "attention"])
@torch.no_grad()
def test_convpass_equals_its_equation(family: str, place: str) -> None:
    method = disturbed(Convpass, family, place=place, scale=0.5)
    backbone = method.backbone
    for module, x in blocks(method):

        def bypass(parts: Any, normed: Tensor) -> Tensor:
            return each(lambda image, t: convpass(parts, t, image, family, 0.5), normed)

        added = bypass(module.beside_attention, module.block.norm1(x))
        middle = backbone.attention_half(module.block, x) + added
        expected = middle + backbone.mlp_half(module.block, middle)
        if place == "both":
            expected = expected + bypass(module.beside_mlp, module.block.norm2(middle))
        else:
            assert module.beside_mlp is None
        torch.testing.assert_close(module(x), expected, **TOLERANCE)
        assert added.abs().max() > 1e-2


def test_convpass_starts_with_a_kernel_that_does_nothing_or_with_one_that_is_drawn() -> None:
    for start in ("identity", "xavier"):
        method = subject(Convpass, "vit", start=start).build().method
        ((module, _), *_) = blocks(method)
        bypass = module.beside_mlp
        bound = (6 / (32 + 8)) ** 0.5
        assert 0.9 * bound < bypass.down.weight.abs().max() <= bound
        x = torch.randn(len(TASKS), 8, 5, 5)
        if start == "identity":
            assert torch.equal(bypass.conv(x), x)
        else:
            bound = (6 / (9 * 8 + 9 * 8)) ** 0.5
            assert 0.9 * bound < bypass.conv.weight.abs().max() <= bound


@FAMILIES
@torch.no_grad()
def test_adapter_plus_equals_its_equation_behind_the_whole_block(family: str) -> None:
    method = disturbed(AdapterPlus, family)
    for module, x in blocks(method):
        frozen, residual = module.block, module.residual
        bottleneck, channels = residual.branch
        plain, out = split(frozen(x), len(TASKS)), split(module(x), len(TASKS))
        for t in range(len(TASKS)):
            hidden = F.gelu(linear(bottleneck.down, t, plain[t]))
            added = channels.scale[t] * linear(bottleneck.up, t, hidden)
            torch.testing.assert_close(out[t], plain[t] + added, **TOLERANCE)
            assert added.abs().max() > 1e-3


def test_adapter_plus_starts_near_the_frozen_backbone_as_houlsby_does() -> None:
    method = subject(AdapterPlus, "swin").build().method
    for module, _ in blocks(method):
        bottleneck, channels = module.residual.branch
        assert torch.equal(channels.scale, torch.ones_like(channels.scale))
        for layer in (bottleneck.down, bottleneck.up):
            assert not layer.bias.any()
            assert layer.weight.abs().max() <= 0.02
            assert 0.007 < layer.weight.std() < 0.0105  # 0.0088 of a normal distribution cut at two deviations
