"""The training step of the embedded benchmark beside what it replaced, which gave the same numbers to rounding."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
import torch.nn.functional as F
from conftest import Noise, resolved
from gates import Gate, Limits
from torch import Tensor, nn

from petl_bench.data.base import Batch
from petl_bench.decoders.segformer import SegFormer
from petl_bench.engine.batches import batches
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.train import Loop
from petl_bench.features import Pyramid

TASKS = ("semseg", "saliency", "normals")
METHODS = ("vmt", "full", "decoders", "lora")


def in_two_steps(decoder: SegFormer) -> Callable[[Pyramid], Tensor]:
    """Project every level, then fuse it, at its own resolution."""

    def forward(pyramid: Pyramid) -> Tensor:
        slices = decoder.fuse.weight.chunk(len(decoder.project), dim=1)
        own = [
            F.conv2d(project(level), weight)
            for project, level, weight in zip(decoder.project, pyramid, slices, strict=True)
        ]
        total = own[0]
        for coarse in own[1:]:
            total = total + F.interpolate(coarse, total.shape[-2:], mode="bilinear", align_corners=False)
        return decoder.predict(F.relu(decoder.norm(total)))

    return forward


def as_before(loop: Loop) -> Loop:
    """Put back the decoders in two steps, timm's own mask, and Adam parameter by parameter."""
    for decoder in loop.model.decoders.values():
        assert isinstance(decoder, SegFormer)
        decoder.forward = in_two_steps(decoder)
    masked = [module for module in loop.model.modules() if isinstance(getattr(module, "attn_mask", None), Tensor)]
    assert masked
    for block in masked:
        block.attn_mask = block.attn_mask.clamp(min=-100)
    for group in loop._optimizer.param_groups:
        group.update(fused=False, foreach=False)
    return loop


def loop_of(method: str, size: int, batch: int, change: Callable[[nn.Module], object] | None = None) -> Loop:
    sections = {"dataset": {"image_size": size, "train_images": 64}, "train": {"steps": 100, "batch_size": batch}}
    config = resolved(method, TASKS, decoder={"name": "segformer", "width": 64}, **sections)
    model = build(config)
    if change is not None:
        change(model)
    return Loop(model, task_specs(config), config, make_accelerator(config))


def squares(loop: Loop, batch: Batch, whole: Batch | None = None) -> dict[str, Tensor]:
    """Return for every task how far its predictions are from what the image shows, in the model's own precision."""
    predictions = loop.model(batch.images)
    return {task: (one - batch.images.mean(1, keepdim=True)).square().mean() for task, one in predictions.items()}


def some_batches(loop: Loop, number: int) -> list[Batch]:
    stream = batches(Noise(loop.config.dataset, "train", TASKS), loop.config)
    return [batch for _, batch in zip(range(number), stream, strict=False)]


@pytest.mark.parametrize("method", METHODS)
def test_three_steps_give_the_numbers_of_before_to_rounding(method: str) -> None:
    """In double precision, for losses that are smooth and computed in it, as those of the tasks are not."""
    now, before = (loop_of(method, 32, 4, nn.Module.double) for _ in range(2))
    as_before(before)
    for loop in (now, before):
        loop.losses = partial(squares, loop)
    for batch in some_batches(now, 3):
        wide = Batch(batch.images.double(), batch.labels)
        (loss, _), (expected, _) = now.take(wide), before.take(wide)
        assert loss == pytest.approx(expected, rel=1e-10)
    for (name, own), expected in zip(now.model.named_parameters(), before.model.parameters(), strict=True):
        torch.testing.assert_close(own, expected, rtol=0, atol=1e-10, msg=name)


@pytest.mark.timing
@pytest.mark.parametrize("method", [METHODS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in METHODS[1:])])
def test_the_step_beside_that_of_before(gate: Gate, method: str) -> None:
    now, before = loop_of(method, 64, 16), as_before(loop_of(method, 64, 16))
    (batch,) = some_batches(now, 1)
    things = {"now": lambda lap: now.take(batch), "before": lambda lap: before.take(batch)}
    gate.ratio(things, "now", "before", rounds=10, limits=Limits(1.0, 0.9))
