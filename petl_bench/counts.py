"""Closed forms of parameter counts: a formula that is evaluated, and can be printed with its numbers put in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


class Closed(int):
    """An integer that knows the formula it came from.

    Attributes:
        formula: The formula as written, in Python's notation: ``T * (4*r + 2) * sum_C``.
        symbols: The value of every symbol in it.
    """

    formula: str
    symbols: Mapping[str, int]

    @property
    def substituted(self) -> str:
        """The formula with the numbers put in: ``4 * (4*4 + 2) * 4,416``."""
        return re.sub(r"[A-Za-z]\w*", lambda name: f"{self.symbols[name[0]]:,}", self.formula)


def closed(formula: str, **symbols: int) -> Closed:
    """Evaluate a formula of integers.

    Args:
        formula: Arithmetic on the symbols, written by a method's author: ``T * (4*r + 2) * sum_C``.
        symbols: Their values.

    Raises:
        ValueError: A symbol without a value, or a value that is no whole number.
    """
    unknown = sorted({*re.findall(r"[A-Za-z]\w*", formula)} - symbols.keys())
    if unknown:
        raise ValueError(f"The formula {formula!r} has no value for {', '.join(unknown)}.")
    value = eval(formula, {"__builtins__": {}}, dict(symbols))  # a literal of a method's file, as trusted as its code
    if value != int(value):
        raise ValueError(f"The formula {formula!r} gives {value}, not a whole number.")
    result = Closed(value)
    result.formula, result.symbols = formula, symbols
    return result


@dataclass(frozen=True)
class Counts:
    """Trained parameters of a method by its closed form: used by all tasks, by one task each (summed), generating.

    Attributes:
        shared: Used by all tasks.
        per_task: Belong to one task each, summed over tasks.
        generator: Belong to hyper-networks, whose outputs are weights.
    """

    shared: int = 0
    per_task: int = 0
    generator: int = 0
