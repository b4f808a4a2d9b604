"""Layers of VMT-Adapter: a shared adapter that is tapped, the block that holds it, and what reads the tap per task.

    z = W_down norm(x) + b_down,   h = act(z),   u = s (W_up h + b_up)
The tap is z (``pre-activation``), h (``bottleneck``) or u (``output``). What reads it out for T tasks at once sees the
tap as [1, B, ..., w], one for all tasks, or as [T, B, ..., w].
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._layers import ACTIVATIONS, Activation, PerTaskLinear
from methods._read import add_scaled, scale_and_shift, spread
from petl_bench.backbones.base import Block
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.features import Keyed, PerTask

TapAt = Literal["output", "bottleneck", "pre-activation"]
Position = Literal["parallel-mlp", "parallel-attn", "sequential-mlp"]


class TiedUp(Keyed):
    """y = s (W_down^T h + b_up): the weight of ``down`` again, with a trained scalar s that starts at zero.

    s is what keeps the start at the frozen backbone: a tied W_up cannot begin at zero.
    """

    def __init__(self, down: PerTaskLinear) -> None:
        super().__init__()
        self.down = down
        self.scale = nn.Parameter(torch.zeros(1))
        self.bias = nn.Parameter(torch.zeros(down.weight.shape[-1]))

    @property
    def weight(self) -> Tensor:
        """The effective W_up [1, C, r], as that of a shared ``PerTaskLinear``."""
        return self.scale * self.down.weight.mT

    def forward(self, h: Tensor) -> Tensor:
        """Map [..., r] to [..., C]."""
        return F.linear(h, self.weight[0], self.scale * self.bias)


class TappedAdapter(nn.Module):
    """u of x, cut in two at the tap: ``head`` maps x to the tap, ``tail`` the tap to u."""

    def __init__(
        self,
        norm: nn.Module,
        down: PerTaskLinear,
        activation: Activation,
        up: PerTaskLinear | TiedUp,
        *,
        scale: float,
        tap_at: TapAt,
    ) -> None:
        super().__init__()
        self.norm = norm
        self.down = down
        self.activation = ACTIVATIONS[activation]
        self.up = up
        self.scale = scale
        self.tap_at = tap_at

    def head(self, x: Tensor) -> Tensor:
        """Map tokens [..., C] to the tap [..., w]."""
        tap = self.down(self.norm(x))
        if self.tap_at != "pre-activation":
            tap = self.activation(tap)
        return self.expand(tap) if self.tap_at == "output" else tap

    def tail(self, tap: Tensor) -> Tensor:
        """Map the tap [..., w] to u [..., C]."""
        if self.tap_at == "output":
            return tap
        return self.expand(tap if self.tap_at == "bottleneck" else self.activation(tap))

    def expand(self, h: Tensor) -> Tensor:
        """Map h [..., r] to u [..., C]."""
        u = self.up(h)
        return u if self.scale == 1 else self.scale * u  # a pass over all tokens, for nothing if s is 1

    def lift(self, h: Tensor) -> Tensor:
        """Map h [..., r] to s W_up h [..., C], which is u without its bias."""
        return F.linear(h, self.scale * self.up.weight[0])


class AtOutput(PerTask):
    """k_t = alpha_t * u + beta_t at width C, zero at the start; without ``shift`` there is no beta.

    ``with_u``: u + k_t in its place, for a decoder that reads nothing else: with k_t alone, alpha = W_up = 0 would be a
    point that neither leaves.
    """

    vectors = ("alpha", "beta")

    def __init__(self, width: int, tasks: tuple[str, ...], *, shift: bool, with_u: bool) -> None:
        super().__init__(tasks)
        self.with_u = with_u
        self.alpha = self.stack(width)
        self.beta = self.stack(width) if shift else None

    def gain(self) -> Tensor:
        """Return what the tap is multiplied by, [T, w]."""
        return 1 + self.alpha if self.with_u else self.alpha

    def constant(self, adapter: TappedAdapter) -> Tensor | None:
        """Return the part of k_t that is the same for every token, [T, C], or None if there is none."""
        return self.beta

    def add(self, total: Tensor, adapter: TappedAdapter, tap: Tensor) -> Tensor:
        """Add the other part of k_t to [T or 1, B, ..., C]; of several tasks, in place where the shape allows."""
        return add_scaled(total, self.gain(), tap)

    def forward(self, adapter: TappedAdapter, tap: Tensor) -> Tensor:
        """Return k_t, [T, B, ..., C]."""
        constant = self.constant(adapter)
        return self.add(tap.new_zeros(1) if constant is None else spread(constant, tap), adapter, tap)


class AtBottleneck(AtOutput):
    """k_t = s W_up (alpha_t * h + beta_t), at width r."""

    def constant(self, adapter: TappedAdapter) -> Tensor | None:
        """Return s W_up beta_t, [T, C]."""
        return None if self.beta is None else adapter.lift(self.beta)

    def add(self, total: Tensor, adapter: TappedAdapter, tap: Tensor) -> Tensor:
        """Add s W_up (alpha_t * h) to [T or 1, B, ..., C]."""
        h = spread(self.gain(), tap) * tap
        return total + (adapter.expand(h) if self.with_u else adapter.lift(h))


class AtPreActivation(AtOutput):
    """k_t = s W_up (act((1 + alpha_t) * z + beta_t) - act(z)), at width r."""

    def constant(self, adapter: TappedAdapter) -> None:
        """Return None: the shift stands inside the activation."""

    def add(self, total: Tensor, adapter: TappedAdapter, tap: Tensor) -> Tensor:
        """Add k_t to [T or 1, B, ..., C]."""
        gain = spread(1 + self.alpha, tap)
        z = gain * tap if self.beta is None else torch.addcmul(spread(self.beta, tap), gain, tap)
        h = adapter.activation(z)
        return total + (adapter.expand(h) if self.with_u else adapter.lift(h - adapter.activation(tap)))


EXTRACTIONS: dict[TapAt, type[AtOutput]] = {
    "output": AtOutput,
    "bottleneck": AtBottleneck,
    "pre-activation": AtPreActivation,
}


class AdaptedBlock(Keyed):
    """A frozen block with an adapter whose u joins the stream.

    With x' = x + attention(norm1(x)) and m = MLP(norm2(x')):  ``parallel-mlp`` x' + m + u(x'),  ``sequential-mlp``
    x' + m + u(m);  ``parallel-attn`` u(x) joins x' in front of the MLP.
    """

    block: Any  # timm's, which no stub describes

    def __init__(self, backbone: TransformerBackbone, block: Block, adapter: TappedAdapter, position: Position) -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attention_half, self.mlp_half = backbone.attention_half, backbone.mlp_half
        self.mlp_hidden, self.mlp_branch = backbone.mlp_hidden, backbone.mlp_branch
        self.branch = adapter
        self.position = position

    def join(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map the adapter's input [..., C] to what joins the stream, and what the block hands out beside it."""
        return (self.branch.tail(self.branch.head(x)),)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map tokens [..., C] to the block's output [..., C] and what it hands out."""
        if self.position == "parallel-attn":
            u, *taps = self.join(x)
            x = self.attention_half(self.block, x) + u
            return (x + self.mlp_half(self.block, x), *taps)
        x = self.attention_half(self.block, x)
        if self.position == "parallel-mlp":
            u, *taps = self.join(x)
            return ((x + self.mlp_half(self.block, x)).add_(u), *taps)
        hidden = self.mlp_hidden(self.block, x)
        u, *taps = self.join(hidden)
        return (x + self.mlp_branch(self.block, hidden + u), *taps)


