"""Count one thing in up to three ways that must agree: torch's dispatch or the ledger, fvcore, and the closed form.

fvcore traces a real forward pass on the CPU, so that it is left out for many tasks, for which one would be large; the
backward pass it cannot trace at all.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

from petl_bench.decoders.base import Decoder
from petl_bench.engine.build import build_model
from petl_bench.ledger import count
from petl_bench.measure.cost.traced import fvcore_parameters, macs_by_module
from petl_bench.measure.cost.work import plain_backbone, work_by_part
from petl_bench.measure.cost.workload import inference
from petl_bench.measure.count.meta import MetaModel, build_on_meta
from petl_bench.records.scaling import Agreement

MOST_TRACED_TASKS = 4
ENCODER = "method"  # its path in the model


class DisagreementError(RuntimeError):
    """Counters disagree about a method; its numbers cannot be trusted."""


def agreements(settings: Mapping[str, Any], label: str, tasks: Sequence[int | str]) -> list[Agreement]:
    """Count a method with each of these numbers of tasks that is not too large for fvcore.

    Args:
        settings: Sections as typed, the method's among them, without tasks.
        label: What the method is called in the rows.
        tasks: Numbers of tasks, or what ``--tasks`` takes.
    """
    rows: list[Agreement] = []
    for given in tasks:
        built = build_on_meta({**settings, "tasks": given})
        if len(built.channels) <= MOST_TRACED_TASKS:
            rows += _parameters(built, label) + _macs(built, label)
    return rows


def require_agreement(rows: Iterable[Agreement]) -> None:
    """Check that all counters agree.

    Raises:
        DisagreementError: Two do not; the message names the method and all that differs.
    """
    wrong = [row for row in rows if not row.agrees]
    if wrong:
        raise DisagreementError("\n".join(map(disagreement, wrong)))


def disagreement(row: Agreement) -> str:
    """Say what differs in a row."""
    closed = "" if row.closed_form is None else f", the closed form gives {row.closed_form:,}"
    return (
        f"The counts of {row.label!r} disagree: {row.quantity.replace('_', ' ')}, T = {row.tasks}: "
        f"{row.counter} counts {row.counted:,}, fvcore {row.fvcore:,}{closed}."
    )


def traced_by_module(built: MetaModel) -> dict[str, int]:
    """Return fvcore's multiply-adds of one inference pass on one image by module; the whole under the empty path.

    The decoders are those of inference: folded, and of few pixels together.
    """
    config = built.config.model_copy(
        update={"backbone": built.config.backbone.model_copy(update={"weights": "random"})}  # shapes alone count
    )
    model = build_model(config, built.channels).for_inference()
    return macs_by_module(model, torch.zeros(1, 3, *config.dataset.size))


def _macs(built: MetaModel, label: str) -> list[Agreement]:
    model, size = built.model.to("meta"), built.config.dataset.size
    with torch.device("meta"):
        geometry = plain_backbone(built.config).geometry()
    levels = [math.prod(max(1, side // stage.stride) for side in size) for stage in model.method.feature_info]
    own = [one.expected_macs(levels) if isinstance(one, Decoder) else None for one in model.decoders.values()]
    stated = [number for number in own if number is not None]
    work = work_by_part(inference(model, torch.empty(1, 3, *size, device="meta")))
    traced = traced_by_module(built)
    encoder = None if geometry is None else model.method.expected_macs(geometry)
    decoders = sum(stated) if len(stated) == len(own) else None
    row = partial(Agreement, label=label, tasks=len(built.channels), counter="torch")
    return [
        row(quantity="encoder_macs", counted=work["encoder"].macs, fvcore=traced[ENCODER], closed_form=encoder),
        row(
            quantity="decoder_macs",
            counted=work["decoders"].macs,
            fvcore=traced[""] - traced[ENCODER],
            closed_form=decoders,
        ),
    ]


def _parameters(built: MetaModel, label: str) -> list[Agreement]:
    model = built.model
    ledger, expected = count(model), model.method.expected_parameters()
    trained, everything = fvcore_parameters(model)
    of_method = fvcore_parameters(model.method)[0]
    closed_form = expected.shared + expected.per_task + expected.generator
    every = ledger.trainable + (ledger.frozen or 0)
    row = partial(Agreement, label=label, tasks=len(built.channels), counter="ledger")
    return [
        row(quantity="method_parameters", counted=ledger.method, fvcore=of_method, closed_form=closed_form),
        row(quantity="trained_parameters", counted=ledger.trainable, fvcore=trained),
        row(quantity="all_parameters", counted=every, fvcore=everything),
    ]


def module_rows(built: MetaModel, label: str) -> list[dict[str, Any]]:
    """Return one row per module that multiplies, as fvcore sees it, with its share of one pass on one image."""
    traced = traced_by_module(built)
    return [
        {
            "method": label,
            "tasks": len(built.channels),
            "module": path or "all",
            "fvcore_macs": number,
            "percent": round(100 * number / traced[""], 3),
        }
        for path, number in traced.items()
        if number
    ]
