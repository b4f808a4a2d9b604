"""Relative bias: train the relative-position bias tables of the window attentions, nothing else.

Paper: Liu et al., 2022 (Polyhistor), https://arxiv.org/abs/2210.03265 (a baseline of its table of results on Swin-T,
0.09 M parameters for four tasks, which a copy per task reproduces); the tables are those of Liu et al., 2021 (Swin),
https://arxiv.org/abs/2103.14030 (equation 4).
Differs from the paper: each task's copy of a table is stored as its difference from the frozen one;
``scope = "shared"`` trains one for all.
"""

from methods._affine import add_tables, table_entries
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("relative-bias")
class RelativeBias(Method):
    """Trained relative-position bias tables, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2210.03265"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("attn", "relative-position-tables")

    class Config(ScopedConfig):
        """``scope``: tables per task, or one set for all."""

    config: Config

    def adapt(self) -> None:
        """Add a trained difference to every table."""
        add_tables(self.backbone, self.scope_tasks)

    def expected_parameters(self) -> Counts:
        """(2M - 1)^2 entries a head, for windows of M x M tokens."""
        return self.scoped("tables", tables=table_entries(self.backbone))

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Nothing beside the trunk."""
        return self.macs_of_passes(geometry)
