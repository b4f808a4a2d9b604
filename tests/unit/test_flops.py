"""Two counters and closed forms agree, and neither passes over an operation that it does not know."""

import pytest
import torch
from torch import Tensor, nn

from petl_bench.backbones.build import build_backbone
from petl_bench.measure.cost.flops import UnknownOperationError, Work, forward_work, tallied
from petl_bench.measure.cost.memory import saved_for_backward
from petl_bench.measure.cost.traced import fvcore_macs

SWIN_TINY, VIT_SMALL = "swin_tiny_patch4_window7_224", "vit_small_patch16_224"


def swin_tiny_macs() -> int:
    """Patch embedding; per block qkv, proj, two MLP layers (12 C^2 a token) and two attention products; merging."""
    tokens, total = 56 * 56, 56 * 56 * 96 * 3 * 16
    for stage, (width, depth) in enumerate(zip((96, 192, 384, 768), (2, 2, 6, 2), strict=True)):
        if stage:
            tokens //= 4
            total += tokens * 4 * (width // 2) * width
        total += depth * tokens * (12 * width**2 + 2 * 49 * width)
    return total


def vit_small_macs() -> int:
    """Patch embedding, and 12 blocks on 197 tokens of width 384."""
    return 196 * 384 * 3 * 256 + 12 * (197 * 12 * 384**2 + 2 * 197**2 * 384)


@pytest.mark.parametrize(("name", "closed"), [(SWIN_TINY, swin_tiny_macs()), (VIT_SMALL, vit_small_macs())])
def test_fvcore_and_torch_and_the_closed_form_agree(name: str, closed: int) -> None:
    backbone = build_backbone(name, weights="random", image_size=224, seed=0).eval()
    image = torch.rand(1, 3, 224, 224)
    traced = fvcore_macs(backbone, image)
    watched = forward_work(backbone, image).macs
    on_meta = forward_work(backbone.to("meta"), image.to("meta")).macs
    assert watched == on_meta == traced
    assert abs(traced - closed) <= 1e-3 * closed


class Odd(nn.Module):
    """A module with an operation that no list names."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.special.bessel_j0(x)


def test_an_unknown_operation_is_refused_by_name() -> None:
    with pytest.raises(UnknownOperationError, match="bessel_j0"):
        forward_work(Odd(), torch.rand(2, 3))
    with pytest.raises(UnknownOperationError, match="bessel_j0"):
        fvcore_macs(Odd(), torch.rand(2, 3))


def test_backward_of_a_frozen_layer_costs_one_product_and_of_a_trained_one_two() -> None:
    layers = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    for layer in (layers[0], layers[2]):
        layer.requires_grad_(False)
    x = torch.rand(5, 8)
    with tallied() as tally:
        layers(x).sum().backward()
    product = 5 * 8 * 8
    assert tally.work.macs == product * (1 + 2 + 2)  # before the first trained one, trained at the front, frozen behind


def test_a_scale_and_shift_writes_but_multiplies_nothing() -> None:
    x, scale, shift = torch.rand(6, 4), torch.rand(4), torch.rand(4)
    with tallied() as tally:
        torch.addcmul(shift, x, scale)
    assert tally.work == Work(macs=0, elementwise_ops=24, bytes_written=96)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_what_is_saved_for_backward_is_what_the_layers_keep(device: str) -> None:
    model = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 4)).to(device)
    image = torch.empty(10, 8, device=device)
    saved = saved_for_backward(model, lambda: model(image))
    assert saved.by_module == {"0": 10 * 8 * 4, "1": 10 * 16 * 4, "2": 10 * 16 * 4}
    model[0].requires_grad_(False)
    assert saved_for_backward(model, lambda: model(image)).by_module == {"2": 10 * 16 * 4}


@pytest.mark.parametrize("groups", [1, 2, 8])
def test_gradients_of_a_grouped_convolution_cost_what_its_forward_pass_does(groups: int) -> None:
    """Each of 5 x 5 outputs of 8 channels meets 3 x 3 taps of 8 / groups channels; three such passes in training."""
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=groups)
    image = torch.randn(2, 8, 5, 5, requires_grad=True)
    with tallied() as tally:
        layer(image).sum().backward()
    assert tally.work.macs == 3 * (2 * 25 * 8 * 9 * 8 // groups)


def test_a_result_that_was_looked_up_is_what_the_operation_returns() -> None:
    """Shapes, strides, types and aliases: of numbers of another type, of channels last, of what is written in place."""
    half = torch.empty(2, 3, 4, 4, dtype=torch.float16, device="meta")
    last = torch.empty(2, 3, 4, 4, device="meta").contiguous(memory_format=torch.channels_last)
    whole = torch.empty(3, dtype=torch.long, device="meta")
    calls = [
        lambda: whole + 1,
        lambda: whole + 1.0,
        lambda: half * half,
        lambda: half * last,
        lambda: torch.nn.functional.gelu(last),
        lambda: torch.cat([last, last], dim=1),
        lambda: torch.native_batch_norm(last, None, None, None, None, True, 0.1, 1e-5)[0],
        lambda: last.sum((2, 3)),
    ]
    for call in calls:
        plain = call()
        with tallied():
            kept = [call() for _ in range(2)]
        for one in kept:
            assert (one.shape, one.stride(), one.dtype) == (plain.shape, plain.stride(), plain.dtype)
        assert kept[0] is not kept[1]
    with tallied():
        assert last.add_(1) is last
        assert whole.view(3, 1)._base is whole
