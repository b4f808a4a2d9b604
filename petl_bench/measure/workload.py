"""What is timed and counted: a forward pass or a training step, of the encoder alone or of everything."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from petl_bench.features import Features
from petl_bench.model import MultiTaskModel

Phase = Literal["infer", "train"]
Part = Literal["encoder", "total"]


def materialise(features: Features) -> list[Tensor]:
    """Return every pyramid level as dense memory, per-task ones for every task: here the encoder's cost ends."""
    pyramids = list(features.per_task.values()) or [features.shared or ()]
    return [level if _is_dense(level) else level.contiguous() for pyramid in pyramids for level in pyramid]


def _is_dense(level: Tensor) -> bool:
    return level.is_contiguous() or level.is_contiguous(memory_format=torch.channels_last)


def outputs(model: MultiTaskModel, part: Part) -> Callable[[Tensor], list[Tensor]]:
    """Return what maps images to the tensors at which a part ends."""
    if part == "encoder":
        return lambda image: materialise(model.method(image))
    return lambda image: list(model(image).values())


def inference(model: MultiTaskModel, image: Tensor, part: Part) -> Callable[[], list[Tensor]]:
    """Return one forward pass in evaluation mode without gradients."""
    run = outputs(model.for_inference(), part)

    def call() -> list[Tensor]:
        with torch.no_grad():
            return run(image)

    return call


def training(model: MultiTaskModel, image: Tensor, part: Part) -> Callable[[], None]:
    """Return one forward and backward pass in training mode, without loss and optimiser, which are every method's."""
    run = outputs(model.train(), part)
    ones = [torch.ones_like(out) for out in run(image)]

    def call() -> None:
        pairs = [(out, one) for out, one in zip(run(image), ones, strict=True) if out.requires_grad]
        if pairs:
            torch.autograd.backward([out for out, _ in pairs], [one for _, one in pairs])
        for parameter in model.parameters():
            parameter.grad = None

    return call


def frozen_pass(backbone: nn.Module, image: Tensor) -> Callable[[], list[Tensor]]:
    """Return one pass of the plain backbone without gradients: the unit of every relative cost."""
    backbone.eval()

    def call() -> list[Tensor]:
        with torch.no_grad():
            return materialise(Features(shared=backbone(image)))

    return call
