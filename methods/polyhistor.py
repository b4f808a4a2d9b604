"""Polyhistor: decomposed hyper-networks generate every task's adapters as products of two low-rank factors.

Paper: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.03265 (section 4.1).
Differs from the paper: a reconstruction. The paper's abstract and figures name decomposed hyper-networks that share
information across tasks; we read them as hyper-networks of a task embedding v_t whose outputs are two low-rank factors
of each adapter weight. Our equations, in every block:
    h = MLP(norm2(x')),   block output = x' + h + W_up(v_t) act(W_down(v_t) LN_t(h) + b) + b'
    W(v_t) = P(v_t) Q(v_t),   P: [k] -> [out, n],   Q: [k] -> [n, in]   linear, without bias, one pair per layer
with a LayerNorm per task (the counts of that paper's adapters hold one), biases shared by the tasks, and P_up = 0 at
the start. k, n and rho are ours: 6,400,144 parameters on Swin-T for 4 tasks, 6.41 M published. Other sizes fit as well,
so the count proves nothing.
"""

from functools import partial

from torch import nn

from methods._hyper import Decomposed, DecomposedConfig, TaskEmbedding, generated_adapter
from methods._layers import append, bottleneck_products, bottleneck_sums, bottleneck_width
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("polyhistor")
class Polyhistor(Method):
    """Adapters after every MLP whose weights are generated, per task, as low-rank products."""

    paper = "https://arxiv.org/abs/2210.03265"
    executions = ("forked",)
    scopes = ("mixed",)
    needs = ("mlp",)

    class Config(DecomposedConfig):
        """``rank``: n, whose default meets the published count."""

        rank: Positive = 9

    config: Config

    def adapt(self) -> None:
        """Put a generated adapter behind every MLP, with hyper-networks of its own."""
        c = self.config
        embedding = TaskEmbedding(self.tasks, c.embedding, std=c.embedding**-0.5)

        def branch(width: int) -> nn.Module:
            inner = bottleneck_width(width, c.rho)
            down = Decomposed(c.embedding, inner, width, c.rank)
            up = Decomposed(c.embedding, width, inner, c.rank, zero=True)
            return generated_adapter(width, embedding, down, up, c.activation)

        append(self.backbone, "mlp", branch)

    def expected_parameters(self) -> Counts:
        """Per block k n (r + C) for each of two layers, biases r + C; per task an embedding and LayerNorms 2C."""
        c = self.config
        sums = bottleneck_sums(self.widths, c.rho)
        return Counts(
            shared=closed("sum_r + sum_C", **sums),
            per_task=closed("T * (k + 2*sum_C)", T=len(self.tasks), k=c.embedding, **sums),
            generator=closed("2 * k*n * (sum_r + sum_C)", k=c.embedding, n=c.rank, **sums),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """An adapter a token; per block the factors P and Q of either matrix, k n (r + C), and P Q, r n C."""
        c = self.config
        products = partial(bottleneck_products, rho=c.rho)

        def generated(width: int) -> int:
            factors = 2 * c.embedding * c.rank * (bottleneck_width(width, c.rho) + width)
            return factors + c.rank * products(width)

        added = geometry.per_token(products) + geometry.per_block(generated)
        return self.macs_of_passes(geometry, added)
