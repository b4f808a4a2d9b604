"""Places of a trunk: its stages, blocks, sites inside blocks, and operations."""

from dataclasses import dataclass
from typing import Any, Literal

from torch import nn


@dataclass(frozen=True)
class StageInfo:
    """One level of the pyramid: its channels and its stride in pixels."""

    channels: int
    stride: int


@dataclass(frozen=True)
class Block:
    """A residual block: its path in the trunk, its place and its width in channels."""

    path: str
    stage: int
    index: int
    width: int
    is_last_in_stage: bool


@dataclass(frozen=True)
class Site:
    """A module inside a block that a method may read or replace; ``kind`` is its path inside the block."""

    path: str
    kind: str
    stage: int
    block: int
    width: int
    is_last_in_stage: bool
    module: Any


@dataclass(frozen=True)
class Operation:
    """A linear layer, norm or convolution of the trunk: its path, its output channels, and the axis they lie on."""

    path: str
    module: Any
    kind: Literal["linear", "norm", "conv"]
    width: int
    axis: int

    @property
    def bias(self) -> nn.Parameter | None:
        """The bias, or None: RMS norms never have one."""
        return getattr(self.module, "bias", None)
