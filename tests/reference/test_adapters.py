"""The adapters equal their equations, written out in numpy in double precision, with the same weights."""

from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import nn

from methods._layers import PerTaskLayerNorm
from methods.adapter import Adapter
from methods.adaptformer import AdaptFormer
from methods.low_rank_adapter import LowRankAdapter
from methods.shared_adapter import SharedAdapter
from petl_bench.features import split
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb

FAMILIES = pytest.mark.parametrize("family", ["swin", "vit"])
TOLERANCE = {"rtol": 0, "atol": 1e-5}


def disturbed(method: type[Method], family: str, **settings: object) -> Method:
    subject = Subject(method, method.Config(name=method.name, **settings), family)
    return disturb(subject.build()).method


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def layer_norm(x: np.ndarray, scale: np.ndarray, shift: np.ndarray) -> np.ndarray:
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(variance + 1e-5) * scale + shift


def gelu(x: np.ndarray) -> np.ndarray:
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def relu(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0)


def linear(x: np.ndarray, layer: Any, t: int) -> np.ndarray:
    out = x @ array(layer.weight)[t].T
    return out if layer.bias is None else out + array(layer.bias)[t]


def tokens(width: int, number: int = 2) -> torch.Tensor:
    return torch.randn(number * len(TASKS), 5, width, generator=torch.Generator().manual_seed(2))


@FAMILIES
@pytest.mark.parametrize("place", ["mlp", "attention"])
def test_adapter_equals_houlsbys_equation_for_every_task(family: str, place: str) -> None:
    method = disturbed(Adapter, family, place=place)
    kind = {"mlp": "mlp", "attention": "attn.proj"}[place]
    sites = method.backbone.sites(kind)
    assert len(sites) == 8
    for site in sites:
        frozen, residual = site.module
        x = tokens(site.width)
        h = frozen(x)
        out = split(site.module(x), len(TASKS))
        parts = residual.branch
        for t in range(len(TASKS)):
            plain = array(split(h, len(TASKS))[t])
            normed = layer_norm(plain, array(parts.norm.weight)[t], array(parts.norm.bias)[t])
            expected = plain + linear(gelu(linear(normed, parts.down, t)), parts.up, t)
            np.testing.assert_allclose(array(out[t]), expected, **TOLERANCE)
            assert np.abs(expected - plain).max() > 1e-2


@FAMILIES
def test_an_adapter_holds_as_many_numbers_as_houlsbys_formula(family: str) -> None:
    """Section 2.1: an adapter of bottleneck m at width d has 2md + d + m parameters; the norm is ours."""
    method = disturbed(Adapter, family, rho=4, scope="shared")
    for site in method.backbone.sites("mlp"):
        d, m = site.width, site.width // 4
        branch = site.module[1].branch
        shapes = [tuple(p.shape[1:]) for part in (branch.down, branch.up) for p in part.parameters()]
        assert shapes == [(m, d), (m,), (d, m), (d,)]
        assert sum(int(np.prod(shape)) for shape in shapes) == 2 * m * d + d + m
        assert sum(p.numel() for p in branch.norm.parameters()) == 2 * d


@FAMILIES
def test_shared_scope_equals_per_task_scope_with_equal_rows(family: str) -> None:
    shared, per_task = disturbed(Adapter, family, scope="shared"), disturbed(Adapter, family)
    images = Subject(Adapter, shared.config, family).images()
    state = dict(shared.named_parameters())
    before = per_task(images)
    with torch.no_grad():
        for name, parameter in per_task.owned().stacked.items():
            parameter.copy_(state[name].expand_as(parameter))
    one, all_of_them = shared(images).shared, per_task(images)
    assert one is not None
    for task in TASKS:
        for ours, theirs, other in zip(all_of_them.for_task(task), one, before.for_task(task), strict=True):
            torch.testing.assert_close(ours, theirs, **TOLERANCE)
            assert (other - theirs).abs().max() > 1e-3


