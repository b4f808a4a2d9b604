"""The HRNet head: its count, and its textbook form."""

import pytest
import torch
import torch.nn.functional as F

from petl_bench.backbones.base import StageInfo
from petl_bench.decoders.hrnet import HRNet
from petl_bench.errors import UsageError

AFTER_MERGE = (StageInfo(192, 8), StageInfo(384, 16), StageInfo(768, 32), StageInfo(768, 32))
STAGES = (StageInfo(8, 4), StageInfo(16, 8), StageInfo(24, 16), StageInfo(32, 32))


@pytest.mark.parametrize("channels", [1, 3, 7, 21])
def test_count_on_swin_tiny_behind_patch_merging(channels: int) -> None:
    """Projections without bias to 18, 36, 72, 144; 270 to 1080 with bias; a batch norm; 1080 to n with bias."""
    projections = 192 * 18 + 384 * 36 + 768 * 72 + 768 * 144
    widened = 270 * 1080 + 1080
    assert (projections, widened) == (183_168, 292_680)
    expected = projections + widened + 2 * 1080 + 1080 * channels + channels
    decoder = HRNet(AFTER_MERGE, channels, HRNet.Config(name="hrnet"))
    assert sum(parameter.numel() for parameter in decoder.parameters()) == expected


def test_equals_its_textbook_form_in_training_and_inference() -> None:
    """Upsampling acts on each channel alone, so the levels may be upsampled first and projected as one matrix."""
    torch.manual_seed(0)
    decoder = HRNet(STAGES, 5, HRNet.Config(name="hrnet", widths=(2, 3, 4, 5)))
    levels = tuple(torch.randn(3, s.channels, 64 // s.stride, 64 // s.stride) for s in STAGES)
    up = torch.cat([F.interpolate(level, (16, 16), mode="bilinear", align_corners=False) for level in levels], 1)
    matrix = torch.block_diag(*[project.weight[:, :, 0, 0] for project in decoder.project])
    for training in (True, False):
        decoder.train(training)
        wide = torch.einsum("oi,bihw->bohw", decoder.widen.weight[:, :, 0, 0] @ matrix, up)
        wide = decoder.norm(wide + decoder.widen.bias.view(-1, 1, 1))
        expected = torch.einsum("oi,bihw->bohw", decoder.predict.weight[:, :, 0, 0], wide.clamp(min=0))
        expected = expected + decoder.predict.bias.view(-1, 1, 1)
        prediction = decoder(levels)
        torch.testing.assert_close(prediction, expected, rtol=0, atol=1e-5)
        assert prediction.shape == (3, 5, 16, 16)
        assert prediction.std() > 1e-2


def test_widths_must_be_one_a_level() -> None:
    with pytest.raises(UsageError, match="one width a level"):
        HRNet(STAGES, 5, HRNet.Config(name="hrnet", widths=(18, 36)))
