"""Decoders only: the backbone stays frozen and nothing is added to it. The floor of every comparison.

Paper: none; a standard control ("linear probing" of dense prediction).
Differs from the paper: nothing.
"""

from petl_bench.method import Counts, Method
from petl_bench.registry import METHODS


@METHODS.register("decoders")
class Decoders(Method):
    """A frozen backbone whose one pyramid all decoders read."""

    paper = ""
    executions = ("shared",)
    scopes = ("shared",)

    def adapt(self) -> None:
        """Adapt nothing."""

    def expected_parameters(self) -> Counts:
        """Return zero: only the decoders are trained."""
        return Counts()
