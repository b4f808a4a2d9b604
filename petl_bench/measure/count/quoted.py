"""Published figures that are quoted and not counted: accuracies, and claims that give nothing to count.

An accuracy is not measurable here: it takes data, weights and hours that this repository does not have. What can be
checked is arithmetic, whether the printed delta_m is that of the printed scores.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from petl_bench.delta import delta_m
from petl_bench.published import Accuracy, Reference, Statement

NOT_MEASURABLE = "not measurable here"
NOT_VERIFIABLE = "not verifiable"


def judge_accuracy(claim: Accuracy, reference: Reference, needs: str) -> dict[str, Any]:
    """Return what a row of claims says of an accuracy: not measurable, and whether its delta_m is that of its scores.

    Raises:
        KeyError: A task of the reference has no score.
    """
    ours = delta_m(claim.scores, reference.scores, reference.higher_is_better)
    printed = float(claim.published)
    half = 0.5 * 10**-reference.decimals
    digits = len(claim.published.partition(".")[2])
    per_task = [half / base * (1 + claim.scores[task] / base) for task, base in reference.scores.items()]
    rounding = 100 * sum(per_task) / len(per_task) + 0.5 * 10**-digits
    return {
        "ours": round(ours, digits),
        "difference": round(ours - printed, digits),
        "convention": "delta_m of its own scores",
        "verdict": NOT_MEASURABLE,
        "arithmetic": "agrees" if abs(ours - printed) <= rounding else "differs",
        "unit": "% delta_m",
        "reference": reference.name,
        "note": claim.note,
        "needs": needs,
    }


def judge_statement(claim: Statement) -> dict[str, Any]:
    """Return what a row of claims says of a claim that gives nothing to count."""
    nothing = dict.fromkeys(("ours", "difference", "convention"))
    return {**nothing, "verdict": NOT_VERIFIABLE, "unit": "", "note": claim.why}


def quoted_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say why rows cannot be verified, what measuring others would need, and whose delta_m differs from its scores."""
    lines = [
        f"{NOT_VERIFIABLE}: {row['row']} ({row['published']}). {row['note']}"
        for row in rows
        if row["verdict"] == NOT_VERIFIABLE
    ]
    accuracies = [row for row in rows if row["verdict"] == NOT_MEASURABLE]
    for needs in dict.fromkeys(row["needs"] for row in accuracies):
        number = sum(row["needs"] == needs for row in accuracies)
        lines.append(f"{NOT_MEASURABLE}: {number} rows of scores. Needed: {needs}")
    for row in accuracies:
        if row["arithmetic"] == "differs":
            note = f" {row['note']}" if row["note"] else ""
            lines.append(
                f"arithmetic: {row['row']}: printed {row['published']}, its scores give {row['ours']:+g}.{note}"
            )
    return lines
