"""Side: a narrow network beside the frozen trunk, fed by every block, and a read-out per task; the trunk has no graph.

Paper: Sung, Cho, Bansal, Ladder Side-Tuning, 2022, https://arxiv.org/abs/2206.06522 (section 3): the ladder and its
gates. The read-out per task is that of VMT-Adapter, Xin et al., 2024, https://arxiv.org/abs/2312.08733.
Differs from the paper: a reconstruction for dense prediction; nobody has published this form. Ladder Side-Tuning runs
smaller transformer blocks, initialised from a pruned trunk, through the whole depth; ours is a chain of two-layer maps
that begins anew at zero in every stage, since each stage is read. With x_l the output of block l of a stage, r = C/rho:
    m_1 = W_in LN(x_1),   m_l = g_l W_in LN(x_l) + (1 - g_l) h_{l-1},   g_l = sigmoid(a_l),   h_0 = 0
    h_l = h_{l-1} + W_2 act(W_1 LN(m_l))
    u = W_up h_L,   k_t = alpha_t * u + beta_t;   decoder t reads the stage's output + u + k_t
W_in, W_1, W_2 and W_up have biases; W_up, alpha and beta start at zero and a_l at zero, so that the start is the frozen
backbone. Nothing enters the trunk, so a training step costs it one forward pass and keeps none of it.
"""

import torch
from torch import Tensor, nn

from methods._layers import ACTIVATIONS, Activation, PerTaskLinear, bottleneck_width, input_norm
from methods._read import scale_and_shift
from methods._tap import AtOutput
from petl_bench.backbones.base import Backbone, Block
from petl_bench.config import MethodConfig, Positive
from petl_bench.features import Features, Keyed
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


class BlockOutput(Keyed):
    """A frozen block that hands its output out beside the stream."""

    def __init__(self, backbone: Backbone, block: Block) -> None:
        super().__init__()
        self.block, self.run = backbone.block_module(block), backbone.run

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Map tokens [..., C] to the block's output, twice."""
        out = self.run(self.block, x)
        assert isinstance(out, Tensor), "another method's block stands here"
        return out, out


class Rung(nn.Module):
    """h + W_2 act(W_1 LN(g W_in LN(x) + (1 - g) h)), one block of the trunk met by the side network; first, g = 1."""

    def __init__(self, width: int, inner: int, activation: Activation, *, is_first: bool) -> None:
        super().__init__()
        self.outer_norm, self.inner_norm = input_norm(width, None), input_norm(inner, None)
        self.enter = PerTaskLinear(width, inner, None, start="kaiming")
        self.first = PerTaskLinear(inner, inner, None, start="kaiming")
        self.second = PerTaskLinear(inner, inner, None, start="kaiming")
        self.gate = None if is_first else nn.Parameter(torch.zeros(1))  # the norm behind would undo a first one
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """Map the trunk's tokens [..., C] and the side network's [..., r], None in front of a stage, to [..., r]."""
        entered = self.enter(self.outer_norm(x))
        mixed = entered if h is None or self.gate is None else h + self.gate.sigmoid() * (entered - h)
        out = self.second(self.activation(self.first(self.inner_norm(mixed))))
        return out if h is None else h + out


class Ladder(nn.Module):
    """The side network of a stage, and what reads it per task."""

    def __init__(self, width: int, depth: int, config: "Side.Config", tasks: tuple[str, ...]) -> None:
        super().__init__()
        inner = bottleneck_width(width, config.rho)
        self.rungs = nn.ModuleList(Rung(width, inner, config.activation, is_first=not b) for b in range(depth))
        self.up = PerTaskLinear(inner, width, None, start="zero")
        self.extract = AtOutput(width, tasks, shift=True, with_u=True)

    def forward(self, outputs: tuple[Tensor, ...], stream: Tensor) -> Tensor:
        """Map the outputs of the blocks and of the stage [B, ..., C] to what the decoders read, [T, B, ..., C]."""
        h: Tensor | None = None
        for rung, x in zip(self.rungs, outputs, strict=True):
            h = rung(x, h)
        gains = self.extract.gain().unsqueeze(0)
        return scale_and_shift(stream.unsqueeze(0), self.extract.beta, gains, (self.up(h),))


@METHODS.register("side")
class Side(Method):
    """A ladder side network: the trunk runs once without a graph, all that is trained runs beside it."""

    paper = "https://arxiv.org/abs/2206.06522"
    executions = ("side",)
    scopes = ("mixed",)
    gradient_exempt = {"beta": "a decoder that begins with an affine layer and a batch norm absorbs a constant shift"}

    class Config(MethodConfig):
        """``rho``: the trunk's width over the side network's; ``activation`` of its layers."""

        rho: Positive = 4
        activation: Activation = "gelu"

    config: Config

    def adapt(self) -> None:
        """Let every block hand out its output, and build the side network and what reads it."""
        backbone, config = self.backbone, self.config
        for block in backbone.blocks:
            backbone.replace(block, BlockOutput(backbone, block))
        stages = [[block.width for block in backbone.blocks if block.stage == s] for s in range(len(backbone.stages))]
        self.stage_widths = [widths[0] for widths in stages]
        self.ladders = nn.ModuleList(Ladder(widths[0], len(widths), config, self.tasks) for widths in stages)

    @property
    def execution(self) -> str:
        """One trunk without a graph, read out per task."""
        return "side"

    def forward(self, image: Tensor) -> Features:
        """Run the trunk once on images [B, 3, H, W], and beside it the side network, stage by stage."""
        walk = self.backbone.walk(image)
        stages = zip(self.ladders, walk.extras, walk.streams, strict=True)
        levels = (ladder(outputs, stream).flatten(0, 1) for ladder, outputs, stream in stages)
        return self.by_task(self.backbone.pyramid(tuple(levels)))

    def expected_parameters(self) -> Counts:
        """A rung: C r + 2 r^2, norms 2 C + 2 r, biases 3 r, a gate but the first; a stage: r C + C, and 2C a task."""
        inner = [bottleneck_width(width, self.config.rho) for width in self.widths]
        sums = {
            "gates": len(self.widths) - len(self.stage_widths),
            "sum_C": sum(self.widths),
            "sum_r": sum(inner),
            "sum_Cr": sum(c * r for c, r in zip(self.widths, inner, strict=True)),
            "sum_rr": sum(r * r for r in inner),
            "stage_C": sum(self.stage_widths),
            "stage_Cr": sum(width * bottleneck_width(width, self.config.rho) for width in self.stage_widths),
        }
        return Counts(
            shared=closed("sum_Cr + 2*sum_rr + 2*sum_C + 5*sum_r + gates + stage_Cr + stage_C", **sums),
            per_task=closed("T * 2*stage_C", T=len(self.tasks), stage_C=sums["stage_C"]),
        )

    def expected_macs(self, geometry: Geometry) -> int:
        """One pass, a rung C r + 2 r^2 a token of every block, W_up r C a token of every stage; k_t is elementwise."""

        def inner(width: int) -> int:
            return bottleneck_width(width, self.config.rho)

        rungs = geometry.per_token(lambda c: c * inner(c) + 2 * inner(c) ** 2)
        return geometry.stem + geometry.blocks + rungs + geometry.per_last_token(lambda c: inner(c) * c)
