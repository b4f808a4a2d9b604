"""Multi-task full fine-tuning: one backbone, trained as a whole by all tasks.

Paper: none of its own; hard parameter sharing, Caruana, 1997, https://doi.org/10.1023/A:1007379606734.
Differs from the paper: nothing.
"""

from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("full")
class Full(Method):
    """One trained backbone whose pyramid all decoders read."""

    paper = "https://doi.org/10.1023/A:1007379606734"
    executions = ("shared",)
    scopes = ("shared",)

    def adapt(self) -> None:
        """Unfreeze the whole backbone."""
        self.backbone.requires_grad_(True)

    def expected_parameters(self) -> Counts:
        """Return one backbone."""
        return Counts(shared=closed("backbone", backbone=self.backbone.num_parameters))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Nothing beside the trunk."""
        return self.macs_of_passes(geometry)
