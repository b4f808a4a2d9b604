"""What an operation returns on the meta device, worked out once for every combination of shapes.

torch finds the shape of most results in Python there, in up to a millisecond; the blocks of a network ask for the same
ones over and over.
"""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

MOST_KEPT = 100_000


class Like(NamedTuple):
    """What tells one meta tensor from another."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype


class Plain(NamedTuple):
    """Any other argument, with its type: 1, 1.0 and True are equal, but make results of other types."""

    kind: type
    value: Any


class Unknown(TypeError):  # noqa: N818
    """A value of which a result might not be a function."""


def on_meta(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Run an operation that returns new tensors; on meta tensors, look up what it returns for others like them."""
    try:
        asked = _frozen(list(args)), _frozen(list(kwargs.values()))
        return _thawed(_result(func, asked[0], asked[1], tuple(kwargs)))
    except Unknown:
        return func(*args, **kwargs)


@lru_cache(maxsize=MOST_KEPT)
def _result(func: Any, args: tuple[Any, ...], values: tuple[Any, ...], names: tuple[str, ...]) -> Any:
    return _frozen(func(*_thawed(args), **dict(zip(names, _thawed(values), strict=True))))


def _frozen(value: Any) -> Any:
    if isinstance(value, Tensor):
        if value.device.type != "meta" or type(value) not in (Tensor, torch.nn.Parameter):
            raise Unknown
        return Like(tuple(value.shape), value.stride(), value.dtype)
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if value is None or isinstance(
        value, (int, float, str, torch.dtype, torch.device, torch.layout, torch.memory_format)
    ):
        return Plain(type(value), value)
    raise Unknown


def _thawed(value: Any) -> Any:
    match value:
        case Like(shape, stride, dtype):
            return torch.empty_strided(shape, stride, dtype=dtype, device="meta")
        case Plain(_, plain):
            return plain
        case _:
            return [*map(_thawed, value)]
