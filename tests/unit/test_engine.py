"""Batches, augmentation, optimiser groups and clipping."""

import pytest
import torch
from conftest import Noise, resolved

from petl_bench.data.base import Batch
from petl_bench.data.transforms import flip
from petl_bench.engine.build import build
from petl_bench.engine.optimise import ClipPerOwner, optimiser, schedule
from petl_bench.engine.train import batches


def names_by_group(model, config) -> dict[tuple[float, float], set[str]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = optimiser(model, config.train).param_groups
    return {
        (group["lr"], group["weight_decay"]): {names[id(parameter)] for parameter in group["params"]}
        for group in groups
    }


def test_rates_by_owner_and_no_decay_on_vectors() -> None:
    rates = {"backbone": 1e-4, "method": 2e-3, "decoder": 3e-3}
    config = resolved("vmt", train={"learning_rate": rates, "weight_decay": 0.1})
    groups = names_by_group(build(config), config)
    assert set(groups) == {(2e-3, 0.1), (2e-3, 0.0), (3e-3, 0.1), (3e-3, 0.0)}
    decayed = groups[2e-3, 0.1]
    assert all(name.endswith(("down.weight", "up.weight")) for name in decayed)
    assert any(name.endswith("alpha") for name in groups[2e-3, 0.0])
    full = resolved("full", train={"learning_rate": rates, "weight_decay": 0.1})
    groups = names_by_group(build(full), full)
    assert set(groups) == {(1e-4, 0.1), (1e-4, 0.0), (3e-3, 0.1), (3e-3, 0.0)}
    assert all("relative_position_bias_table" not in name for name in groups[1e-4, 0.1])


def test_replicas_take_the_backbones_rate() -> None:
    config = resolved("single", train={"learning_rate": {"backbone": 1e-4, "method": 2e-3, "decoder": 3e-3}})
    model = build(config)
    groups = names_by_group(model, config)
    assert {rate for rate, _ in groups} == {1e-4, 3e-3}
    trained = sum(len(names) for (rate, _), names in groups.items() if rate == 1e-4)
    assert trained == 3 * len(list(model.method.backbone.parameters()))


def test_rate_warms_up_and_ends_at_zero() -> None:
    config = resolved("full", train={"steps": 100, "warmup_fraction": 0.1})
    optimizer = optimiser(build(config), config.train)
    rates = schedule(optimizer, config.train)
    seen = []
    for _ in range(100):
        seen.append(optimizer.param_groups[0]["lr"] / optimizer.param_groups[0]["initial_lr"])
        optimizer.step()
        rates.step()
    assert 0 < seen[0] < 0.1
    assert max(seen) == pytest.approx(1.0)
    assert seen.index(max(seen)) == 10
    assert seen[-1] < 1e-3


def test_clipping_scales_each_owner_to_the_limit() -> None:
    config = resolved("lora")
    model = build(config)
    for number, parameter in enumerate(p for p in model.parameters() if p.requires_grad):
        parameter.grad = torch.full_like(parameter, 1.0 + number)
    ClipPerOwner(model, 2.0)()
    owned = model.method.owned()
    for t, task in enumerate(model.tasks):
        slices = [p.grad[t] for p in owned.stacked.values() if p.grad is not None]
        decoder = [p.grad for p in model.decoders[task].parameters() if p.grad is not None]
        norm = torch.stack([g.square().sum() for g in [*slices, *decoder]]).sum().sqrt()
        assert norm.item() == pytest.approx(2.0, rel=1e-4)


def test_small_gradients_are_not_enlarged() -> None:
    model = build(resolved("vmt"))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.full_like(parameter, 1e-6)
    ClipPerOwner(model, 5.0)()
    assert all(float(p.grad.max()) == pytest.approx(1e-6) for p in model.parameters() if p.grad is not None)


def test_batches_do_not_depend_on_method_or_tasks() -> None:
    one, two = resolved("vmt"), resolved("single", ("normals",))
    first = [batch.images for batch in batches(Noise(one.dataset, "train", one.tasks), one)]
    second = [batch.images for batch in batches(Noise(two.dataset, "train", two.tasks), two)]
    assert len(first) == 4
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = resolved("vmt", seed=1)
    third = [batch.images for batch in batches(Noise(other.dataset, "train", other.tasks), other)]
    assert not torch.equal(first[0], third[0])


def test_batches_go_through_all_images_before_any_comes_again() -> None:
    config = resolved("vmt", train={"steps": 3, "batch_size": 4}, dataset={"flip": False})
    dataset = Noise(config.dataset, "train", config.tasks)
    seen = torch.cat([batch.images for batch in batches(dataset, config)])
    every = dataset.batch(range(12)).images
    assert all(any(torch.equal(image, other) for other in seen) for image in every)


def test_two_processes_share_a_batch() -> None:
    config = resolved("vmt")
    dataset = Noise(config.dataset, "train", config.tasks)
    whole = next(batches(dataset, config)).images
    halves = [next(batches(dataset, config, rank=rank, world=2)).images for rank in (0, 1)]
    assert torch.equal(whole[0::2], halves[0])
    assert torch.equal(whole[1::2], halves[1])


def test_flip_mirrors_labels_and_negates_x_of_normals() -> None:
    images, normals = torch.rand(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    classes = torch.arange(32).view(2, 4, 4)
    batch = flip(Batch(images, {"semseg": classes, "normals": normals}), torch.tensor([True, False]))
    assert torch.equal(batch.images[0], images[0].flip(-1))
    assert torch.equal(batch.images[1], images[1])
    assert torch.equal(batch.labels["semseg"][0], classes[0].flip(-1))
    assert torch.equal(batch.labels["normals"][0, 0], -normals[0, 0].flip(-1))
    assert torch.equal(batch.labels["normals"][0, 1:], normals[0, 1:].flip(-1))
    assert torch.equal(batch.labels["normals"][1], normals[1])
