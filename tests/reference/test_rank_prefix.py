"""Ranks that shrink in training (FAAR): the importance, the rule, and what is left out."""

import pytest
import torch
from torch import Tensor, nn

from methods._low_rank import LowRankUpdate, MagnitudeAndDirection, PrefixOfRanks
from methods.lora import LoRA
from petl_bench import draws
from petl_bench.ledger import count
from petl_bench.testing import Subject
from petl_bench.testing.subject import trained

RANK = 6


def layer_of(kind: type[LowRankUpdate], interval: int = 1000) -> LowRankUpdate:
    with draws.seeded(0, "linear"):
        layer = kind(nn.Linear(10, 8), RANK, ("one", "two"), interval=interval)
        with torch.no_grad():
            for parameter in layer.parameters():
                if parameter.requires_grad:
                    parameter.normal_()
    return layer


def ranks_of(layer: LowRankUpdate) -> PrefixOfRanks:
    assert layer.ranks is not None
    return layer.ranks


def backward(layer: LowRankUpdate, x: Tensor) -> None:
    layer.zero_grad()
    target = torch.randn(4, 3, 8, generator=draws.generator(1, "target"))
    with draws.seeded(1, "prefix"):
        (layer(x) - target).square().mean().backward()


@pytest.mark.parametrize("kind", [LowRankUpdate, MagnitudeAndDirection])
def test_the_importance_of_a_rank_is_both_inner_products_of_a_factor_with_its_gradient(
    kind: type[LowRankUpdate],
) -> None:
    layer = layer_of(kind).train()
    backward(layer, torch.randn(4, 3, 10, generator=draws.generator(0, "x")))
    assert layer.down.grad is not None
    assert layer.up.grad is not None
    of_down = (layer.down * layer.down.grad).sum(-1).abs()
    of_up = (layer.up * layer.up.grad).sum(2).abs()
    torch.testing.assert_close(of_down, of_up, rtol=1e-4, atol=1e-7)
    torch.testing.assert_close(ranks_of(layer).importance, 0.02 * (of_down + of_up) / 2, rtol=1e-4, atol=1e-8)
    assert int(ranks_of(layer).passes) == 1


def test_a_random_prefix_of_the_active_ranks_is_trained() -> None:
    layer = layer_of(LowRankUpdate).train()
    ranks_of(layer).active.copy_(torch.tensor([[4], [2]]))
    seen: set[tuple[int, int]] = set()
    for seed in range(60):
        with draws.seeded(seed, "prefix"):
            used = layer.pair()[0].abs().sum(-1)[:, 0] > 0  # [T, r]
        lengths = used.sum(-1)
        assert all(bool(row[:length].all()) for row, length in zip(used, lengths, strict=True))
        seen.add((int(lengths[0]), int(lengths[1])))
    assert seen == {(one, two) for one in range(1, 5) for two in range(1, 3)}


@pytest.mark.parametrize(
    ("importance", "active", "kept"),
    [
        ([1, 90, 5, 4, 0, 0], 6, 4),  # in the order of the ranks, not of their importance
        ([50, 30, 15, 5, 0, 0], 6, 4),  # the first three cover 95 %
        ([100, 0, 0, 0, 0, 0], 6, 2),  # two at least
        ([10, 10, 10, 10, 10, 10], 6, 6),  # never more than there are
        ([50, 30, 15, 5, 0, 0], 3, 3),  # what was left out stays out
        ([0, 0, 0, 0, 0, 0], 6, 2),
    ],
)
def test_the_shortest_prefix_that_covers_the_importance_stays_and_one_rank_more(
    importance: list[float], active: int, kept: int
) -> None:
    ranks = PrefixOfRanks(1, 1, RANK, interval=1)
    ranks.importance.copy_(torch.tensor(importance).view(1, 1, -1))
    ranks.active.fill_(active)
    ranks.observe(ranks.importance.clone())
    assert int(ranks.active) == kept


def test_ranks_fall_after_every_interval_and_not_before() -> None:
    ranks = PrefixOfRanks(1, 1, RANK, interval=3)
    one = torch.tensor([1.0, 0, 0, 0, 0, 0]).view(1, 1, -1)
    seen = []
    for _ in range(3):
        ranks.observe(one)
        seen.append(int(ranks.active))
    assert seen == [6, 6, 2]


@pytest.mark.parametrize("kind", [LowRankUpdate, MagnitudeAndDirection])
def test_what_is_left_out_neither_computes_nor_learns(kind: type[LowRankUpdate]) -> None:
    layer = layer_of(kind)
    ranks_of(layer).active.copy_(torch.tensor([[2], [3]]))
    x = torch.randn(4, 3, 10, generator=draws.generator(0, "x"))
    out = layer.eval()(x)
    assert layer.inactive() == (4 + 3) * (10 + 8)
    backward(layer.train(), x)
    assert layer.down.grad is not None
    assert layer.up.grad is not None
    for t, active in enumerate((2, 3)):
        assert not layer.down.grad[t, 0, active:].any()
        assert not layer.up.grad[t, 0, :, active:].any()
    with torch.no_grad():
        for t, active in enumerate((2, 3)):
            layer.down[t, 0, active:] = 7.0
            layer.up[t, 0, :, active:] = 7.0
    torch.testing.assert_close(layer.eval()(x), out, rtol=0, atol=0)


def test_a_record_counts_what_is_stored_and_what_is_active_and_a_file_keeps_the_ranks() -> None:
    config = LoRA.Config(name="lora", rank=RANK, rank_schedule="prefix", interval=1)
    subject = Subject(LoRA, config, "swin")
    fresh = subject.build()
    stored = count(fresh)
    assert stored.active == stored.method
    model = trained(subject.build(), subject.images(), 2)
    now = count(model)
    assert now.method == stored.method
    layers = [layer for layer in model.modules() if isinstance(layer, LowRankUpdate)]
    left_out = sum(
        (RANK - int(a)) * 2 * layer.down.shape[-1] for layer in layers for a in ranks_of(layer).active.flatten()
    )
    assert left_out > 0
    assert now.active == now.method - left_out
    fresh.load_trained_state(model.trained_state())
    assert count(fresh) == now
    assert fresh.method.inactive_parameters() == left_out
