"""The Decoder contract: one task's head on a pyramid."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from petl_bench.backbones.base import StageInfo
from petl_bench.config import DecoderConfig
from petl_bench.features import Pyramid
from petl_bench.registry import Registry


class Decoder(nn.Module, ABC):
    """Maps a pyramid to raw predictions at its finest stride. Built per task from the method's ``feature_info``."""

    name: ClassVar[str]
    Config: ClassVar[type[DecoderConfig]]

    @abstractmethod
    def __init__(self, stages: Sequence[StageInfo], channels: int, config: DecoderConfig) -> None:
        super().__init__()

    def expected_macs(self, pixels: Sequence[int]) -> int | None:
        """Return the multiply-adds for one image in inference by closed form, or None, the default, if none is stated.

        Args:
            pixels: Of every level of the pyramid, finest first.
        """
        return None

    def folded(self) -> nn.Module:
        """Return a module for inference alone that predicts the same with less work. By default the decoder itself."""
        return self

    @staticmethod
    def together(folded: Sequence[nn.Module]) -> "DecodersTogether | None":
        """Return one module that does what several folded decoders do, or None if there is none, as by default."""
        return None

    @abstractmethod
    def forward(self, pyramid: Pyramid) -> Tensor:
        """Map levels [B, C_s, H_s, W_s] to predictions [B, channels, H_0, W_0]."""


class DecodersTogether(nn.Module, ABC):
    """Several decoders of one shape as one module, for inference alone: fewer operations, each of them larger."""

    @abstractmethod
    def is_faster_on(self, pyramid: Pyramid) -> bool:
        """Return whether maps of this size are decoded faster together than one after another."""

    @abstractmethod
    def forward(self, pyramids: Sequence[Pyramid]) -> list[Tensor]:
        """Map one pyramid a decoder to its predictions [B, channels, H_0, W_0], in the order of the decoders."""


DECODERS: Registry[type[Decoder]] = Registry("decoder")
