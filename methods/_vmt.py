"""The design space that VMT-Adapter and VMT-Adapter-Lite share: settings, how they execute, what they count."""

import json
from abc import abstractmethod
from typing import Annotated, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from methods._layers import (
    Activation,
    PerTaskLinear,
    bottleneck_products,
    bottleneck_sums,
    bottleneck_width,
    input_norm,
)
from methods._tap import (
    EXTRACTIONS,
    AdaptedBlock,
    AtOutput,
    BesideBlock,
    Position,
    Reading,
    SideBlock,
    TapAt,
    TapBlock,
    TappedAdapter,
    TiedUp,
    TrunkBlock,
    read_taps,
    run_side,
)
from petl_bench.backbones.base import Block, StageInfo, Walk
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import Features
from petl_bench.method import Counts, Geometry, Method, closed

VECTORS = {"none": 0, "scale": 1, "scale-shift": 2}


class DesignSpace(MethodConfig):
    """Where a task's k_t comes from and where it goes.

    Attributes:
        task_path: ``tap``: k_t goes to decoder t alone; ``side``: to a state s_t that the adapters of a stage read;
            ``trunk``: back into the frozen blocks, which then run once per task.
        reenter: Whether u joins the trunk's stream. If not, the trunk stays the frozen backbone, which trains without a
            backward pass, and the decoders read u beside it.
        extract: What belongs to a task: alpha_t and beta_t, alpha_t alone, or nothing.
        extract_at: The value of the adapter that they modulate.
        extract_from: The blocks of a stage that have a k_t.
        decoder_input: The stage output + the sum of k_t, both side by side, or the sum of u + k_t alone.
        position: Where the adapter stands.
        norm: Its input norm: a LayerNorm of its own, or the block's frozen one (norm1 beside the attention, else
            norm2).
        rho: Width over bottleneck.
        activation: In the bottleneck.
        scale: s.
    """

    task_path: Literal["tap", "side", "trunk"] = "tap"
    reenter: bool = True
    extract: Literal["none", "scale", "scale-shift"] = "scale-shift"
    extract_at: TapAt = "output"
    extract_from: Literal["all", "last"] = "all"
    decoder_input: Literal["sum", "concat", "task-only"] = "sum"
    position: Position = "parallel-mlp"
    norm: Literal["own", "block"] = "own"
    rho: Positive = 4
    activation: Activation = "gelu"
    scale: Annotated[float, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def every_setting_has_an_effect(self) -> Self:
        """Refuse what would be another configuration under a second name."""
        if self.extract == "none":
            without = {"task_path": "tap", "extract_at": "output", "extract_from": "all", "decoder_input": "sum"}
            for field, value in without.items():
                self.require(field, value, 'extract = "none" leaves no k_t')
        if self.task_path == "side":
            self.require("extract_from", "all", 'task_path = "side" carries s_t from block to block of a stage')
        if not self.reenter:
            self.require("extract_from", "all", "reenter = false leaves u to the decoders alone")
        if self.task_path == "trunk":
            self.require("reenter", True, 'task_path = "trunk" is what enters the trunk again')
            self.require("decoder_input", "sum", 'with task_path = "trunk" the stage output holds the sum of k_t')
        return self

    def require(self, field: str, value: str | float, reason: str) -> None:
        """Refuse another value of a field than the one that goes with the rest."""
        got = getattr(self, field)
        if got != value:
            typed = json.dumps(value) if isinstance(value, bool) else value
            raise ValueError(
                f"{reason}, so that {field} = {got!r} is not defined. Allowed: {value!r}. "
                f"Type: --set method.{field}={typed}"
            )


class ReadOutMethod(Method):
    """Shared adapters in every block, and per task what reads them out."""

    gradient_exempt = {"beta": "a decoder that begins with an affine layer and a batch norm absorbs a constant shift"}

    config: DesignSpace

    @abstractmethod
    def projections(self, width: int, inner: int) -> tuple[PerTaskLinear, PerTaskLinear | TiedUp]:
        """Return W_down and W_up of one place."""

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """A block's frozen norm serves as the adapter's only where it stands in front of the attention or the MLP."""
        norm = ("input-norms",) if isinstance(config, DesignSpace) and config.norm == "block" else ()
        return ("mlp", "attention-halves", *norm)

    def places(self) -> list[list[Block]]:
        """Return the blocks that share projections and extraction: by default each has its own."""
        return [[block] for block in self.backbone.blocks]

    def reads(self, block: Block) -> bool:
        """Return whether the block has a k_t."""
        return self.config.extract != "none" and (self.config.extract_from == "all" or block.is_last_in_stage)

    def adapt(self) -> None:
        """Wrap every block, and create what reads the blocks of each stage."""
        config = self.config
        self.identity_at_start = config.decoder_input == "sum"
        if config.task_path != "tap" or config.extract_at == "pre-activation":
            self.gradient_exempt = {}  # the shift passes through a nonlinearity
        readings: list[list[tuple[TappedAdapter, AtOutput]]] = [[] for _ in self.backbone.stages]
        for place in self.places():
            width, inner = place[0].width, bottleneck_width(place[0].width, config.rho)
            down, up = self.projections(width, inner)
            extract = EXTRACTIONS[config.extract_at](
                width if config.extract_at == "output" else inner,
                self.tasks,
                shift=config.extract == "scale-shift",
                with_u=config.decoder_input == "task-only" or not config.reenter,
            )
            for block in place:
                adapter = TappedAdapter(
                    self.norm(block), down, config.activation, up, scale=config.scale, tap_at=config.extract_at
                )
                self.backbone.replace(block, self.wrapped(block, adapter, extract))
                if self.reads(block):
                    readings[block.stage].append((adapter, extract))
        self.readings: tuple[Reading, ...] = tuple(map(tuple, readings)) if config.task_path != "trunk" else ()
        self.extract = nn.ModuleList(extract for reading in self.readings for _, extract in reading)

    def norm(self, block: Block) -> nn.Module:
        """Return the input norm of a block's adapter."""
        if self.config.norm == "own":
            return input_norm(block.width, None)
        kind = "norm1" if self.config.position == "parallel-attn" else "norm2"
        return self.backbone.block_module(block).get_submodule(kind)

    def wrapped(self, block: Block, adapter: TappedAdapter, extract: AtOutput) -> AdaptedBlock:
        """Return the block that holds the adapter and hands out what its task path needs."""
        backbone, position = self.transformer, self.config.position
        if not self.config.reenter:
            beside = self.config.task_path == "side"
            return BesideBlock(backbone, block, adapter, position, hands_out_input=beside)
        if not self.reads(block):
            return AdaptedBlock(backbone, block, adapter, position)
        if self.config.task_path == "trunk":
            return TrunkBlock(backbone, block, adapter, position, extract)
        return (TapBlock if self.config.task_path == "tap" else SideBlock)(backbone, block, adapter, position)

    @property
    def execution(self) -> str:
        """One trunk, read out per task; ``trunk`` forks, and without anything per task all is shared."""
        if not len(self.extract):
            return super().execution
        return "tapped" if self.config.reenter else "side"

    @property
    def feature_info(self) -> tuple[StageInfo, ...]:
        """The trunk's channels, twice when the decoders read two maps side by side."""
        times = 2 if self.config.decoder_input == "concat" else 1
        return tuple(StageInfo(times * stage.channels, stage.stride) for stage in self.backbone.stages)

    def forward(self, image: Tensor) -> Features:
        """Run the trunk once on images [B, 3, H, W] and read it out for every task."""
        walk = self.backbone.walk(image, fork_at=self.fork_at, num_tasks=len(self.tasks))
        if not len(self.extract):
            return self.unread(walk)
        stages = zip(walk.streams, self.readings, walk.extras, strict=True)
        return self.by_task(self.backbone.pyramid(tuple(self.read(*stage).flatten(0, 1) for stage in stages)))

    def unread(self, walk: Walk) -> Features:
        """Return the trunk's own pyramid, which holds every u; where none re-entered, they are added here."""
        streams = walk.streams
        if not self.config.reenter:
            streams = tuple(torch.stack([x, *taps]).sum(0) for x, taps in zip(streams, walk.extras, strict=True))
        pyramid = self.backbone.pyramid(streams)
        return Features(shared=pyramid) if self.fork_at is None else self.by_task(pyramid)

    def read(self, stream: Tensor, reading: Reading, extras: tuple[Tensor, ...]) -> Tensor:
        """Return what the decoders read of a stage: [T, B, ..., C], or 2C side by side."""
        add_all = read_taps if self.config.task_path == "tap" else run_side
        stream = stream.unsqueeze(0)
        if self.config.decoder_input == "sum":
            return add_all(stream, reading, extras)
        k = add_all(stream.new_zeros(1), reading, extras)
        return k if self.config.decoder_input == "task-only" else torch.cat([stream.expand_as(k), k], -1)

    def counts(self, projections: str, **symbols: int) -> Counts:
        """Return the closed form: ``projections`` in sums over places, norms over blocks, vectors over what is read.

        Args:
            projections: W_down, W_up and their biases in sum_C, sum_r, sum_Cr, and what else ``symbols`` has.
            symbols: Values beyond those sums.
        """
        config = self.config
        own = " + 2*blocks_C" if config.norm == "own" else ""
        sums = bottleneck_sums([place[0].width for place in self.places()], config.rho)
        read = [place[0].width for place in self.places() if any(map(self.reads, place))]
        width = "C" if config.extract_at == "output" else "r"
        vectors = closed(
            f"T * {VECTORS[config.extract]}*sum_{width}", T=len(self.tasks), **bottleneck_sums(read, config.rho)
        )
        return Counts(
            shared=closed(projections + own, **sums, blocks_C=sum(self.widths), **symbols),
            per_task=vectors if read else 0,
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """A bottleneck a token, whatever the tasks; what reads it at its output is elementwise.

        On the task path ``side`` it runs once more per task, but for the first block of a stage, where no task has a
        state of its own; in the trunk it runs only where u re-enters.
        """
        if self.config.extract_at != "output":
            return None

        def products(width: int) -> int:
            return bottleneck_products(width, self.config.rho)

        once = geometry.per_token(products)
        if self.config.task_path != "side":
            return self.macs_of_passes(geometry, once)
        first = geometry.per_last_token(products)  # as many as the last ones: blocks of a stage are alike
        within = once if self.config.reenter else 0
        return geometry.stem + geometry.blocks + within + first + len(self.tasks) * (once - first)
