"""The decoders equal their textbook forms."""

import torch
import torch.nn.functional as F

from petl_bench.backbones.base import StageInfo
from petl_bench.decoders.linear import Linear
from petl_bench.decoders.segformer import SegFormer

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


def test_linear_is_one_layer_on_the_concatenated_levels() -> None:
    torch.manual_seed(0)
    decoder, levels = Linear(STAGES, 5, Linear.Config(name="linear")), pyramid()
    size = levels[0].shape[-2:]
    stacked = torch.cat([F.interpolate(x, size, mode="bilinear", align_corners=False) for x in levels], 1)
    weight = torch.cat([layer.weight for layer in decoder.predict], 1)
    expected = F.conv2d(stacked, weight, decoder.predict[0].bias)
    torch.testing.assert_close(decoder(levels), expected, rtol=0, atol=1e-5)
