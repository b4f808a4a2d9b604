"""Whether what is frozen stayed: digests of every weight that is not trained, before and after."""

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor

from petl_bench.ledger import held_parameters
from petl_bench.method import Method
from petl_bench.model import MultiTaskModel


def frozen_digests(model: MultiTaskModel) -> dict[str, str]:
    """Return a digest of every parameter of the method that is not trained, by name: shape, number type and bytes."""
    return {
        name: _digest(parameter) for name, parameter in model.method.named_parameters() if not parameter.requires_grad
    }


def _digest(parameter: Tensor) -> str:
    values = parameter.detach().cpu().contiguous()
    hashed = hashlib.blake2b(f"{list(values.shape)} {values.dtype}".encode())
    hashed.update(values.flatten().view(torch.uint8).numpy().data)
    return hashed.hexdigest()


def require_unmoved(method: Method, before: Mapping[str, str], after: Mapping[str, str]) -> None:
    """Fail if a frozen weight moved, or if what is frozen changed.

    Raises:
        RuntimeError: With the names of the weights.
    """
    moved = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    if moved:
        raise RuntimeError(
            f"The method {method.name!r} moved weights that it holds frozen, so this run is not what it says: "
            f"{len(moved)} of {len(before)}, first {moved[0]!r}.\nType: petl-bench check {method.name}"
        )


def require_counted(method: Method) -> None:
    """Fail unless the method trains as many parameters, by owner, as its closed form says.

    Raises:
        RuntimeError: With both counts.
    """
    expected, counted = method.expected_parameters(), held_parameters(method)
    for owner in ("shared", "per_task", "generator"):
        said, there = getattr(expected, owner), getattr(counted, owner)
        if said != there:
            raise RuntimeError(
                f"The method {method.name!r} trains {there:,} {owner} parameters, its closed form says {said:,}.\n"
                f"Type: petl-bench params --method {method.name} --explain"
            )
