"""The Backbone contract: a frozen timm trunk, walked block by block, with named sites that a method may replace."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.features import Pyramid, fork
from petl_bench.geometry import Geometry


@dataclass(frozen=True)
class StageInfo:
    """One level of the pyramid: its channels and its stride in pixels."""

    channels: int
    stride: int


@dataclass(frozen=True)
class Block:
    """A transformer block: its path in the trunk, its place and its width in channels."""

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
    width: int
    axis: int


class Carrying(nn.Module):
    """A block that is handed what the block before it left beside the stream: (x, carried) to (x, carried, extras...).

    ``carried`` is None in front of the first such block, and after any other block.
    """


@dataclass(frozen=True)
class Walk:
    """What one pass through the trunk gives, in the trunk's own layout of tokens.

    Attributes:
        streams: The tokens at the end of every stage.
        extras: Per stage, what the stage's blocks returned beside the stream.
    """

    streams: tuple[Tensor, ...]
    extras: tuple[tuple[Tensor, ...], ...]


def keys_and_values(qkv: nn.Module, tokens: Tensor) -> Tensor:
    """Project tokens [B, p, C] that are only attended to, and so need no queries, to keys and values [B, p, 2C]."""
    width = tokens.shape[-1]
    if not isinstance(qkv, nn.Linear):
        return qkv(tokens)[..., width:]
    bias = cast(Tensor | None, qkv.bias)  # None without one, whatever the stub says
    return F.linear(tokens, qkv.weight[width:], bias if bias is None else bias[width:])


def heads_of(projected: Tensor, parts: int, heads: int) -> tuple[Tensor, ...]:
    """Split a fused projection [B, N, parts * C] into ``parts`` tensors [B, heads, N, C / heads]."""
    return projected.unflatten(2, (parts, heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)


class Backbone(nn.Module, ABC):
    """A frozen trunk: images [B, 3, H, W] in 0..1 to a pyramid of four maps.

    A block may be replaced by one that returns ``(stream, extra)``; the extras leave the trunk as return values, so
    two models never share state.
    """

    family: ClassVar[str]
    trunk: Any  # a timm model, which no stub describes
    stages: tuple[StageInfo, ...]
    blocks: tuple[Block, ...]
    num_parameters: int
    mean: Tensor
    std: Tensor

    def __init__(self, trunk: nn.Module, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.trunk = trunk
        self.register_buffer("mean", torch.tensor(mean, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, device="cpu").view(1, 3, 1, 1), persistent=False)
        self.num_parameters = sum(parameter.numel() for parameter in trunk.parameters())
        self.requires_grad_(False)

    @abstractmethod
    def stem(self, image: Tensor) -> Tensor:
        """Turn normalised images [B, 3, H, W] into the tokens that enter the first stage."""

    @abstractmethod
    def enter_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Do what stands between two stages (patch merging), before the first block of ``stage``."""

    @abstractmethod
    def to_map(self, tokens: Tensor, stage: int) -> Tensor:
        """Turn the tokens at the end of ``stage`` into the map [B, C, H, W] of the pyramid."""

    @abstractmethod
    def over_map(self, tokens: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation on maps [B, C, H, W] to tokens in the trunk's layout, inside a stage.

        Tokens without a place in the image, a class token for one, are each a map of one pixel.
        """

    @abstractmethod
    def stem_modules(self) -> tuple[nn.Module, ...]:
        """Return the modules that ``stem`` runs."""

    @abstractmethod
    def entry_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the modules that ``enter_stage`` runs."""

    @staticmethod
    @abstractmethod
    def attention_half(block: Any, x: Tensor) -> Tensor:
        """Return x' = x + attention(norm1(x)): what enters norm2 and the MLP."""

    @staticmethod
    @abstractmethod
    def mlp_half(block: Any, x: Tensor) -> Tensor:
        """Return MLP(norm2(x')), without the residual."""

    @staticmethod
    @abstractmethod
    def attend(
        block: Any, x: Tensor, prompts: Tensor | None = None, *, prompts_attend: bool = False
    ) -> tuple[Tensor, Tensor | None]:
        """Return the values of attention before the output projection, in the layout of the tokens ``x``.

        Args:
            block: A block whose ``attn`` is timm's; its ``qkv`` may have been replaced.
            x: Normalised tokens in the trunk's layout.
            prompts: Normalised extra tokens [B, p, C] that the tokens attend to, or None.
            prompts_attend: The prompts attend too, to the tokens and to each other.

        Returns:
            The values for ``x``, and for prompts that attend [B, p, C] (averaged over windows), or None.
        """

    @staticmethod
    def attend_scored(block: Any, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Attend as ``attend`` does where prompts attend, and return how prompts and tokens score; Swin has it.

        Returns:
            Values for ``x``, values for the prompts [B, p, C], and the products of the prompts' queries with the
            tokens' keys [B, heads, p, H, W], neither scaled nor biased.
        """
        raise NotImplementedError

    @staticmethod
    def over_windows(block: Any, x: Tensor, operation: Callable[[Tensor], Tensor]) -> Tensor:
        """Apply an operation to the windows in which a block attends, [B * nW, rows, columns, C]; Swin has it."""
        raise NotImplementedError

    @staticmethod
    @abstractmethod
    def attention_branch(block: Any, context: Tensor) -> Tensor:
        """Turn the values that ``attend`` returns into what is added to the stream: output projection and scale."""

    @staticmethod
    @abstractmethod
    def mlp_branch(block: Any, hidden: Tensor) -> Tensor:
        """Turn the MLP's output into what is added to the stream: scale and drop path."""

    @abstractmethod
    def carry_over(self, prompts: Tensor, stage: int) -> Tensor:
        """Take prompts [B, p, C] through what stands in front of ``stage``: each stands for all tokens merged."""

    @abstractmethod
    def position_attention(self, attention: Any, tables: nn.Module) -> nn.Module:
        """Return the attention with relative-position biases of its own per task.

        Args:
            attention: The frozen attention.
            tables: A module whose call returns what is added to its table, [rows, entries, heads]; one row for all
                tasks, or one a task for a forked batch.
        """

    def geometry(self) -> Geometry | None:
        """Return what closed forms of multiply-adds need of the plain trunk, or None where no form is stated."""
        return None

    def operations(self) -> tuple[Operation, ...]:
        """Return every linear layer, norm and convolution of the trunk, in the order of registration."""
        found: list[Operation] = []
        for path, module in self.trunk.named_modules():
            match module:
                case nn.Linear(out_features=width):
                    found.append(Operation(path, module, width, -1))
                case nn.LayerNorm(normalized_shape=(width,)):
                    found.append(Operation(path, module, width, -1))
                case nn.Conv2d(out_channels=width):
                    found.append(Operation(path, module, width, 1))
                case _:
                    pass
        return tuple(found)

    def reductions(self) -> tuple[Operation, ...]:
        """Return the linear layers that stand between two stages (those of patch merging)."""
        entries = [entry for stage in range(len(self.stages)) for entry in self.entry_modules(stage)]
        inside = {id(module) for entry in entries for module in entry.modules()}
        found = (operation for operation in self.operations() if id(operation.module) in inside)
        return tuple(operation for operation in found if isinstance(operation.module, nn.Linear))

    def sites(self, *kinds: str) -> tuple[Site, ...]:
        """Return the sites of these kinds in the order the trunk runs, such as ``"attn.qkv"`` or ``"norm2"``."""
        return tuple(
            Site(
                path=f"{block.path}.{kind}",
                kind=kind,
                stage=block.stage,
                block=number,
                width=block.width,
                is_last_in_stage=block.is_last_in_stage,
                module=self.trunk.get_submodule(f"{block.path}.{kind}"),
            )
            for number, block in enumerate(self.blocks)
            for kind in kinds
        )

    def block_module(self, block: Block) -> nn.Module:
        """Return the module that runs ``block``."""
        return self.trunk.get_submodule(block.path)

    def replace(self, place: Site | Block | Operation, module: nn.Module) -> None:
        """Put ``module`` where a site, a block or an operation is."""
        parent, _, name = place.path.rpartition(".")
        setattr(self.trunk.get_submodule(parent), name, module)

    def biases(self) -> Iterator[nn.Parameter]:
        """Yield every bias of the trunk, relative-position bias tables included."""
        for name, parameter in self.trunk.named_parameters():
            if name.rpartition(".")[2] in ("bias", "relative_position_bias_table", "q_bias", "v_bias"):
                yield parameter

    def norms(self) -> Iterator[nn.Module]:
        """Yield every normalisation layer of the trunk."""
        for module in self.trunk.modules():
            if isinstance(module, nn.LayerNorm):
                yield module

    def first_unit(self, holds: Callable[[nn.Module], bool]) -> int | None:
        """Return where a batch must be forked: the number of the first unit with a module that ``holds``.

        Units are numbered in the order the trunk runs: -1 the stem, then every block; what stands in front of a stage
        counts with the stage's first block.
        """
        if any(holds(part) for module in self.stem_modules() for part in module.modules()):
            return -1
        for number, block in enumerate(self.blocks):
            modules = [self.block_module(block)]
            if block.index == 0:
                modules += self.entry_modules(block.stage)
            if any(holds(part) for module in modules for part in module.modules()):
                return number
        return None

    def walk(self, image: Tensor, *, fork_at: int | None = None, num_tasks: int = 1) -> Walk:
        """Run the trunk on images [B, 3, H, W] in 0..1.

        Args:
            image: The batch, not forked.
            fork_at: Unit in front of which the batch is repeated (see ``first_unit``), or None.
            num_tasks: How many times it is repeated.
        """
        x = (image - self.mean) / self.std
        x = self.stem(fork(x, num_tasks) if fork_at == -1 else x)
        streams: list[Tensor] = []
        extras: list[tuple[Tensor, ...]] = []
        collected: list[Tensor] = []
        carried: Tensor | None = None
        for number, block in enumerate(self.blocks):
            if number == fork_at:
                x, streams = fork(x, num_tasks), [fork(stream, num_tasks) for stream in streams]
            if block.index == 0:
                x = self.enter_stage(x, block.stage)
            module = self.block_module(block)
            if isinstance(module, Carrying):
                x, carried, *extra = module(x, carried)
            else:
                carried, out = None, module(x)
                x, *extra = out if isinstance(out, tuple) else (out,)
            collected += extra
            if block.is_last_in_stage:
                streams.append(x)
                extras.append(tuple(collected))
                collected = []
        return Walk(streams=tuple(streams), extras=tuple(extras))

    def pyramid(self, streams: tuple[Tensor, ...]) -> Pyramid:
        """Turn the tokens at the end of every stage into maps [B, C, H, W]."""
        return tuple(self.to_map(tokens, stage) for stage, tokens in enumerate(streams))

    def forward(self, image: Tensor) -> Pyramid:
        """Map images [B, 3, H, W] in 0..1 to the pyramid."""
        return self.pyramid(self.walk(image).streams)
