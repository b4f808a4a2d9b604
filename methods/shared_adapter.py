"""Shared adapter: the same bottlenecks for all tasks, behind LayerNorms of each task's own.

Paper: a baseline of Liu et al., 2022 (Polyhistor), https://arxiv.org/abs/2210.03265.
Differs from the paper: a reconstruction. The published count 2.20 M on Swin-T fits one set of ``adapter`` weights and a
LayerNorm pair per task and block (2,198,496). The norms' outputs re-enter the frozen trunk, so these 2C parameters a
block and task cost T passes; one norm for all tasks is ``adapter`` with ``scope = "shared"`` (2,172,000), which costs
one.
"""

from methods._layers import (
    PLACES,
    Activation,
    Place,
    adapter,
    append,
    bottleneck_products,
    bottleneck_sums,
    bottleneck_width,
    input_norm,
)
from petl_bench.config import MethodConfig, Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("shared-adapter")
class SharedAdapter(Method):
    """Sequential adapters shared by all tasks, each task's tokens normalised with its own scale and shift."""

    paper = "https://arxiv.org/abs/2210.03265"
    executions = ("forked",)
    scopes = ("mixed",)
    needs = ("mlp",)

    class Config(MethodConfig):
        """``rho``: width over bottleneck; ``activation`` in between; ``place``: behind which module of a block."""

        rho: Positive = 2
        activation: Activation = "gelu"
        place: Place = "mlp"

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return the modules that adapters stand behind."""
        return PLACES[config.place] if isinstance(config, SharedAdapter.Config) else cls.needs

    def adapt(self) -> None:
        """Append a shared adapter behind a per-task norm at every place."""
        append(
            self.backbone,
            self.config.place,
            lambda width: adapter(
                width,
                bottleneck_width(width, self.config.rho),
                None,
                self.config.activation,
                norm=input_norm(width, self.tasks),
            ),
        )

    def expected_parameters(self) -> Counts:
        """W_down and W_up 2 C r, biases r + C, once; the norm's 2C a task; at every place of every block."""
        places, sums = len(PLACES[self.config.place]), bottleneck_sums(self.widths, self.config.rho)
        return Counts(
            shared=closed("places * (2*sum_Cr + sum_r + sum_C)", places=places, **sums),
            per_task=closed("T * places * 2*sum_C", T=len(self.tasks), places=places, sum_C=sums["sum_C"]),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token, at every place."""
        places, rho = len(PLACES[self.config.place]), self.config.rho
        added = places * geometry.per_token(lambda c: bottleneck_products(c, rho))
        return self.macs_of_passes(geometry, added)
