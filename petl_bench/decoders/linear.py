"""The linear decoder: one 1x1 convolution a level, upsampled and summed. The least that reads a pyramid."""

from collections.abc import Sequence
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.backbones.base import StageInfo
from petl_bench.config import DecoderConfig
from petl_bench.decoders.base import DECODERS, Decoder
from petl_bench.features import Pyramid


@DECODERS.register("linear")
class Linear(Decoder):
    """prediction = sum over levels of up(W_s f_s) + b, that is one linear layer on the concatenated levels."""

    Config: ClassVar[type[DecoderConfig]] = DecoderConfig

    def __init__(self, stages: Sequence[StageInfo], channels: int, config: DecoderConfig) -> None:
        super().__init__(stages, channels, config)
        self.stages, self.channels = tuple(stages), channels
        self.predict = nn.ModuleList(
            nn.Conv2d(stage.channels, channels, 1, bias=level == 0) for level, stage in enumerate(stages)
        )

    def expected_macs(self, pixels: Sequence[int]) -> int:
        """One matrix [channels, C_s] a pixel of every level."""
        return self.channels * sum(stage.channels * n for stage, n in zip(self.stages, pixels, strict=True))

    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""
        size = pyramid[0].shape[-2:]
        prediction = self.predict[0](pyramid[0])
        for level, predict in zip(pyramid[1:], list(self.predict)[1:], strict=True):
            prediction = prediction + F.interpolate(predict(level), size, mode="bilinear", align_corners=False)
        return prediction
