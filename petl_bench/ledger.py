"""Count trained parameters by owner, from modules, tied weights once. Works on the meta device."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from petl_bench.counts import Counts
from petl_bench.errors import UsageError
from petl_bench.method import Method
from petl_bench.model import MultiTaskModel
from petl_bench.records.run import Ledger


def count(model: MultiTaskModel) -> Ledger:
    """Count what ``model`` trains, by owner."""
    method = model.method
    held = held_parameters(method)
    own = [parameter for parameter in method.parameters() if parameter.requires_grad]
    decoder = [parameter for parameter in model.decoders.parameters() if parameter.requires_grad]
    exempt = method.exempt()
    return Ledger(
        backbone=method.backbone.num_parameters,
        shared=held.shared,
        per_task=held.per_task,
        generator=held.generator,
        decoder=_numel(decoder),
        stored_bytes=sum(parameter.numel() * parameter.element_size() for parameter in [*own, *decoder]),
        frozen=_numel(parameter for parameter in method.parameters() if not parameter.requires_grad),
        effective=_numel(p for name, p in method.named_parameters() if p.requires_grad and name not in exempt),
        after_merge=parameters_after_merge(method, held),
        active=held.shared + held.per_task + held.generator - method.inactive_parameters(),
        trunk=_numel(
            p for name, p in method.named_parameters() if p.requires_grad and method.belongs_to_backbone(name)
        ),
    )


def held_parameters(method: Method) -> Counts:
    """Count what the modules of ``method`` train, by owner, to stand beside its closed form."""
    owned = method.owned()
    private = [parameter for parameters in owned.private.values() for parameter in parameters.values()]
    return Counts(
        shared=_numel(owned.shared.values()),
        per_task=_numel([*owned.stacked.values(), *private]),
        generator=_numel(owned.generator.values()),
    )


def parameters_after_merge(method: Method, held: Counts) -> int:
    """Return how many parameters stay beside plain backbones once ``method`` is merged into them.

    Merged are one backbone, or T of them where something belongs to one task; tasks are alike, so the first stands for
    all. A method that has no plain form keeps what it holds.
    """
    try:
        with torch.device("meta"):
            merged = _on_meta(method).merged(0)
    except UsageError:
        return held.shared + held.per_task + held.generator
    copies = len(method.tasks) if held.per_task else 1
    return copies * (_numel(merged.trunk.parameters()) - method.backbone.num_parameters)


def _on_meta(method: Method) -> Method:
    """Return ``method`` itself if it is on the meta device, else a copy there, without copying its weights."""
    if all(parameter.is_meta for parameter in method.parameters()):
        return method
    # deepcopy takes what it finds in the memo as already copied, so a large trunk is never held twice.
    memo: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in method.buffers()}
    memo |= {id(p): nn.Parameter(p.detach().to("meta"), p.requires_grad) for p in method.parameters()}
    return copy.deepcopy(method, memo)


def _numel(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
