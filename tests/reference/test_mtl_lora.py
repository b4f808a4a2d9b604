"""MTL-LoRA equals its equation, a task and an up-projection at a time; its counts are those of the equation."""

from typing import Any

import pytest
import torch

from methods.mtl_lora import MixedUpdate, MTLLoRA
from petl_bench.measure.count.table import parameter_row
from petl_bench.testing import TASKS, Subject, disturb

WIDTHS = {
    "swin_tiny_patch4_window7_224": [96] * 2 + [192] * 2 + [384] * 6 + [768] * 2,
    "vit_small_patch16_224": [384] * 12,
}


@pytest.mark.parametrize("family", ["swin", "vit"])
@torch.no_grad()
def test_query_and_value_equal_the_equation_for_every_task(family: str) -> None:
    subject = Subject(MTLLoRA, MTLLoRA.Config(name="mtl-lora", rank=4, ups=3, temperature=0.7), family)
    method = disturb(subject.build()).method
    sites = method.backbone.sites("attn.qkv")
    assert len(sites) == 8
    for site in sites:
        layer: Any = site.module
        assert isinstance(layer, MixedUpdate)
        x = torch.randn(len(TASKS) * 2, 5, site.width, generator=torch.Generator().manual_seed(1))
        out = layer(x).chunk(len(TASKS))
        for t, own in enumerate(x.chunk(len(TASKS))):
            expected = list(layer.linear(own).chunk(3, -1))
            weights = torch.exp(layer.mixture[t] / 0.7)
            weights = weights / weights.sum()
            for part, number in ((0, 0), (2, 1)):
                hidden = own @ layer.factors.down[number].mT @ layer.core[t, number].mT
                added = sum(weights[i] * (hidden @ layer.factors.ups[i, number].mT) for i in range(3))
                expected[part] = expected[part] + added
                assert added.abs().max() > 1e-3  # pyright: ignore[reportAttributeAccessIssue]
            torch.testing.assert_close(out[t], torch.cat(expected, -1), rtol=0, atol=1e-5)


def test_tasks_start_at_mixtures_of_their_own_and_at_the_identity() -> None:
    method = Subject(MTLLoRA, MTLLoRA.Config(name="mtl-lora"), "swin").build().method
    for site in method.backbone.sites("attn.qkv"):
        layer: Any = site.module
        assert torch.equal(layer.core, torch.eye(8).expand_as(layer.core))
        assert len({tuple(row) for row in layer.mixture.tolist()}) == len(TASKS)
        assert not layer.factors.ups.any()


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 4])
def test_counts_follow_the_equation(backbone: str, tasks: int) -> None:
    r, n = 8, 3
    shared = sum(2 * (r * c + n * c * r) for c in WIDTHS[backbone])
    per_task = tasks * len(WIDTHS[backbone]) * (2 * r * r + n)
    row = parameter_row({"method": {"name": "mtl-lora"}, "backbone": {"name": backbone}, "tasks": tasks}, [])
    assert (row["shared_parameters"], row["per_task_parameters"]) == (shared, per_task)
