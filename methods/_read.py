"""The per-task read-out of a stage as one function: total_t = start + shift_t + sum over blocks of gain_t * tap.

Autograd's own backward pass writes two tensors [T, B, ..., C] for every block; this one writes a single [B, ..., C] for
each, whatever the number of tasks.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def spread(rows: Tensor, like: Tensor) -> Tensor:
    """View one vector per task [T, w] so that it broadcasts with [T, B, ..., w]."""
    return rows.view(len(rows), *[1] * (like.dim() - 2), -1)


def add_scaled(total: Tensor, gain: Tensor, tap: Tensor) -> Tensor:
    """Add gain_t * tap to a total [T or 1, B, ..., C]; of several tasks, in place where the shape allows.

    Args:
        total: What is added to.
        gain: [T, C].
        tap: [1, B, ..., C], or [T, B, ..., C].
    """
    factor = spread(gain, tap)
    if len(gain) > 1 and total.shape == (len(gain), *tap.shape[1:]):
        return total.addcmul_(factor, tap)  # writing new memory would cost twice as much as the arithmetic
    return torch.addcmul(total, factor, tap)


def scale_and_shift(start: Tensor, shift: Tensor | None, gains: Tensor, taps: Sequence[Tensor]) -> Tensor:
    """Return total_t [T, B, ..., C].

    Args:
        start: [1, B, ..., C], or anything that broadcasts to it.
        shift: [T, C], or None.
        gains: [n, T, C].
        taps: n taps [B, ..., C].
    """
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return ScaleAndShift.apply(start, torch.zeros_like(gains[0]) if shift is None else shift, gains, *taps)
    total = start if shift is None else start + spread(shift, taps[0].unsqueeze(0))
    for gain, tap in zip(gains, taps, strict=True):
        total = add_scaled(total, gain, tap.unsqueeze(0))
    return total


class ScaleAndShift(torch.autograd.Function):
    """Maps start [1, B, ..., C], shift [T, C], gains [n, T, C] and n taps [B, ..., C] to [T, B, ..., C]."""

    @staticmethod
    def forward(ctx: Any, start: Tensor, shift: Tensor, gains: Tensor, *taps: Tensor) -> Tensor:
        """Add up, block by block."""
        ctx.save_for_backward(gains, *taps)
        rows = (gains.shape[1], *[1] * (taps[0].dim() - 1), -1)
        total = (start + shift.view(rows)).expand(gains.shape[1], *taps[0].shape).contiguous()
        for gain, tap in zip(gains, taps, strict=True):
            total.addcmul_(gain.view(rows), tap)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Return the gradients of start, shift, gains and taps."""
        (grad,) = grads
        gains, *taps = ctx.saved_tensors
        product = torch.empty_like(grad[0])
        d_gains, d_taps = torch.empty_like(gains), list[Tensor]()
        for gain, d_gain, tap in zip(gains, d_gains, taps, strict=True):
            d_tap = grad[0] * gain[0]
            for t, own in enumerate(grad):
                if t:
                    d_tap.addcmul_(own, gain[t])
                torch.mul(own, tap, out=product)
                d_gain[t] = product.flatten(0, -2).sum(0)
            d_taps.append(d_tap.to(tap.dtype))
        d_start = grad.sum(0, keepdim=True) if ctx.needs_input_grad[0] else None
        return d_start, grad.flatten(1, -2).sum(1), d_gains, *d_taps
