"""The properties that every method has, one function each; it returns, or fails with what was seen."""

from petl_bench.testing.declared import builds, count_is_closed_form, features_as_declared, meta_device
from petl_bench.testing.execution import execution_as_declared
from petl_bench.testing.invariance import (
    batch_independence,
    compiles,
    half_precision,
    identity_at_start,
    interleaved,
    merged,
    number_of_tasks,
    task_order,
)
from petl_bench.testing.slow import distributed, inductor
from petl_bench.testing.training import frozen_bits, gradients, same_seed_same_numbers, state_round_trip, task_isolation
from petl_bench.testing.verdict import Check

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        builds,
        features_as_declared,
        identity_at_start,
        frozen_bits,
        gradients,
        task_isolation,
        count_is_closed_form,
        meta_device,
        execution_as_declared,
        task_order,
        number_of_tasks,
        batch_independence,
        interleaved,
        same_seed_same_numbers,
        state_round_trip,
        merged,
        half_precision,
        compiles,
    )
}

SLOW_CHECKS: dict[str, Check] = {check.__name__: check for check in (distributed, inductor)}


def promise(name: str) -> str:
    """Return the sentence that a check stands for."""
    doc = {**CHECKS, **SLOW_CHECKS}[name].__doc__ or ""
    return doc.partition("\n")[0]
