"""Count with fvcore: multiply-adds from the trace of a real forward pass, and parameters.

fvcore needs real tensors, and sees no backward pass. What no output depends on is not in a trace, and so not counted.
An operation that is neither counted nor on the list of those without multiply-adds is refused, by name.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from petl_bench.features import Features
from petl_bench.measure.cost.flops import UnknownOperationError

# By the name in a trace: operations without matrix products. fvcore's own handlers for norms and sampling give way.
ZERO_MACS = frozenset(
    name
    for line in (
        "abs adaptive_avg_pool2d add add_ addcmul addcmul_ batch_norm bilinear clone cumsum div exp expand_as expm1",
        "flip gelu group_norm kron layer_norm log1p log_softmax lt mean mul mul_ neg new_ones ones_like pad pow",
        "rand_like reciprocal repeat repeat_interleave rsub searchsorted sigmoid sin softmax sqrt square std sub sum",
        "tanh unflatten upsample_bilinear2d upsample_nearest2d view_as where mT",
    )
    for name in line.split()
)
INNER = "module"  # fvcore's name of what is traced


def fvcore_macs(module: nn.Module, image: Tensor) -> int:
    """Count the multiply-adds of one forward pass of ``module`` on images [B, 3, H, W]; see ``macs_by_module``."""
    return macs_by_module(module, image)[""]


def macs_by_module(module: nn.Module, image: Tensor) -> dict[str, int]:
    """Count the multiply-adds of one forward pass without gradients, by the path of every submodule.

    Args:
        module: Anything that maps images to tensors, features, or nested tuples or dictionaries of them.
        image: Images [B, 3, H, W], not on the meta device.

    Returns:
        By path, what the submodule and all in it cost; all of it under the empty path.

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
        counted = analysis.by_module()
        unknown = sorted(analysis.unsupported_ops())
    if unknown:
        raise UnknownOperationError(
            f"fvcore has no handler for {', '.join(map(repr, unknown))}: they cannot be counted."
        )
    return {
        path.removeprefix(INNER).removeprefix("."): int(number)
        for path, number in counted.items()
        if path.startswith(INNER)
    }


def fvcore_parameters(module: nn.Module) -> tuple[int, int]:
    """Return how many parameters of a module are trained, and how many there are; tied ones once, on any device."""
    from fvcore.nn import parameter_count

    by_path = parameter_count(module)  # of every module and every parameter
    trained = (name for name, parameter in module.named_parameters() if parameter.requires_grad)
    return sum(by_path[name] for name in trained), by_path[""]


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


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Features):
        yield from _tensors([value.shared or (), value.per_task])
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors(part)
