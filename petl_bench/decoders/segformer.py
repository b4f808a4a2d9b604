"""The all-MLP decoder: project every level to one width, upsample, fuse, classify.

Paper: Xie et al., 2021, SegFormer, https://arxiv.org/abs/2105.15203 (section 3.2). Written from its equations.
"""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.backbones.base import StageInfo
from petl_bench.config import DecoderConfig, Positive
from petl_bench.decoders.base import Decoder
from petl_bench.features import Pyramid
from petl_bench.registry import DECODERS


@DECODERS.register("segformer")
class SegFormer(Decoder):
    """z = ReLU(BN(W_fuse [up(W_s f_s + b_s)]_s)); prediction = W_out z + b_out.

    A bilinear upsampling has weights that sum to one and acts on each channel alone, so it commutes with 1x1
    convolutions: every level is projected *and fused* at its own resolution and upsampled once. The result is the
    textbook form's, at a fraction of its cost.
    """

    class Config(DecoderConfig):
        """``width``: channels of the fused map; 256 in the published table, 64 for the embedded backbone."""

        width: Positive = 256

    def __init__(self, stages: Sequence[StageInfo], channels: int, config: Config) -> None:
        super().__init__(stages, channels, config)
        width = config.width
        self.project = nn.ModuleList(nn.Conv2d(stage.channels, width, 1) for stage in stages)
        self.fuse = nn.Conv2d(width * len(stages), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.predict = nn.Conv2d(width, channels, 1)

    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""
        size = pyramid[0].shape[-2:]
        slices = self.fuse.weight.chunk(len(self.project), dim=1)
        fused = F.conv2d(self.project[0](pyramid[0]), slices[0])
        for level, project, weight in zip(pyramid[1:], list(self.project)[1:], slices[1:], strict=True):
            own = F.conv2d(project(level), weight)
            fused = fused + F.interpolate(own, size, mode="bilinear", align_corners=False)
        return self.predict(F.relu(self.norm(fused)))
