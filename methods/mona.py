"""Mona: adapters that see the token map through depth-wise convolutions, two in every block.

Paper: Yin et al., CVPR 2025, https://arxiv.org/abs/2408.08345 (section 3.2), and the authors' released code. With d_k
depth-wise convolutions of size k, zeros around the map,
    M(x) = x + W_up GELU(z + P z + p) + b_up,   z = y + (d_3(y) + d_5(y) + d_7(y)) / 3,   P: a 1 x 1 convolution
    y = W_down (gamma * LN(x) + gamma_x * x) + b_down
    x' = M_1(x + attention(norm1(x))),   block output = M_2(x' + MLP(norm2(x')))
Differs from the paper: one set per task is our extension; no dropout behind GELU (0.1), so that a run repeats bit for
bit; on a plain ViT, where the paper has none, a prefix token is a map of one pixel. The mean of the
three convolutions runs as one of size 7: fewer multiply-adds, equal features up to rounding. As released the
width is 64 throughout, gamma starts at 1e-6 and gamma_x at 1, and all else as torch's layers do, so that the start is
not the frozen backbone.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from methods._layers import PerTaskLinear, Residual, Tasks, begin, input_norm
from methods._maps import stacked_conv
from petl_bench.backbones.base import Backbone, Block
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.config import Positive
from petl_bench.features import Keyed, PerTask, split
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig

SIZES = (3, 5, 7)


class ScaledNorm(PerTask):
    """y[t] = gamma[t] * LN_t(x[t]) + gamma_x[t] * x[t], gamma and gamma_x: [T, C]."""

    vectors = ("gamma", "gamma_x")

    def __init__(self, width: int, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.norm = input_norm(width, tasks)
        self.gamma = nn.Parameter(torch.full((self.num_rows, width), 1e-6))
        self.gamma_x = nn.Parameter(torch.ones(self.num_rows, width))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape."""
        normed, plain = (split(tokens, self.num_rows) for tokens in (self.norm(x), x))
        return torch.addcmul(normed * self.gamma.unsqueeze(1), plain, self.gamma_x.unsqueeze(1)).view_as(x)


class MeanOfConvolutions(PerTask):
    """z[t] = y[t] + mean over k of d_k(y[t]): depth-wise kernels [T, c, 1, k, k] and biases [T, c], as one kernel."""

    vectors = ("bias_3", "bias_5", "bias_7")

    def __init__(self, channels: int, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.weight_3, self.weight_5, self.weight_7 = (self.stack(channels, 1, k, k) for k in SIZES)
        self.bias_3, self.bias_5, self.bias_7 = (self.stack(channels) for _ in SIZES)

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw kernels and biases as nn.Conv2d does, one generator a row."""
        for k in SIZES:
            weights, biases = getattr(self, f"weight_{k}"), getattr(self, f"bias_{k}")
            for row, weight, bias in zip(self.rows, weights, biases, strict=True):
                begin(weight, "kaiming", draw(f"weight_{k}", row))
                bias.uniform_(-1 / k, 1 / k, generator=draw(f"bias_{k}", row))

    def forward(self, y: Tensor) -> Tensor:
        """Map [T * B, c, H, W] to the same shape."""
        kernel = (F.pad(self.weight_3, [2] * 4) + F.pad(self.weight_5, [1] * 4) + self.weight_7) / 3
        bias = (self.bias_3 + self.bias_5 + self.bias_7) / 3
        return y + stacked_conv(y, kernel, bias, groups=y.shape[1])


class MonaBranch(nn.Module):
    """W_up GELU(z + P z + p) + b_up: what Mona adds to its input."""

    def __init__(self, backbone: Backbone, width: int, inner: int, tasks: Tasks) -> None:
        super().__init__()
        self.norm = ScaledNorm(width, tasks)
        self.down = PerTaskLinear(width, inner, tasks, start="kaiming-both")
        self.convolutions = MeanOfConvolutions(inner, tasks)
        self.mix = Residual(PerTaskLinear(inner, inner, tasks, start="kaiming-both"))
        self.up = PerTaskLinear(inner, width, tasks, start="kaiming-both")
        self.over_map = backbone.over_map

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape."""
        z = self.over_map(self.down(self.norm(x)), self.convolutions)
        return self.up(F.gelu(self.mix(z)))


class MonaBlock(Keyed):
    """A frozen block with a Mona behind each of its halves, residual included."""

    def __init__(self, backbone: TransformerBackbone, block: Block, inner: int, tasks: Tasks) -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attention_half, self.mlp_half = backbone.attention_half, backbone.mlp_half
        self.behind_attention, self.behind_mlp = (
            Residual(MonaBranch(backbone, block.width, inner, tasks)) for _ in range(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [T * B, ..., C] to the same shape."""
        x = self.behind_attention(self.attention_half(self.block, x))
        return self.behind_mlp(x + self.mlp_half(self.block, x))


@METHODS.register("mona")
class Mona(Method):
    """Two Monas of one width in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2408.08345"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("attention-halves",)
    identity_at_start = False

    class Config(ScopedConfig):
        """``inner``: width d between W_down and W_up."""

        inner: Positive = 64

    config: Config

    def adapt(self) -> None:
        """Wrap every block."""
        for block in self.backbone.blocks:
            wrapped = MonaBlock(self.transformer, block, self.config.inner, self.scope_tasks)
            self.backbone.replace(block, wrapped)

    def expected_parameters(self) -> Counts:
        """Twice in each of L blocks: 2 C d + d + C of W, 4 C of norm and gammas, 86 d of d_k, d^2 + d of P."""
        formula = "2 * (2*d*sum_C + 5*sum_C + L*(d*d + 88*d))"
        return self.scoped(formula, d=self.config.inner, L=len(self.widths), sum_C=sum(self.widths))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two of two matrices C x d, a kernel of 49 for each of d channels, and a matrix d x d a token."""
        d = self.config.inner
        return self.macs_of_passes(geometry, 2 * geometry.per_token(lambda c: 2 * c * d + 49 * d + d * d))
