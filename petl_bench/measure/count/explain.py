"""The closed form of a method's count with its numbers put in, beside what its modules hold."""

from typing import Any

from petl_bench.counts import Closed
from petl_bench.ledger import held_parameters
from petl_bench.measure.count.meta import MetaModel

OWNERS = ("shared", "per_task", "generator")
NO_FORMULA = "no formula given"
EQUAL, UNEQUAL = "equal", "unequal"


def formula_rows(asked: MetaModel) -> list[dict[str, Any]]:
    """Return one row per owner: formula, numbers, closed form, count of the modules, and whether the two are equal."""
    method = asked.model.method
    expected, held = method.expected_parameters(), held_parameters(method)
    rows: list[dict[str, Any]] = []
    for owner in OWNERS:
        closed_form, modules = getattr(expected, owner), getattr(held, owner)
        formula = isinstance(closed_form, Closed)
        if formula or closed_form or modules:
            rows.append(
                {
                    "method": method.name,
                    "owner": owner,
                    "formula": closed_form.formula if formula else NO_FORMULA,
                    "with_numbers": closed_form.substituted if formula else f"{closed_form:,}",
                    "closed_form": int(closed_form),
                    "modules": modules,
                    "verdict": EQUAL if closed_form == modules else UNEQUAL,
                }
            )
    nothing = {"owner": "none", "formula": NO_FORMULA, "with_numbers": "0", "closed_form": 0, "modules": 0}
    return rows or [{"method": method.name, **nothing, "verdict": EQUAL}]
