"""The decoders equal their textbook forms."""

import pytest
import torch
import torch.nn.functional as F

from petl_bench.backbones.base import StageInfo
from petl_bench.decoders.linear import Linear
from petl_bench.decoders.segformer import SegFormer
from petl_bench.measure.cost.flops import forward_work

STAGES = (StageInfo(8, 4), StageInfo(16, 8), StageInfo(24, 16), StageInfo(32, 32))


def pyramid(batch: int = 3, size: int = 16) -> tuple[torch.Tensor, ...]:
    return tuple(torch.randn(batch, s.channels, 4 * size // s.stride, 4 * size // s.stride) for s in STAGES)


def textbook(decoder: SegFormer, levels: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Project every level, upsample, concatenate, fuse, norm, ReLU, classify."""
    size = levels[0].shape[-2:]
    up = [
        F.interpolate(project(level), size, mode="bilinear", align_corners=False)
        for project, level in zip(decoder.project, levels, strict=True)
    ]
    return decoder.predict(F.relu(decoder.norm(decoder.fuse(torch.cat(up, 1)))))


def test_segformer_equals_its_textbook_form_in_training_and_inference() -> None:
    torch.manual_seed(0)
    decoder, levels = SegFormer(STAGES, 5, SegFormer.Config(name="segformer", width=12)), pyramid()
    for training in (True, False):
        decoder.train(training)
        torch.testing.assert_close(decoder(levels), textbook(decoder, levels), rtol=0, atol=1e-5)


def test_one_matrix_a_level_has_the_values_and_gradients_of_the_textbook_form_to_rounding() -> None:
    """In double precision, every parameter and input, the running statistics as well."""
    torch.manual_seed(0)
    decoder = SegFormer(STAGES, 5, SegFormer.Config(name="segformer", width=12)).double()
    levels = tuple(level.double().requires_grad_() for level in pyramid())
    found: list[list[torch.Tensor]] = []
    for forward in (decoder, lambda one: textbook(decoder, one)):
        decoder.norm.reset_running_stats()
        prediction = forward(levels)
        gradients = torch.autograd.grad(prediction.square().sum(), [*decoder.parameters(), *levels])
        found.append([prediction, *gradients, *(buffer.clone() for buffer in decoder.buffers())])
    for own, expected in zip(*found, strict=True):
        torch.testing.assert_close(own, expected, rtol=1e-10, atol=1e-10)


def test_the_folded_decoder_equals_the_textbook_form() -> None:
    torch.manual_seed(0)
    decoder, levels = SegFormer(STAGES, 5, SegFormer.Config(name="segformer", width=12)), pyramid()
    with torch.no_grad():
        decoder.norm.weight.uniform_(0.5, 2)
        decoder.norm.bias.normal_()
    for _ in range(5):
        decoder.train()(pyramid())  # running statistics of its own
    decoder.eval()
    with torch.no_grad():
        torch.testing.assert_close(decoder.folded()(levels), textbook(decoder, levels), rtol=0, atol=1e-5)
    assert sum(buffer.numel() for buffer in decoder.folded().buffers()) == 12 * sum(s.channels for s in STAGES) + 12


@pytest.mark.parametrize("shared", [True, False])
def test_folded_decoders_together_predict_what_they_predict_alone(shared: bool) -> None:
    torch.manual_seed(0)
    config = SegFormer.Config(name="segformer", width=12)
    folded = [SegFormer(STAGES, channels, config).eval().folded() for channels in (5, 1, 3)]
    together = SegFormer.together(folded)
    assert together is not None
    pyramids = [pyramid(1)] * 3 if shared else [pyramid(1) for _ in folded]
    with torch.no_grad():
        for own, one, levels in zip(together(pyramids), folded, pyramids, strict=True):
            torch.testing.assert_close(own, one(levels), rtol=0, atol=1e-5)
    assert together.is_faster_on(pyramids[0])
    assert not together.is_faster_on(pyramid(64))  # 64 maps of 16 x 16


def test_folding_saves_most_of_the_multiply_adds() -> None:
    """Width 256 on the pyramid of Swin-T at 224 pixels, by count; the closed form is sum of tokens x C x width."""
    stages = (StageInfo(96, 4), StageInfo(192, 8), StageInfo(384, 16), StageInfo(768, 32))
    levels = tuple(torch.empty(1, s.channels, 224 // s.stride, 224 // s.stride, device="meta") for s in stages)
    decoder = SegFormer(stages, 21, SegFormer.Config(name="segformer")).to("meta").eval()
    last = 56 * 56 * 256 * 21
    whole = forward_work(lambda _: textbook(decoder, levels), levels[0]).macs
    folded = decoder.folded()
    assert forward_work(lambda _: folded(levels), levels[0]).macs == last + 256 * sum(
        x.shape[1] * x.shape[2] * x.shape[3] for x in levels
    )
    assert whole - last > 6 * 256 * sum(x.shape[1] * x.shape[2] * x.shape[3] for x in levels)


def test_linear_is_one_layer_on_the_concatenated_levels() -> None:
    torch.manual_seed(0)
    decoder, levels = Linear(STAGES, 5, Linear.Config(name="linear")), pyramid()
    size = levels[0].shape[-2:]
    stacked = torch.cat([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in levels], 1)
    weight = torch.cat([layer.weight for layer in decoder.predict], 1)
    expected = F.conv2d(stacked, weight, decoder.predict[0].bias)
    torch.testing.assert_close(decoder(levels), expected, rtol=0, atol=1e-5)
