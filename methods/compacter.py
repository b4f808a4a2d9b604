"""Compacter: adapters of rank-one Kronecker products whose A_i all layers have in common.

Paper: Karimi Mahabadi et al., 2021, https://arxiv.org/abs/2106.04647 (section 3). Behind the attention module and the
MLP of every block (``compacter++``: behind the MLP alone), with h the module's output,
    A(h) = h + W_up act(W_down h + b_down) + b_up,   W = sum_i A_i kron (s_i t_i^T),   A_i the same in all layers
Differs from the paper: n = 4, rho = 32, trained norms and no norm inside the adapter are the released settings. Here
the trained norms are norm1 and norm2 of every block; r is rounded up to a multiple of n (a width of 96 leaves 3); GELU
is exact; A_i, s_i and t_i start with the variance of a plain layer, the s_i of W_up at zero, where the released code
draws A_i with a deviation of 0.0001. One set per task is our extension. Liu et al., 2022 (Polyhistor),
https://arxiv.org/abs/2210.03265, publish 0.28 M, and 0.11 M for ``compacter++``, on Swin-T for 4 tasks; not reproduced:
these settings give 180,352 and 125,632.
"""

from functools import partial
from typing import Literal

from torch import nn

from methods._kronecker import HypercomplexRules, LowRankPHMLinear, hypercomplex_adapter, require_divisor
from methods._layers import PLACES, Activation, Place, append, bottleneck_products, bottleneck_sums, train_norms
from petl_bench.config import MethodConfig, Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig

VARIANTS: dict[str, Place] = {"compacter": "both", "compacter++": "mlp"}


@METHODS.register("compacter")
class Compacter(Method):
    """Rank-one hypercomplex adapters and the norms of every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.04647"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("attn.proj", "mlp", "norm1", "norm2")

    class Config(ScopedConfig):
        """``variant``: where adapters stand; ``n``: how many products; ``rho``: width over bottleneck."""

        variant: Literal["compacter", "compacter++"] = "compacter"
        n: Positive = 4
        rho: Positive = 32
        activation: Activation = "gelu"

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return the modules that adapters stand behind, and the norms that are trained."""
        places = PLACES[VARIANTS[config.variant]] if isinstance(config, Compacter.Config) else cls.needs
        return tuple(dict.fromkeys((*places, "norm1", "norm2")))

    def adapt(self) -> None:
        """Append an adapter at every place, and replace every norm of a block by a trained copy."""
        config, rules = self.config, HypercomplexRules(self.config.n, self.scope_tasks)
        require_divisor(config.n, self.widths, self.name)
        append(
            self.backbone,
            VARIANTS[config.variant],
            lambda width: hypercomplex_adapter(
                LowRankPHMLinear, width, config.rho, config.activation, norm=nn.Identity(), rules=lambda: rules
            ),
        )
        self.norm_vectors = train_norms(self.backbone, ("norm1", "norm2"), self.scope_tasks)

    def expected_parameters(self) -> Counts:
        """A_i n^3 once; s_i and t_i of either matrix C + r, biases r + C, at every place; the norms' 4C a block."""
        places = len(PLACES[VARIANTS[self.config.variant]])
        sums = bottleneck_sums(self.widths, self.config.rho, self.config.n)
        symbols = {"n": self.config.n, "places": places, "sum_C": sums["sum_C"], "sum_r": sums["sum_r"]}
        return self.scoped(f"n**3 + places * 3*(sum_C + sum_r) + {2 * self.norm_vectors}*sum_C", **symbols)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token, and n products for each of their elements, at every place."""
        places, n = len(PLACES[VARIANTS[self.config.variant]]), self.config.n
        products = partial(bottleneck_products, rho=self.config.rho, multiple=n)
        added = geometry.per_token(products) + n * geometry.per_block(products)
        return self.macs_of_passes(geometry, places * added)
