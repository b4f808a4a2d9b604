"""Memory of a training step: what is saved for the backward pass, and the allocator's peak on an accelerator."""

from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks


@dataclass(frozen=True)
class Saved:
    """Bytes that a forward pass keeps for the backward pass; each storage once, parameters left out.

    Attributes:
        total_bytes: All of them.
        by_module: The same by the innermost module that was running.
    """

    total_bytes: int
    by_module: dict[str, int]


def saved_for_backward(module: nn.Module, forward: Callable[[], Any]) -> Saved:
    """Run ``forward`` and count what it saves.

    Args:
        module: Where the modules' names and the parameters, which are kept anyway, come from.
        forward: Calls the module, gradients enabled.
    """
    kept = {_identity(parameter) for parameter in module.parameters()}
    seen: dict[int, Tensor] = {}  # holds the tensors, so that no identity is used twice
    sizes: Counter[str] = Counter()
    running: list[str] = []

    def pack(tensor: Tensor) -> Tensor:
        identity = _identity(tensor)
        if identity not in kept and identity not in seen:
            seen[identity] = tensor
            sizes[running[-1] if running else ""] += tensor.untyped_storage().nbytes()
        return tensor

    with _names_of_running(module, running), saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = forward()
    del outputs
    return Saved(sum(sizes.values()), dict(sizes.most_common()))


def _identity(tensor: Tensor) -> int:
    """Return what names a storage, also on the meta device, where none has an address."""
    return tensor.untyped_storage()._cdata


@contextmanager
def _names_of_running(module: nn.Module, running: list[str]) -> Generator[None]:
    def leave(*_: Any) -> None:  # what a hook returns takes the place of the output
        running.pop()

    handles: list[Any] = []
    for name, part in module.named_modules():
        handles.append(part.register_forward_pre_hook(lambda *_, name=name: running.append(name)))
        handles.append(part.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@dataclass(frozen=True)
class Peak:
    """The allocator's peaks on an accelerator, in bytes: allocated beyond what was there before, reserved in all."""

    allocated_bytes: int
    reserved_bytes: int


def peak(call: Callable[[], Any], device: torch.device) -> Peak | None:
    """Run ``call`` and return the allocator's peak, or None on a device without one."""
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    torch.cuda.synchronize(device)
    return Peak(torch.cuda.max_memory_allocated(device) - before, torch.cuda.max_memory_reserved(device))
