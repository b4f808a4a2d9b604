"""Count arithmetic: multiply-adds, elementwise operations and bytes written, with two counters that must agree.

``macs`` are the multiply-adds of matrix products, convolutions and attention products, and of nothing else.
``elementwise_ops`` are the output elements of every other arithmetic operation, ``bytes_written`` the bytes of every
result that is not a view. fvcore traces a real forward pass; the tally watches every operation that torch dispatches,
forward or backward, on any device, the meta device included. Both refuse an operation that they do not know, by name.
"""

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


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
    "_reshape_copy _to_copy cat clone constant_pad_nd copy copy_ embedding_dense_backward expand_copy fill_ full",
    "full_like index index_put index_put_ index_select lift_fresh_copy masked_fill masked_fill_ new_full",
    "new_zeros ones ones_like repeat roll scalar_tensor select_backward select_scatter slice_backward",
    "slice_scatter stack zero_ zeros zeros_like",
)
# One operation per element of the first result.
ARITHMETIC = _names(
    "_adaptive_avg_pool2d _adaptive_avg_pool2d_backward _log_softmax _log_softmax_backward_data",
    "_native_batch_norm_legit _native_batch_norm_legit_no_training _safe_softmax _softmax _softmax_backward_data",
    "_upsample_bilinear2d_aa abs add add_ addcmul addcmul_ amax any arange avg_pool2d clamp clamp_min",
    "cudnn_batch_norm cumsum div div_ eq erf exp floor ge gelu gelu_backward gt le log logical_not lt maximum",
    "mean minimum mul mul_ native_batch_norm native_batch_norm_backward native_layer_norm",
    "native_layer_norm_backward ne neg pow reciprocal relu relu_ remainder rsqrt rsub sigmoid sigmoid_backward",
    "sqrt square sub sub_ sum tanh tanh_backward threshold_backward tril upsample_bilinear2d",
    "upsample_bilinear2d_backward upsample_nearest2d var where",
)
# Neither computed nor written.
NOTHING = _names(
    "_unsafe_view alias as_strided_ detach empty empty_like empty_strided lift_fresh new_empty new_empty_strided",
)
# By the name in a trace: operations without matrix products. fvcore's own handlers for norms and sampling give way.
ZERO_MACS = _names(
    "adaptive_avg_pool2d add add_ addcmul batch_norm bilinear clone div exp expand_as gelu group_norm layer_norm",
    "log_softmax mean mul mul_ neg new_ones ones_like pad pow rand_like repeat repeat_interleave rsub sigmoid",
    "softmax sqrt square sub sum tanh unflatten upsample_bilinear2d upsample_nearest2d view_as mT",
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
        out = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        if any(result.alias_info is not None and not result.alias_info.is_write for result in returns):
            return out  # a view
        packet, name = func._overloadpacket, func._overloadpacket.__name__
        results = [x for x in (out if isinstance(out, (tuple, list)) else (out,)) if isinstance(x, Tensor)]
        written = sum(x.numel() * x.element_size() for x in results)
        if packet in flop_registry:
            self.macs += flop_registry[packet](*args, **(kwargs or {}), out_val=out) // 2
        elif name in ARITHMETIC:
            self.elementwise_ops += results[0].numel()
        elif results and name not in COPIES | NOTHING:
            raise UnknownOperationError(f"The operation {name!r} is on no list: it cannot be counted.")
        self.bytes_written += 0 if name in NOTHING else written
        return out


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


def _no_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Count nothing, also where fvcore has a handler, such as for norms."""
    del inputs, outputs
    return Counter()


def _attention_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Return the products Q K^T and A V: queries [..., N, D], keys [..., M, D], values [..., M, E]."""
    del outputs
    query, key, value = (x.type().sizes() for x in inputs[:3])
    *batch, rows, inner = query
    columns, width = key[-2], value[-1]
    return Counter({"attention": math.prod(batch) * rows * columns * (inner + width)})


def _batched_macs(inputs: list[Any], outputs: list[Any]) -> Counter[str]:
    """Return the products of baddbmm: [T, N, K] by [T, K, M]."""
    del outputs
    batch, rows, inner = inputs[1].type().sizes()
    return Counter({"baddbmm": batch * rows * inner * inputs[2].type().sizes()[-1]})


def fvcore_macs(module: nn.Module, image: Tensor) -> int:
    """Count the multiply-adds of one forward pass with fvcore. Needs real tensors.

    Args:
        module: Anything that maps images to tensors, or to nested tuples or dictionaries of tensors.
        image: Images [B, 3, H, W].

    Raises:
        UnknownOperationError: The trace holds an operation that is neither counted nor on the list of zeros.
    """
    from fvcore.nn import FlopCountAnalysis

    class Traced(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: Tensor) -> list[Tensor]:
            return list(_tensors(self.module(image)))

    analysis = FlopCountAnalysis(Traced(), image).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
    analysis.tracer_warnings("none")
    handles: dict[str, Any] = {f"aten::{name}": _no_macs for name in ZERO_MACS}
    handles |= {"aten::scaled_dot_product_attention": _attention_macs, "aten::baddbmm": _batched_macs}
    analysis.set_op_handle(**handles)
    with torch.no_grad():
        total = analysis.total()
        unknown = sorted(analysis.unsupported_ops())
    if unknown:
        raise UnknownOperationError(
            f"fvcore has no handler for {', '.join(map(repr, unknown))}: they cannot be counted."
        )
    return int(total)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "shared"):
        yield from _tensors([value.shared, value.per_task])