@FAMILIES
def test_shared_adapter_equals_the_shared_scope_when_all_norms_are_equal(family: str) -> None:
    """What sets it apart from ``adapter`` with one set is the norms alone."""
    one, forked = disturbed(Adapter, family, scope="shared"), disturbed(SharedAdapter, family)
    images = Subject(Adapter, one.config, family).images()
    state = dict(one.named_parameters())
    owned = forked.owned()
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in owned.stacked} == {"norm"}
    with torch.no_grad():
        for name, parameter in owned.shared.items():
            parameter.copy_(state[name])
    apart = forked(images)
    with torch.no_grad():
        for name, parameter in owned.stacked.items():
            parameter.copy_(state[name].expand_as(parameter))
    together, expected = forked(images), one(images).shared
    assert expected is not None
    for task in TASKS:
        for level, theirs in enumerate(expected):
            torch.testing.assert_close(together.for_task(task)[level], theirs, **TOLERANCE)
    assert (apart.for_task(TASKS[1])[-1] - apart.for_task(TASKS[2])[-1]).abs().max() > 1e-3


@FAMILIES
@pytest.mark.parametrize("norm", ["own", "none"])
def test_adaptformer_equals_its_equation(family: str, norm: str) -> None:
    """x' + MLP(norm2(x')) + s ReLU(LN(x') W_down) W_up, with the released code's biases."""
    method = disturbed(AdaptFormer, family, norm=norm, scale=0.5)
    backbone = method.backbone
    for place in backbone.blocks[:2]:
        module: Any = backbone.block_module(place)
        shape = module.block.input_resolution if family == "swin" else (5,)
        x = torch.randn(2 * len(TASKS), *shape, place.width, generator=torch.Generator().manual_seed(3))
        inner = backbone.attention_half(module.block, x)
        plain = inner + backbone.mlp_half(module.block, inner)
        out = module(x)
        for t in range(len(TASKS)):
            own = array(split(inner, len(TASKS))[t])
            parts = module.branch
            if norm == "own":
                own = layer_norm(own, array(parts.norm.weight)[t], array(parts.norm.bias)[t])
            u = 0.5 * linear(relu(linear(own, parts.down, t)), parts.up, t)
            expected = array(split(plain, len(TASKS))[t]) + u
            np.testing.assert_allclose(array(split(out, len(TASKS))[t]), expected, **TOLERANCE)
            assert np.abs(u).max() > 1e-2
        torch.testing.assert_close(plain, module.block(x), **TOLERANCE)


@FAMILIES
def test_low_rank_adapter_equals_an_adapter_of_the_product_matrices(family: str) -> None:
    method = disturbed(LowRankAdapter, family, rank=2, rho=4)
    for site in method.backbone.sites("mlp"):
        frozen, residual = site.module
        x = tokens(site.width)
        h, out, parts = frozen(x), split(site.module(x), len(TASKS)), residual.branch
        for t in range(len(TASKS)):
            plain = array(split(h, len(TASKS))[t])
            normed = layer_norm(plain, array(parts.norm.weight)[t], array(parts.norm.bias)[t])
            w_down, w_up = (
                sum(np.outer(array(u.weight)[t][:, k], array(v.weight)[t][k]) for k in range(2))
                for v, u in (parts.down, parts.up)
            )
            assert np.linalg.matrix_rank(w_down) == np.linalg.matrix_rank(w_up) == min(2, site.width // 4)
            hidden = gelu(normed @ w_down.T + array(parts.down[1].bias)[t])
            expected = plain + hidden @ w_up.T + array(parts.up[1].bias)[t]
            np.testing.assert_allclose(array(out[t]), expected, **TOLERANCE)
            assert np.abs(expected - plain).max() > 1e-3


def test_the_norm_of_an_adapter_starts_as_plain_normalisation() -> None:
    subject = Subject(Adapter, Adapter.Config(name="adapter"), "swin")
    norms = [
        layer
        for layer in subject.build().method.modules()
        if isinstance(layer, PerTaskLayerNorm) and layer.weight.shape[0] == len(TASKS)
    ]
    assert len(norms) == 8
    for norm in norms:
        x = tokens(norm.weight.shape[-1])
        torch.testing.assert_close(norm(x), nn.functional.layer_norm(x, x.shape[-1:]), **TOLERANCE)
