"""BitFit: train the bias terms, nothing else.

Paper: Ben Zaken et al., 2021, https://arxiv.org/abs/2106.10199 (section 3); with a copy per task it reproduces the
parameter count 0.30 M of Liu et al., 2022 (Polyhistor), https://arxiv.org/abs/2210.03265.
Differs from the paper: biases of a vision backbone, patch embedding and relative-position bias tables included. By
default every task has a trained copy of each bias, stored as its difference from the frozen one; the batch is then
forked in front of the patch embedding. ``scope = "shared"`` trains the trunk's own biases. A layer without a bias gets
none; biases of queries and values that stand beside such a layer (Swin V2, some of Eva) stay frozen. The key's bias is
among them elsewhere, though the softmax cancels it.
"""

from methods._affine import PerTaskShift, add_tables, output_sums, table_entries
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("bitfit")
class BitFit(Method):
    """Trained biases of every linear layer, norm, convolution and table, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.10199"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")

    class Config(ScopedConfig):
        """``scope``: a copy of the biases per task, or the trunk's own for all."""

    config: Config

    def adapt(self) -> None:
        """Add a trained difference to every bias and table, or unfreeze them where all tasks share them."""
        biased = [operation for operation in self.backbone.operations() if operation.bias is not None]
        self.outputs = output_sums(biased)
        if self.scope_tasks is None:
            for bias in self.backbone.biases():
                bias.requires_grad_(True)
            return
        for operation in biased:
            self.backbone.replace(operation, PerTaskShift(operation, self.scope_tasks))
        add_tables(self.backbone, self.scope_tasks)

    def expected_parameters(self) -> Counts:
        """As many biases as outputs, and (2M - 1)^2 a head of every window attention."""
        return self.scoped("linear + norm + conv + tables", **self.outputs, tables=table_entries(self.backbone))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Nothing beside the trunk."""
        return self.macs_of_passes(geometry)