class TapBlock(AdaptedBlock):
    """Hands out the tap."""

    def join(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return u and the tap."""
        tap = self.branch.head(x)
        return self.branch.tail(tap), tap


class SideBlock(AdaptedBlock):
    """Hands out the adapter's input."""

    def join(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return u and the adapter's input."""
        return (*super().join(x), x)


class BesideBlock(AdaptedBlock):
    """A frozen block that nothing joins: it hands out the tap, or the input of an adapter that runs beside it."""

    def __init__(
        self,
        backbone: TransformerBackbone,
        block: Block,
        adapter: TappedAdapter,
        position: Position,
        *,
        hands_out_input: bool,
    ) -> None:
        super().__init__(backbone, block, adapter, position)
        self.hands_out_input = hands_out_input

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map tokens [..., C] to the frozen block's output [..., C] and what it hands out."""
        after = self.attention_half(self.block, x)
        hidden = self.mlp_hidden(self.block, after)
        entered = {"parallel-attn": x, "parallel-mlp": after, "sequential-mlp": hidden}[self.position]
        beside = entered if self.hands_out_input else self.branch.head(entered)
        return after + self.mlp_branch(self.block, hidden), beside


class TrunkBlock(AdaptedBlock):
    """u + k_t join the stream of task t: the tokens are those of a forked batch."""

    def __init__(
        self, backbone: TransformerBackbone, block: Block, adapter: TappedAdapter, position: Position, extract: AtOutput
    ) -> None:
        super().__init__(backbone, block, adapter, position)
        self.extract = extract

    def join(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return u + k_t, [T * B, ..., C]."""
        tap = self.branch.head(x)
        k = self.extract(self.branch, tap.unflatten(0, (self.extract.num_rows, -1)))
        return (self.branch.tail(tap) + k.flatten(0, 1),)


Reading = tuple[tuple[TappedAdapter, AtOutput], ...]


def read_taps(start: Tensor, reading: Reading, taps: tuple[Tensor, ...]) -> Tensor:
    """Add to ``start`` the k_t of a stage's blocks, one elementwise pass a block for all tasks.

    Args:
        start: [1, B, ..., C], or anything that broadcasts to it.
        reading: The adapters that are read, and what reads them.
        taps: Their taps [B, ..., w].
    """
    constants = [extract.constant(adapter) for adapter, extract in reading]
    shifts = [constant for constant in constants if constant is not None]
    gains = [extract.gain() for _, extract in reading if type(extract) is AtOutput]
    shift = torch.stack(shifts).sum(0) if shifts else None
    if gains:
        return scale_and_shift(start, shift, torch.stack(gains), taps)
    total = start if shift is None else start + spread(shift, taps[0].unsqueeze(0))
    for (adapter, extract), tap in zip(reading, taps, strict=True):
        total = extract.add(total, adapter, tap.unsqueeze(0))
    return total


def run_side(start: Tensor, reading: Reading, inputs: tuple[Tensor, ...]) -> Tensor:
    """Add to ``start`` the task state s_t of a stage: from zero, s_t += k_t(adapter(x + s_t)) block by block.

    Args:
        start: [1, B, ..., C], or anything that broadcasts to it.
        reading: The adapters that run once more per task, and what reads them.
        inputs: The x [B, ..., C] that the adapters had in the trunk.
    """
    state = torch.zeros_like(inputs[0]).unsqueeze(0)
    for (adapter, extract), x in zip(reading, inputs, strict=True):
        state = state + extract(adapter, adapter.head(x + state))
    return start + state
