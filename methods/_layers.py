"""Layers that several methods share: stacked per task, or one slice for all tasks."""

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from petl_bench.backbones.base import Backbone, Block
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.features import Keyed, PerTask, split

Tasks = tuple[str, ...] | None
Activation = Literal["relu", "gelu"]
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "gelu": F.gelu}
Place = Literal["mlp", "attention", "both"]
PLACES: dict[Place, tuple[str, ...]] = {"mlp": ("mlp",), "attention": ("attn.proj",), "both": ("attn.proj", "mlp")}


class PerTaskLayerNorm(PerTask):
    """LayerNorm whose scale and shift [T, C] belong to a task each; starts as a copy of ``norm``.

    y[t] = (x[t] - mean) / sqrt(var + eps) * weight[t] + bias[t]; without a bias where ``norm`` has none.
    """

    vectors = ("weight", "bias")

    def __init__(self, norm: Any, tasks: Tasks) -> None:
        super().__init__(tasks)
        self.eps: float = norm.eps
        bias: Tensor | None = getattr(norm, "bias", None)
        self.weight = nn.Parameter(norm.weight.detach().repeat(self.num_rows, 1))
        self.bias = None if bias is None else nn.Parameter(bias.detach().repeat(self.num_rows, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise tokens [T * B, ..., C]."""
        if self.num_rows == 1:
            return self.normalised(x, self.weight[0], None if self.bias is None else self.bias[0])
        rows = split(self.normalised(x, None, None), self.num_rows)
        if self.bias is None:
            return (rows * self.weight.unsqueeze(1)).view_as(x)
        return torch.addcmul(self.bias.unsqueeze(1), rows, self.weight.unsqueeze(1)).view_as(x)

    def normalised(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise [..., C], then scale and shift by vectors [C]."""
        return F.layer_norm(x, x.shape[-1:], weight, bias, self.eps)

    def plain(self) -> nn.Module:
        """Return a norm of this kind."""
        return nn.LayerNorm(self.weight.shape[-1], eps=self.eps, bias=self.bias is not None)

    def merged(self, t: int) -> nn.Module:
        """Return the plain norm of task number ``t``."""
        norm, row = self.plain(), self.row(t)
        norm.weight = nn.Parameter(self.weight[row].clone())
        if self.bias is not None:
            norm.bias = nn.Parameter(self.bias[row].clone())
        return norm


class PerTaskRMSNorm(PerTaskLayerNorm):
    """RMSNorm whose scale [T, C] belongs to a task each: y[t] = x[t] / sqrt(mean(x[t]^2) + eps) * weight[t]."""

    def normalised(self, x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
        """Normalise [..., C], then scale by a vector [C]."""
        return F.rms_norm(x, x.shape[-1:], weight, self.eps)

    def plain(self) -> nn.Module:
        """Return a norm of this kind."""
        return nn.RMSNorm(self.weight.shape[-1], eps=self.eps)


def train_norms(backbone: Backbone, kinds: Sequence[str], tasks: Tasks) -> int:
    """Replace the norms at sites by trained copies, per task or one for all.

    Returns:
        How many vectors [C] a norm of the network holds: a scale and a shift, or a scale alone.
    """
    vectors = 0
    for site in backbone.sites(*kinds):
        layer = PerTaskLayerNorm if isinstance(site.module, nn.LayerNorm) else PerTaskRMSNorm
        norm = layer(site.module, tasks)
        vectors = 1 if norm.bias is None else 2
        backbone.replace(site, norm)
    return vectors


def input_norm(width: int, tasks: Tasks) -> PerTaskLayerNorm:
    """Return the trained norm in front of an adapter: scales one, shifts zero."""
    return PerTaskLayerNorm(nn.LayerNorm(width), tasks)


def stacked_linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Map [T * B, ..., in] to [T * B, ..., out] by W [T, out, in] and b [T, out], in one batched product."""
    num_rows = len(weight)
    if num_rows == 1:
        return F.linear(x, weight[0], None if bias is None else bias[0])
    rows = split(x, num_rows)
    out = rows @ weight.mT if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, weight.mT)
    return out.view(*x.shape[:-1], -1)


Start = Literal["kaiming", "kaiming-both", "xavier", "houlsby", "zero"]


def begin(weight: Tensor, start: Start, generator: torch.Generator) -> None:
    """Fill one slice of a weight, [out, in] or [out, in, k, k], with its initial values.

    ``kaiming`` is Kaiming-uniform(sqrt 5), what nn.Linear and nn.Conv2d begin with; ``houlsby`` a normal distribution
    of standard deviation 0.01 cut at two deviations (Houlsby et al., 2019, section 3.6).
    """
    fan_in, fan_out = weight[0].numel(), weight[:, 0].numel()
    match start:
        case "kaiming" | "kaiming-both":
            weight.uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        case "xavier":
            bound = math.sqrt(6 / (fan_in + fan_out))
            weight.uniform_(-bound, bound, generator=generator)
        case "houlsby":
            nn.init.trunc_normal_(weight, std=0.01, a=-0.02, b=0.02, generator=generator)
        case "zero":
            weight.zero_()


class PerTaskLinear(PerTask):
    """y[t] = W[t] x[t] + b[t], W: [T, out, in], b: [T, out]; one batched product over tasks.

    ``start`` is how W begins, see ``begin``. b begins at zero, and with ``kaiming-both`` as that of nn.Linear does.
    """

    vectors = ("bias",)

    def __init__(self, inputs: int, outputs: int, tasks: Tasks, *, start: Start, bias: bool = True) -> None:
        super().__init__(tasks)
        self.start: Start = start
        self.weight = self.stack(outputs, inputs)
        self.bias = self.stack(outputs) if bias else None

    def initialise(self, draw: Callable[[str, str], torch.Generator]) -> None:
        """Draw W, one generator a row."""
        for t, row in enumerate(self.rows):
            begin(self.weight[t], self.start, draw("weight", row))
            if self.bias is not None and self.start == "kaiming-both":
                bound = 1 / math.sqrt(self.weight.shape[-1])
                self.bias[t].uniform_(-bound, bound, generator=draw("bias", row))

    def forward(self, x: Tensor) -> Tensor:
        """Map [T * B, ..., in] to [T * B, ..., out]."""
        return stacked_linear(x, self.weight, self.bias)


class Bottleneck(nn.Module):
    """u = scale * W_up act(W_down norm(x)): the adapter of Houlsby et al., 2019, without its residual."""

    def __init__(
        self, norm: nn.Module, down: nn.Module, activation: Activation, up: nn.Module, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.norm = norm
        self.down = down
        self.activation = ACTIVATIONS[activation]
        self.up = up
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [..., C] to [..., C]."""
        u = self.up(self.activation(self.down(self.norm(x))))
        return u if self.scale == 1 else self.scale * u  # a pass over all tokens, for nothing if the scale is 1


def adapter(
    width: int, inner: int, tasks: Tasks, activation: Activation, *, norm: nn.Module, scale: float = 1.0
) -> Bottleneck:
    """Return a bottleneck of two linear layers: W_down Kaiming-uniform(sqrt 5), W_up and both biases zero."""
    down = PerTaskLinear(width, inner, tasks, start="kaiming")
    return Bottleneck(norm, down, activation, PerTaskLinear(inner, width, tasks, start="zero"), scale)


def bottleneck_width(width: int, rho: int, multiple: int = 1) -> int:
    """Return r = floor(C / rho), rounded up to a multiple; at least one multiple."""
    return multiple * max(1, math.ceil(width // rho / multiple))


def bottleneck_products(width: int, rho: int, multiple: int = 1) -> int:
    """Return the multiply-adds of a bottleneck for one token: 2 C r."""
    return 2 * width * bottleneck_width(width, rho, multiple)


def bottleneck_sums(widths: Sequence[int], rho: int, multiple: int = 1) -> dict[str, int]:
    """Return the sums over blocks that closed forms of adapters need: of C, of r (``bottleneck_width``), and of C r."""
    inner = [bottleneck_width(width, rho, multiple) for width in widths]
    products = sum(width * r for width, r in zip(widths, inner, strict=True))
    return {"sum_C": sum(widths), "sum_r": sum(inner), "sum_Cr": products}


class Behind(nn.Sequential):
    """y = h + branch(h), h = module(x): what stands behind a frozen module, whose further arguments pass through."""

    def __init__(self, module: nn.Module, branch: nn.Module) -> None:
        super().__init__(module, Residual(branch))

    def forward(self, x: Tensor, *arguments: Any, **named: Any) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Map what the module takes, [..., C] first, to its output with the branch."""
        module, residual = self
        return residual(module(x, *arguments, **named))


class BehindBlock(Keyed):
    """y = h + branch(h), h = block(x), run as its backbone runs it."""

    def __init__(self, backbone: Backbone, block: Block, branch: nn.Module) -> None:
        super().__init__()
        self.block, self.run = backbone.block_module(block), backbone.run
        self.residual = Residual(branch)

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [B, ..., C] to the same shape."""
        h = self.run(self.block, x)
        assert isinstance(h, Tensor), "another method's block stands here"
        return self.residual(h)


class Residual(nn.Module):
    """y = x + branch(x)."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Map [...] to the same shape."""
        return x + self.branch(x)


def append(backbone: Backbone, place: Place, branch: Callable[[int], nn.Module]) -> None:
    """Turn the output h of the attention module, the MLP or both of every block into h + branch(h).

    Args:
        backbone: What is adapted.
        place: Behind which modules. In Swin, attention ends inside a window, where each token is still by itself.
        branch: Called with the width, once a place; maps tokens [..., C] to [..., C].
    """
    for site in backbone.sites(*PLACES[place]):
        backbone.replace(site, Behind(site.module, branch(site.width)))


class ParallelBlock(Keyed):
    """A frozen block with a branch beside its MLP: x' + MLP(norm2(x')) + branch(x'), x' = x + attention(norm1(x))."""

    def __init__(self, backbone: TransformerBackbone, block: Block, branch: nn.Module) -> None:
        super().__init__()
        self.block = backbone.block_module(block)
        self.attention_half, self.mlp_half = backbone.attention_half, backbone.mlp_half
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens [..., C] to [..., C]."""
        x = self.attention_half(self.block, x)
        return (x + self.mlp_half(self.block, x)).add_(self.branch(x))
