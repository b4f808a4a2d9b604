"""What the per-task read-out of VMT-Adapter can and cannot learn."""

from typing import Any

import pytest
import torch

from methods._read import ScaleAndShift
from methods.vmt import VMT
from petl_bench.testing import TASKS, Subject, disturb, losses


def gradient_sizes(decoder: str, **settings: Any) -> dict[str, float]:
    """Return the root mean square gradient of alpha and beta at a disturbed start."""
    subject = Subject(VMT, VMT.Config(name="vmt", **settings), "swin")
    model = disturb(subject.build(decoder=decoder)).train()
    torch.stack(list(losses(model(subject.images(4))).values())).sum().backward()
    found: dict[str, list[torch.Tensor]] = {"alpha": [], "beta": []}
    for name, parameter in model.method.named_parameters():
        if name.rpartition(".")[2] in found and parameter.grad is not None:
            found[name.rpartition(".")[2]].append(parameter.grad.flatten())
    return {name: torch.cat(parts).square().mean().sqrt().item() for name, parts in found.items()}


def exempt(**settings: Any) -> set[str]:
    subject = Subject(VMT, VMT.Config(name="vmt", **settings), "swin")
    return set(subject.build().method.gradient_exempt)


@pytest.mark.parametrize(
    "settings",
    [{}, {"extract_at": "bottleneck"}, {"decoder_input": "concat"}, {"decoder_input": "task-only"}],
    ids=str,
)
def test_the_default_decoder_absorbs_the_shift_and_the_linear_one_does_not(settings: dict[str, str]) -> None:
    """Why beta is exempt: behind an affine layer and a batch norm its gradient is rounding noise."""
    absorbed, seen = gradient_sizes("segformer", **settings), gradient_sizes("linear", **settings)
    assert absorbed["beta"] < 1e-4 * absorbed["alpha"]
    assert seen["beta"] > 1e-2 * seen["alpha"]
    assert exempt(**settings) == {"beta"}


@pytest.mark.parametrize(
    "settings",
    [{"extract_at": "pre-activation"}, {"task_path": "side"}, {"task_path": "trunk"}],
    ids=str,
)
def test_a_shift_that_passes_through_a_nonlinearity_is_identifiable(settings: dict[str, str]) -> None:
    absorbed = gradient_sizes("segformer", **settings)
    assert absorbed["beta"] > 1e-2 * absorbed["alpha"]
    assert exempt(**settings) == set()


def test_alpha_zero_is_the_shared_parallel_adapter() -> None:
    """The nested null: without the read-out every task reads the trunk that carries the adapters."""
    subject = Subject(VMT, VMT.Config(name="vmt"), "swin")
    method = disturb(subject.build()).method
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name.endswith((".alpha", ".beta")):
                parameter.zero_()
    images = subject.images()
    features, trunk = method(images), method.backbone.pyramid(method.backbone.walk(images).streams)
    for task in TASKS:
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(features.for_task(task), trunk, strict=True))


@pytest.mark.parametrize("tasks", [1, 3])
@pytest.mark.parametrize("beside", [True, False])
def test_the_read_out_has_the_gradients_of_finite_differences(tasks: int, beside: bool) -> None:
    """For a decoder that reads the stage output as well, and for one that reads the taps alone."""
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.double).requires_grad_()

    start = drawn(1, 2, 3, 4) if beside else torch.zeros(1, dtype=torch.double)
    inputs = (start, drawn(tasks, 4), drawn(2, tasks, 4), drawn(2, 3, 4), drawn(2, 3, 4))
    assert torch.autograd.gradcheck(ScaleAndShift.apply, inputs)


def test_the_read_out_is_the_sum_that_inference_takes() -> None:
    subject = Subject(VMT, VMT.Config(name="vmt"), "swin")
    method = disturb(subject.build()).method
    images = subject.images()
    trained = method(images).per_task
    with torch.no_grad():
        inferred = method(images).per_task
    for task in TASKS:
        for one, two in zip(trained[task], inferred[task], strict=True):
            torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
