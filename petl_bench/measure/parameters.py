"""Count trained parameters by owner, from modules, tied weights once. Works on the meta device."""

from collections.abc import Iterable

from torch import nn

from petl_bench.model import MultiTaskModel
from petl_bench.record import Ledger


def count(model: MultiTaskModel) -> Ledger:
    """Count what ``model`` trains, by owner."""
    owned = model.method.owned()
    decoder = [parameter for parameter in model.decoders.parameters() if parameter.requires_grad]
    private = [parameter for held in owned.private.values() for parameter in held.values()]
    per_task = [*owned.stacked.values(), *private]
    shared, generator = list(owned.shared.values()), list(owned.generator.values())
    return Ledger(
        backbone=model.method.backbone.num_parameters,
        shared=_numel(shared),
        per_task=_numel(per_task),
        generator=_numel(generator),
        decoder=_numel(decoder),
        stored_bytes=sum(p.numel() * p.element_size() for p in [*shared, *generator, *per_task, *decoder]),
    )


def _numel(parameters: Iterable[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)
