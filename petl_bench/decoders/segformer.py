"""The all-MLP decoder: project every level to one width, upsample, fuse, classify.

Paper: Xie et al., 2021, SegFormer, https://arxiv.org/abs/2105.15203 (section 3.2). Written from its equations.
"""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.backbones.base import StageInfo
from petl_bench.config import DecoderConfig, Positive
from petl_bench.decoders.base import DECODERS, Decoder, DecodersTogether
from petl_bench.features import Pyramid

FEW_PIXELS = 2048  # of the finest maps of a batch, up to which decoders run faster together (tests/benchmark)


def upsampled_sum(maps: Sequence[Tensor]) -> Tensor:
    """Add maps [B, C, H_s, W_s] to the first, in place: at its size, which is the finest."""
    total = maps[0]
    for coarse in maps[1:]:
        total += F.interpolate(coarse, total.shape[-2:], mode="bilinear", align_corners=False)
    return total


class FoldedSegFormer(nn.Module):
    """prediction = W_out ReLU(sum over levels of up(M_s f_s) + b) + b_out: for inference, nothing in it is trained.

    With the batch norm's mean and variance fixed, projection, fusion and norm are one matrix a level:
    M_s = diag(gamma / sqrt(var + eps)) W_fuse,s W_s,  and b holds all that is constant.
    """

    def __init__(self, matrices: Sequence[Tensor], bias: Tensor, predict: nn.Conv2d) -> None:
        super().__init__()
        self.levels = len(matrices)
        for level, matrix in enumerate(matrices):
            self.register_buffer(f"matrix_{level}", matrix)
        self.register_buffer("bias", bias)
        self.predict = predict

    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""
        bias = self.get_buffer("bias")
        maps = [
            F.conv2d(level, self.get_buffer(f"matrix_{s}"), bias if s == 0 else None) for s, level in enumerate(pyramid)
        ]
        return self.predict(upsampled_sum(maps).relu_())


class SegFormersTogether(DecodersTogether):
    """Folded decoders of one width, level by level in one product for all; only their last convolutions differ."""

    def __init__(self, folded: Sequence[FoldedSegFormer]) -> None:
        super().__init__()
        self.levels = folded[0].levels
        for level in range(self.levels):
            own = [one.get_buffer(f"matrix_{level}")[:, :, 0, 0] for one in folded]
            self.register_buffer(f"matrix_{level}", torch.stack(own))  # [T, W, C]
        self.register_buffer("bias", torch.stack([one.get_buffer("bias") for one in folded])[:, None])
        self.predict = nn.ModuleList(one.predict for one in folded)

    def is_faster_on(self, pyramid: Pyramid) -> bool:
        """Return whether the finest maps are so small that starting an operation costs more than doing it."""
        batch, _, height, width = pyramid[0].shape
        return len(self.predict) > 1 and batch * height * width <= FEW_PIXELS

    def forward(self, pyramids: Sequence[Pyramid]) -> list[Tensor]:
        """Map one pyramid a decoder to its predictions [B, channels, H_0, W_0]."""
        number, maps = len(pyramids), list[Tensor]()
        for level in range(self.levels):
            batch, _, height, width = pyramids[0][level].shape
            tokens = [pyramid[level].permute(0, 2, 3, 1).flatten(0, 2) for pyramid in pyramids]  # [B * H * W, C]
            rows, matrix = torch.stack(tokens), self.get_buffer(f"matrix_{level}").mT
            own = torch.baddbmm(self.get_buffer("bias"), rows, matrix) if level == 0 else rows @ matrix
            maps.append(own.view(number * batch, height, width, -1).permute(0, 3, 1, 2))
        fused = upsampled_sum(maps).relu_().chunk(number)
        return [predict(own) for predict, own in zip(self.predict, fused, strict=True)]


@DECODERS.register("segformer")
class SegFormer(Decoder):
    """z = ReLU(BN(W_fuse [up(W_s f_s + b_s)]_s)); prediction = W_out z + b_out.

    A bilinear upsampling has weights that sum to one and acts on each channel alone, so it commutes with 1x1
    convolutions; and nothing stands between projection and fusion. So every level is projected *and fused* at its own
    resolution by one matrix, W_fuse,s W_s, and upsampled once. The result is the textbook form's, at a fraction of its
    cost; the parameters are those of the textbook form.
    """

    class Config(DecoderConfig):
        """``width``: channels of the fused map; 256 in the published table, 64 for the embedded backbone."""

        width: Positive = 256

    def __init__(self, stages: Sequence[StageInfo], channels: int, config: Config) -> None:
        super().__init__(stages, channels, config)
        width, self.stages = config.width, tuple(stages)
        self.project = nn.ModuleList(nn.Conv2d(stage.channels, width, 1) for stage in stages)
        self.fuse = nn.Conv2d(width * len(stages), width, 1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        self.predict = nn.Conv2d(width, channels, 1)

    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""
        projections: list[Any] = list(self.project)
        fuse = self.fuse.weight.flatten(1)
        bias = (fuse * torch.cat([project.bias for project in projections])).sum(1)
        slices = fuse.chunk(len(projections), dim=1)
        own = [
            F.conv2d(level, (part @ project.weight.flatten(1))[:, :, None, None], bias if s == 0 else None)
            for s, (project, level, part) in enumerate(zip(projections, pyramid, slices, strict=True))
        ]
        return self.predict(self.norm(upsampled_sum(own)).relu_())

    def expected_macs(self, pixels: Sequence[int]) -> int:
        """One matrix [W, C_s] a pixel of every level, and W_out a pixel of the finest."""
        inputs = [stage.channels for stage in self.stages]
        projected = sum(channels * number for channels, number in zip(inputs, pixels, strict=True))
        return self.fuse.out_channels * (projected + self.predict.out_channels * pixels[0])

    @torch.no_grad()
    def folded(self) -> FoldedSegFormer:
        """Return projection, fusion and norm in one matrix a level, in double precision until the last step."""
        norm, dtype = self.norm, self.fuse.weight.dtype
        assert norm.running_var is not None
        assert norm.running_mean is not None
        gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
        bias = norm.bias.double() - gain * norm.running_mean.double()
        matrices: list[Tensor] = []
        for project, weight in zip(self.project, self.fuse.weight.double().chunk(len(self.project), 1), strict=True):
            assert isinstance(project, nn.Conv2d)
            assert project.bias is not None
            fuse = gain[:, None] * weight[:, :, 0, 0]
            matrices.append((fuse @ project.weight[:, :, 0, 0].double())[:, :, None, None].to(dtype))
            bias = bias + fuse @ project.bias.double()
        return FoldedSegFormer(matrices, bias.to(dtype), self.predict)

    @staticmethod
    def together(folded: Sequence[nn.Module]) -> SegFormersTogether | None:
        """Return the decoders as one; all those of a run have one width."""
        return SegFormersTogether([one for one in folded if isinstance(one, FoldedSegFormer)])
