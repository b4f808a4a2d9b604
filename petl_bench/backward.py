"""What a training step goes back through: told from what autograd keeps, not from what a method says."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from petl_bench.backbones.base import NORMS
from petl_bench.method import Method


def kept_of(parameters: Mapping[str, Tensor], forward: Callable[[], Any]) -> frozenset[str]:
    """Return the names of the parameters that a forward pass keeps for the backward pass.

    A frozen matrix is kept exactly where the gradient passes through it. Works on the meta device.
    """
    names = {_identity(parameter): name for name, parameter in parameters.items()}
    kept: set[str] = set()

    def pack(tensor: Tensor) -> Tensor:
        kept.update(names[one] for one in [_identity(tensor)] if one in names)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return frozenset(kept)


def trunk_kept(method: Method, images: Tensor) -> frozenset[str]:
    """Return what a training step of ``method`` on images [B, 3, H, W] keeps of the trunk; nothing: it stays beside it.

    Norms are left out: what stands beside the trunk may read it through a frozen one.
    """
    norms = {id(p) for module in method.modules() if isinstance(module, NORMS) for p in module.parameters()}
    trunk = {
        name: parameter
        for name, parameter in method.named_parameters()
        if method.belongs_to_backbone(name) and id(parameter) not in norms
    }
    was_training = method.training
    kept = kept_of(trunk, lambda: method.train()(images))
    method.train(was_training)
    return kept


def _identity(tensor: Tensor) -> int:
    """Return what names a storage, also on the meta device, where none has an address."""
    return tensor.untyped_storage()._cdata
