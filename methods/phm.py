"""PHM adapter: an adapter whose two matrices are sums of Kronecker products, W = sum_i A_i kron B_i.

Paper: Zhang et al., 2021, https://arxiv.org/abs/2102.08597 (section 3); as an adapter in Karimi Mahabadi et al., 2021
(Compacter), https://arxiv.org/abs/2106.04647, and as a baseline in Liu et al., 2022 (Polyhistor),
https://arxiv.org/abs/2210.03265.
Differs from the paper: a reconstruction. Several settings fit the published 0.59 M on Swin-T for 4 tasks. Ours is
``adapter`` with n = 4, rho = 8 and A_i that all layers have in common: 594,592. Zhang's own form, ``rules =
"per-layer"``, gives 600,480, and 594,000 with n = 2 and rho = 16. r is rounded up to a multiple of n. A_i and B_i start
with the variance of a plain layer, the B_i of W_up at zero.
"""

from functools import partial
from typing import Literal

from methods._kronecker import HypercomplexRules, PHMLinear, hypercomplex_adapter, require_divisor
from methods._layers import Activation, append, bottleneck_products, bottleneck_sums, input_norm
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("phm")
class PHM(Method):
    """Sequential hypercomplex adapters in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2102.08597"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("mlp",)

    class Config(ScopedConfig):
        """``n``: how many products; ``rho``: width over bottleneck; ``rules``: which layers have the A_i in common."""

        n: Positive = 4
        rho: Positive = 8
        activation: Activation = "gelu"
        rules: Literal["all-layers", "per-layer"] = "all-layers"

    config: Config

    def adapt(self) -> None:
        """Append a hypercomplex adapter, its norm included, behind every MLP."""
        config, tasks = self.config, self.scope_tasks
        require_divisor(config.n, self.widths, self.name)
        common = HypercomplexRules(config.n, tasks)
        append(
            self.backbone,
            "mlp",
            lambda width: hypercomplex_adapter(
                PHMLinear,
                width,
                config.rho,
                config.activation,
                norm=input_norm(width, tasks),
                rules=lambda: common if config.rules == "all-layers" else HypercomplexRules(config.n, tasks),
            ),
        )

    def expected_parameters(self) -> Counts:
        """All B_i of either matrix C r / n, biases r + C, norm 2C, in every block; n^3 a set of A_i."""
        sets = 1 if self.config.rules == "all-layers" else 2 * len(self.widths)
        sums = bottleneck_sums(self.widths, self.config.rho, self.config.n)
        return self.scoped("sets*n**3 + 2*sum_Cr//n + sum_r + 3*sum_C", sets=sets, n=self.config.n, **sums)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Two matrices C x r a token, and n products for each of their elements."""
        products = partial(bottleneck_products, rho=self.config.rho, multiple=self.config.n)
        return self.macs_of_passes(
            geometry, geometry.per_token(products) + self.config.n * geometry.per_block(products)
        )
