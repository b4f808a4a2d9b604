"""What ``petl-bench check all --write`` computes: which method runs on which network, and what is seen of it there.

Reads and writes text; imports no torch.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from petl_bench.files import appearing
from petl_bench.terminal import print_table

TABLE = Path(__file__).parents[1] / "backbones" / "support.csv"
YES, NO = "yes", "no"
PROPERTIES = Path(__file__).parents[1] / "testing" / "properties.csv"


def read_support(path: Path = TABLE) -> list[dict[str, str]]:
    """Return the rows of a table: by default one a method and network, whether promises are kept there, or why not."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write_support(rows: Sequence[dict[str, Any]], path: Path = TABLE) -> None:
    """Write a table in place of an older one."""
    with appearing(path) as scratch, scratch.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_properties(path: Path = PROPERTIES) -> dict[str, dict[str, str]]:
    """Return, by method, what the kit saw of it with its defaults: tasks, start, backward."""
    return {row["method"]: row for row in read_support(path)}


def print_support(rows: Sequence[dict[str, str]]) -> None:
    """Print one row a method and one column a network, and below it the reason of every empty cell by its number."""
    methods = list(dict.fromkeys(row["method"] for row in rows))
    networks = list(dict.fromkeys(row["network"] for row in rows))
    reasons = list(dict.fromkeys(row["reason"] for row in rows if row["supported"] == NO))
    numbers = {reason: number for number, reason in enumerate(reasons, start=1)}
    cell = {
        (row["method"], row["network"]): YES if row["supported"] == YES else f"- ({numbers[row['reason']]})"
        for row in rows
    }
    table = [[method, *[cell.get((method, network), "?") for network in networks]] for method in methods]
    print_table("which method runs on which network of the kit", ["method", *networks], table)
    for reason, number in numbers.items():
        print(f"({number}) {reason}")
    families = {row["network"]: row["family"] for row in rows}
    others = [
        f"{network} is a network of the family {family}" for network, family in families.items() if network != family
    ]
    print("; ".join(others) + ". Every network is small and random; petl-bench check METHOD runs the same checks.")
