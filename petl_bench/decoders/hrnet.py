"""The HRNet head: project every level to its own width, upsample, concatenate, widen, classify.

Paper: Wang et al., 2019, HRNet, https://arxiv.org/abs/1908.07919 (section 3.3, the head of its segmentation network);
behind per-level projections as in the released code of MTLoRA, https://arxiv.org/abs/2403.20320. Written from its
equations.
"""

from collections.abc import Sequence
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from petl_bench.backbones.base import StageInfo
from petl_bench.config import DecoderConfig, Positive
from petl_bench.decoders.base import DECODERS, Decoder
from petl_bench.errors import UsageError
from petl_bench.features import Pyramid

EXPANSION = 4  # width of the hidden map over that of the concatenated one


@DECODERS.register("hrnet")
class HRNet(Decoder):
    """z = ReLU(BN(W_wide [up(W_s f_s)]_s + b_wide)); prediction = W_out z + b_out."""

    class Config(DecoderConfig):
        """``widths``: channels of every projected level; those of HRNet-W18 by default."""

        widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (18, 36, 72, 144)

    def __init__(self, stages: Sequence[StageInfo], channels: int, config: Config) -> None:
        super().__init__(stages, channels, config)
        if len(config.widths) != len(stages):
            raise UsageError(
                f"decoder.widths = {list(config.widths)}: one width a level is expected, {len(stages)} in all.\n"
                "Type: --set decoder.widths=[18,36,72,144]"
            )
        self.project = nn.ModuleList(
            nn.Conv2d(stage.channels, width, 1, bias=False) for stage, width in zip(stages, config.widths, strict=True)
        )
        width = sum(config.widths)
        self.widen = nn.Conv2d(width, EXPANSION * width, 1)
        self.norm = nn.BatchNorm2d(EXPANSION * width)
        self.predict = nn.Conv2d(EXPANSION * width, channels, 1)

    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""
        size = pyramid[0].shape[-2:]
        projected = [project(level) for project, level in zip(self.project, pyramid, strict=True)]
        coarse = [F.interpolate(level, size, mode="bilinear", align_corners=False) for level in projected[1:]]
        return self.predict(F.relu(self.norm(self.widen(torch.cat([projected[0], *coarse], 1)))))
