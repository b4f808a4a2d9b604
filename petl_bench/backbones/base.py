"""The Backbone contract: a frozen timm trunk, walked block by block, with named sites that a method may replace."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from timm.layers.norm import LayerNorm2d, RmsNorm, RmsNorm2d
from torch import Tensor, nn

from petl_bench.backbones.needs import ABILITIES, SITES, holds, in_words
from petl_bench.backbones.places import Block, Operation, Site, StageInfo
from petl_bench.features import Pyramid, fork
from petl_bench.geometry import Geometry

__all__ = ["ABILITIES", "SITES", "Backbone", "Block", "Carrying", "Operation", "Site", "StageInfo", "Walk", "in_words"]

NORMS_OF_MAPS = (LayerNorm2d, RmsNorm2d)  # of [B, C, H, W]
NORMS = (nn.LayerNorm, RmsNorm, nn.RMSNorm, nn.BatchNorm2d, *NORMS_OF_MAPS)


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


class Backbone(nn.Module, ABC):
    """A frozen trunk: images [B, 3, H, W] in 0..1 to a pyramid of four maps.

    A block may be replaced by one that returns ``(stream, extra)``; the extras leave the trunk as return values, so
    two models never share state.

    Attributes:
        family: Name of the family.
        has: What methods may need: the ``SITES`` of every block, and what of ``ABILITIES`` the family has.
        beside_tokens: What of a block no token passes through, as names along a parameter's path.
        creation: Arguments that timm's models of the family are created with.
        takes_image_size: Whether they are created for one image size.
        size_multiple: What image sizes must be multiples of; None: of the patches.
        stages: The levels of the pyramid.
        blocks: All blocks in the order the trunk runs.
        num_parameters: Of the plain trunk.
        mappings: What was done to names and shapes of a weights file, a line each.
    """

    family: ClassVar[str]
    has: ClassVar[tuple[str, ...]] = ()
    beside_tokens: ClassVar[tuple[str, ...]] = ()
    creation: ClassVar[Mapping[str, Any]] = {}
    takes_image_size: ClassVar[bool] = True
    size_multiple: ClassVar[int | None] = None
    trunk: Any  # a timm model, which no stub describes
    stages: tuple[StageInfo, ...]
    blocks: tuple[Block, ...]
    num_parameters: int
    mappings: tuple[str, ...] = ()
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

    def run(self, block: nn.Module, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run a block, timm's own or what a method put in its place, on tokens in the trunk's layout."""
        return block(x)

    def leave_stage(self, tokens: Tensor, stage: int) -> Tensor:
        """Do what stands behind the last block of ``stage``: nothing, where a family has nothing there."""
        return tokens

    def exit_modules(self, stage: int) -> tuple[nn.Module, ...]:
        """Return the modules that ``leave_stage`` runs."""
        return ()

    def missing(self, needs: Iterable[str]) -> list[str]:
        """Return what of ``needs`` this network lacks: its family does not have it, or a block has no such module."""
        blocks = [self.block_module(block) for block in self.blocks]
        return [need for need in needs if need not in self.has or not all(holds(block, need) for block in blocks)]

    def geometry(self) -> Geometry | None:
        """Return what closed forms of multiply-adds need of the plain trunk, or None where no form is stated."""
        return None

    def operations(self) -> tuple[Operation, ...]:
        """Return every linear layer, norm and convolution that tokens pass through, in the order of registration."""
        found: list[Operation] = []
        for path, module in self.trunk.named_modules():
            if self.is_beside_tokens(path):
                continue
            kept: Any = module
            match kept:
                case nn.Linear(out_features=width):
                    found.append(Operation(path, module, "linear", width, -1))
                case nn.Conv2d(out_channels=width):
                    found.append(Operation(path, module, "conv", width, 1))
                case nn.BatchNorm2d(num_features=width):
                    found.append(Operation(path, module, "norm", width, 1))
                case _ if isinstance(module, NORMS):
                    axis = 1 if isinstance(module, NORMS_OF_MAPS) else -1
                    found.append(Operation(path, module, "norm", kept.normalized_shape[0], axis))
                case _:
                    pass
        return tuple(found)

    def is_beside_tokens(self, path: str) -> bool:
        """Return whether a module or parameter of that path works on positions or scores, and not on tokens."""
        return not set(self.beside_tokens).isdisjoint(path.split("."))

    def reductions(self) -> tuple[Operation, ...]:
        """Return the linear layers that stand between two stages (those of patch merging)."""
        entries = [entry for stage in range(len(self.stages)) for entry in self.entry_modules(stage)]
        inside = {id(module) for entry in entries for module in entry.modules()}
        return tuple(o for o in self.operations() if o.kind == "linear" and id(o.module) in inside)

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
        """Yield the bias of every operation that has one, and every relative-position bias table."""
        for operation in self.operations():
            if operation.bias is not None:
                yield operation.bias
        for name, parameter in self.trunk.named_parameters():
            if name.rpartition(".")[2] == "relative_position_bias_table":
                yield parameter

    def norms(self) -> Iterator[nn.Module]:
        """Yield every normalisation layer of the trunk."""
        for module in self.trunk.modules():
            if isinstance(module, NORMS):
                yield module

    def first_unit(self, holds: Callable[[nn.Module], bool]) -> int | None:
        """Return where a batch must be forked: the number of the first unit with a module that ``holds``.

        Units are numbered in the order the trunk runs: -1 the stem, then every block; what stands in front of a stage
        counts with the stage's first block, what stands behind it with its last.
        """
        if any(holds(part) for module in self.stem_modules() for part in module.modules()):
            return -1
        for number, block in enumerate(self.blocks):
            modules = [self.block_module(block)]
            if block.index == 0:
                modules += self.entry_modules(block.stage)
            if block.is_last_in_stage:
                modules += self.exit_modules(block.stage)
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
                carried, out = None, self.run(module, x)
                x, *extra = out if isinstance(out, tuple) else (out,)
            collected += extra
            if block.is_last_in_stage:
                x = self.leave_stage(x, block.stage)
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
