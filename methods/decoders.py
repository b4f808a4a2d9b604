"""Decoders only: the backbone stays frozen and nothing is added to it. The floor of every comparison.

Paper: none of its own; dense prediction's form of linear probing, Alain and Bengio, 2016,
https://arxiv.org/abs/1610.01644.
Differs from the paper: nothing.
"""

from petl_bench.method import METHODS, Counts, Geometry, Method


@METHODS.register("decoders")
class Decoders(Method):
    """A frozen backbone whose one pyramid all decoders read."""

    paper = "https://arxiv.org/abs/1610.01644"
    executions = ("shared",)
    scopes = ("shared",)

    def adapt(self) -> None:
        """Adapt nothing."""

    def expected_parameters(self) -> Counts:
        """Return zero: only the decoders are trained."""
        return Counts()

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Nothing beside the trunk."""
        return self.macs_of_passes(geometry)
