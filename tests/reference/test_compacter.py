"""Hypercomplex layers equal W = sum_i kron(A_i, B_i), formed with torch.kron from the same weights."""

from typing import Any

import pytest
import torch

from methods._kronecker import HypercomplexRules, KroneckerLinear, LowRankPHMLinear, PHMLinear
from methods.compacter import Compacter
from methods.phm import PHM
from petl_bench.errors import UsageError
from petl_bench.features import split
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

LAYERS = pytest.mark.parametrize("kind", [PHMLinear, LowRankPHMLinear])
FAMILIES = pytest.mark.parametrize("family", ["swin", "vit"])


def drawn(kind: type[KroneckerLinear], n: int, tasks: tuple[str, ...] | None) -> KroneckerLinear:
    layer = kind(24, 12, HypercomplexRules(n, tasks), start="kaiming")
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(generator=generator)
    return layer


def matrix(layer: Any, t: int) -> torch.Tensor:
    """Return sum_i kron(A_i, B_i) of row ``t``, B_i = s_i t_i^T in the rank-one layer."""
    total = torch.zeros(())
    for i, a in enumerate(layer.rules.weight[t]):
        b = layer.weight[t, i] if isinstance(layer, PHMLinear) else torch.outer(layer.s[t, i], layer.t[t, i])
        total = total + torch.kron(a, b)
    return total


@LAYERS
@pytest.mark.parametrize("n", [1, 2, 3, 4, 12])
@pytest.mark.parametrize("tasks", [None, TASKS])
def test_layer_equals_the_sum_of_kronecker_products(
    kind: type[KroneckerLinear], n: int, tasks: tuple[str, ...] | None
) -> None:
    layer: Any = drawn(kind, n, tasks)
    rows = layer.num_rows
    x = torch.randn(2 * rows, 5, 24, generator=torch.Generator().manual_seed(5))
    out = split(layer(x), rows)
    for t in range(rows):
        w = matrix(layer, t)
        assert w.shape == (12, 24)
        expected = split(x, rows)[t] @ w.T + layer.bias[t]
        torch.testing.assert_close(out[t], expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max().detach()))
        if n > 1:
            swapped = sum(torch.kron(b, a) for a, b in zip(layer.rules.weight[t], layer.right()[t], strict=True))
            assert isinstance(swapped, torch.Tensor)
            assert (swapped - w).abs().max() > 0.1


@LAYERS
def test_a_layer_starts_with_the_variance_of_a_plain_linear_layer(kind: type[KroneckerLinear]) -> None:
    """Uniform within 1 / sqrt(in): a variance of 1 / (3 in)."""
    layer = kind(512, 512, HypercomplexRules(4, None), start="kaiming")
    for number, part in enumerate((layer.rules, layer)):
        generator = torch.Generator().manual_seed(number)
        with torch.no_grad():
            part.initialise(lambda *_, generator=generator: generator)
    assert layer.matrix().var().item() == pytest.approx(1 / (3 * 512), rel=0.35)
    zero = kind(512, 512, HypercomplexRules(4, None), start="zero")
    with torch.no_grad():
        zero.initialise(lambda *_: torch.Generator())
    assert not zero.matrix().any()


@FAMILIES
@pytest.mark.parametrize(
    ("method", "settings", "sets"),
    [
        (PHM, {}, 1),
        (PHM, {"rules": "per-layer"}, 16),
        (Compacter, {}, 1),
        (Compacter, {"variant": "compacter++", "scope": "shared"}, 1),
    ],
)
def test_layers_have_as_many_sets_of_rules_as_they_say(
    family: str, method: type[Method], settings: dict[str, Any], sets: int
) -> None:
    """One module that all layers refer to is one parameter, in the state and in what is counted."""
    model = Subject(method, method.Config(name=method.name, **settings), family).build()
    layers = [layer for layer in model.modules() if isinstance(layer, KroneckerLinear)]
    assert len(layers) == (32 if settings == {} and method is Compacter else 16)
    assert len({id(layer.rules.weight) for layer in layers}) == sets
    names = [name for name in model.trained_state() if ".rules." in name]
    assert len(names) == sets


def test_what_one_layer_learns_of_the_rules_all_layers_have() -> None:
    subject = Subject(Compacter, Compacter.Config(name="compacter"), "swin")
    method = disturb(subject.build()).method
    layers = [layer for layer in method.modules() if isinstance(layer, KroneckerLinear)]
    before = [layer.matrix()[0].detach().clone() for layer in layers]
    with torch.no_grad():
        layers[0].rules.weight[0].mul_(2)
    for layer, was in zip(layers, before, strict=True):
        torch.testing.assert_close(layer.matrix()[0], 2 * was)


@FAMILIES
def test_compacter_plus_plus_is_compacter_without_the_adapters_behind_attention(family: str) -> None:
    both, one = (
        disturb(Subject(Compacter, Compacter.Config(name="compacter", variant=variant), family).build()).method
        for variant in ("compacter", "compacter++")
    )
    images = Subject(Compacter, both.config, family).images()
    held = dict(both.named_parameters(remove_duplicate=False))
    with torch.no_grad():
        for name, parameter in one.owned().stacked.items():
            parameter.copy_(held[name])
        full = both(images)
        for site in both.backbone.sites("attn.proj"):
            both.backbone.replace(site, site.module[0])
    reduced, expected = both(images), one(images)
    for task in TASKS:
        for level in range(4):
            torch.testing.assert_close(reduced.for_task(task)[level], expected.for_task(task)[level], rtol=0, atol=1e-5)
            assert (full.for_task(task)[level] - expected.for_task(task)[level]).abs().max() > 1e-3


@pytest.mark.parametrize("method", [PHM, Compacter])
def test_a_width_that_n_does_not_divide_is_refused_with_those_that_do(method: type[Method]) -> None:
    with pytest.raises(UsageError, match=r"method\.n = 5 does not divide the widths 16, 32, 64, 128") as refusal:
        method(tiny_backbone("swin"), TASKS, method.Config(name=method.name, n=5), 0)  # pyright: ignore[reportCallIssue]
    message = str(refusal.value)
    assert "Allowed: 1, 2, 4, 8, 16." in message
    assert f"petl-bench params --method {method.name} --set method.n=4" in message


@pytest.mark.parametrize("method", [PHM, Compacter])
def test_a_bottleneck_has_no_plain_form(method: type[Method]) -> None:
    with pytest.raises(UsageError, match="cannot be merged"):
        Subject(method, method.Config(name=method.name), "vit").build().method.merge()
