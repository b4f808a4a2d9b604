"""Count arithmetic: multiply-adds, elementwise operations and bytes written.

``macs`` are the multiply-adds of matrix products, convolutions and attention products, and of nothing else.
``elementwise_ops`` are the output elements of every other arithmetic operation, ``bytes_written`` the bytes of every
result that is not a view. The tally watches every operation that torch dispatches, forward or backward, on any device,
the meta device included, and refuses one that it does not know, by name.
"""

import math
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from petl_bench.measure.cost.shapes import on_meta


@dataclass(frozen=True)
class Work:
    """What a computation does.

    Attributes:
        macs: Multiply-adds of matrix products, convolutions and attention products.
        elementwise_ops: Output elements of all other arithmetic.
        bytes_written: Bytes of every result that is not a view.
    """

    macs: int = 0
    elementwise_ops: int = 0
    bytes_written: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(*(a + b for a, b in zip(self._values(), other._values(), strict=True)))

    def __sub__(self, other: "Work") -> "Work":
        return Work(*(a - b for a, b in zip(self._values(), other._values(), strict=True)))

    def _values(self) -> tuple[int, int, int]:
        return self.macs, self.elementwise_ops, self.bytes_written


class UnknownOperationError(ValueError):
    """A counter met an operation that is on none of its lists."""


def _names(*lines: str) -> frozenset[str]:
    return frozenset(name for line in lines for name in line.split())


# By the name of torch's dispatched operation. Results that are written, but not computed.
COPIES = _names(
    "_reshape_copy _to_copy cat clone constant_pad_nd copy copy_ embedding_dense_backward expand_copy fill_ flip full",
    "full_like gather index index_put index_put_ index_select lift_fresh_copy masked_fill masked_fill_ new_full",
    "new_zeros ones ones_like randperm repeat roll scalar_tensor select_backward select_scatter slice_backward",
    "slice_scatter stack zero_ zeros zeros_like",
)
# One operation per element of the first result.
ARITHMETIC = _names(
    "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward _log_softmax _log_softmax_backward_data",
    "_native_batch_norm_legit _native_batch_norm_legit_no_training _safe_softmax _softmax _softmax_backward_data",
    "_upsample_bilinear2d_aa abs add add_ addcdiv_ all addcmul addcmul_ amax any arange avg_pool2d",
    "binary_cross_entropy_with_logits bitwise_and bitwise_not clamp clamp_max clamp_min cos cudnn_batch_norm cumsum",
    "div div_ dot eq erf exp expm1 floor ge gelu gelu_backward gt le lerp_ log log1p log_sigmoid_forward",
    "log_sigmoid_backward logical_not lt maximum mean minimum mul mul_ native_batch_norm native_batch_norm_backward",
    "native_layer_norm native_layer_norm_backward ne neg nll_loss2d_backward nll_loss2d_forward pow reciprocal relu",
    "relu_ remainder rsqrt rsub sigmoid sigmoid_backward sin",
    "scatter_add scatter_add_ searchsorted sgn sqrt square std sub sub_ sum tanh tanh_backward threshold_backward tril",
    "upsample_bilinear2d upsample_bilinear2d_backward upsample_nearest2d var where",
)
# Neither computed nor written.
NOTHING = _names(
    "_unsafe_view alias as_strided_ detach empty empty_like empty_strided lift_fresh new_empty new_empty_strided",
)


class Tally(TorchDispatchMode):
    """Add up the work of everything that torch dispatches inside a ``with`` block.

    Raises:
        UnknownOperationError: An operation is on none of the lists.
    """

    def __init__(self) -> None:
        super().__init__()
        self.macs = self.elementwise_ops = self.bytes_written = 0

    @property
    def work(self) -> Work:
        """What was counted so far."""
        return Work(self.macs, self.elementwise_ops, self.bytes_written)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run one operation and count it."""
        aliases = [result.alias_info for result in func._schema.returns if result.alias_info is not None]
        packet, name = func._overloadpacket, func._overloadpacket.__name__
        run = on_meta if not aliases and name not in NOTHING else _run
        out = run(func, args, kwargs or {})
        if any(not alias.is_write for alias in aliases):
            return out  # a view
        results = [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, Tensor)]
        written = sum(x.numel() * x.element_size() for x in results)
        if packet is torch.ops.aten.convolution_backward:
            self.macs += _convolution_backward(*args)
        elif packet in flop_registry:
            self.macs += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
        elif name in ARITHMETIC:
            self.elementwise_ops += results[0].numel()
        elif results and name not in COPIES | NOTHING:
            raise UnknownOperationError(f"The operation {name!r} is on no list: it cannot be counted.")
        self.bytes_written += 0 if name in NOTHING else written
        return out


def _run(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    return func(*args, **kwargs)


def _convolution_backward(gradient: Tensor, image: Tensor, weight: Tensor, *others: Any) -> int:
    """Return as many multiply-adds for either gradient as the forward pass had.

    torch's own formula takes the channels of all groups for those of one, and so counts a depth-wise weight's gradient
    as many times as there are groups.
    """
    transposed, wanted = others[4], others[-1]
    pixels = (image if transposed else gradient).shape[2:]
    return (int(wanted[0]) + int(wanted[1])) * len(image) * math.prod(pixels) * weight.numel()


@contextmanager
def tallied() -> Generator[Tally]:
    """Count a block; fused attention is taken apart, because torch's counter does not know it on every device."""
    with sdpa_kernel(SDPBackend.MATH), Tally() as tally:
        yield tally


def forward_work(function: Callable[[Tensor], Any], image: Tensor) -> Work:
    """Count one forward pass without gradients on images [B, 3, H, W], on any device, meta included."""
    with torch.no_grad(), tallied() as tally:
        function(image)
    return tally.work
