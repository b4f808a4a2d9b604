"""Adapter: a trained bottleneck behind the MLP of every block.

Paper: Houlsby et al., 2019, https://arxiv.org/abs/1902.00751 (section 2.1); the multi-task form, one set per task, is a
baseline of Liu et al., 2022 (Polyhistor), https://arxiv.org/abs/2210.03265. With h the module's output,
    A(h) = h + W_up act(W_down LN(h) + b_down) + b_up
Differs from the paper: a reconstruction of Polyhistor's baseline, whose published count 8.69 M on Swin-T fits one
adapter a block, rho = 2, biases and one trained LayerNorm pair (8,688,000); that the pair is the adapter's input norm
is our reading. Houlsby et al. adapt both modules (``place = "both"``), train the network's own norms instead, and draw
W_up near zero, where ours is zero. In a ViT with layer scale the adapter stands in front of the scale.
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
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("adapter")
class Adapter(Method):
    """Sequential adapters in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/1902.00751"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("mlp",)

    class Config(ScopedConfig):
        """``rho``: width over bottleneck; ``activation`` in between; ``place``: behind which module of a block."""

        rho: Positive = 2
        activation: Activation = "gelu"
        place: Place = "mlp"

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return the modules that adapters stand behind."""
        return PLACES[config.place] if isinstance(config, Adapter.Config) else cls.needs

    def adapt(self) -> None:
        """Append an adapter, its norm included, at every place."""
        tasks, config = self.scope_tasks, self.config
        append(
            self.backbone,
            config.place,
            lambda width: adapter(
                width,
                bottleneck_width(width, config.rho),
                tasks,
                config.activation,
                norm=input_norm(width, tasks),
            ),
        )

    def expected_parameters(self) -> Counts:
        """W_down and W_up 2 C r, biases r + C, norm 2C, at every place of every block."""
        places = len(PLACES[self.config.place])
        sums = bottleneck_sums(self.widths, self.config.rho)
        return self.scoped("places * (2*sum_Cr + sum_r + 3*sum_C)", places=places, **sums)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token, at every place."""
        places, rho = len(PLACES[self.config.place]), self.config.rho
        added = places * geometry.per_token(lambda c: bottleneck_products(c, rho))
        return self.macs_of_passes(geometry, added)
