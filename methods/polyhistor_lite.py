"""Polyhistor-Lite: small generated templates, enlarged to every block's width by trained scaling kernels.

Paper: Liu et al., NeurIPS 2022, https://arxiv.org/abs/2210.03265 (sections 4.2 and 4.3).
Differs from the paper: a reconstruction. The paper's figures name decomposed hyper-networks, template kernels and
layer-wise scaling kernels that bring the templates to the scale of each layer. Our equations are those of
``polyhistor`` with
    W(v_t) = S kron (P(v_t) Q(v_t)),   S: [C / c, C / c],   P: [k] -> [out, n],   Q: [k] -> [n, in]
where out and in are those of a block of the smallest width c, and S, one per layer and shared by the tasks, starts as
the identity. n is ours: 410,212 parameters on Swin-T for 4 tasks, 0.41 M published. Other sizes fit as well, so the
count proves nothing. On a plain ViT all blocks have one width and S is a scalar.
"""

from torch import nn

from methods._hyper import Decomposed, DecomposedConfig, Scaled, TaskEmbedding, generated_adapter
from methods._layers import append, bottleneck_width
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("polyhistor-lite")
class PolyhistorLite(Method):
    """Adapters after every MLP whose weights are scaled copies of generated, per-task templates."""

    paper = "https://arxiv.org/abs/2210.03265"
    executions = ("forked",)
    scopes = ("mixed",)
    needs = ("mlp",)

    class Config(DecomposedConfig):
        """``rank``: n, whose default meets the published count."""

        rank: Positive = 2

    config: Config

    def adapt(self) -> None:
        """Put a generated adapter behind every MLP, with templates and scaling kernels of its own."""
        c, template = self.config, min(self.widths)
        inner = bottleneck_width(template, c.rho)
        embedding = TaskEmbedding(self.tasks, c.embedding, std=c.embedding**-0.5)

        def branch(width: int) -> nn.Module:
            down = Decomposed(c.embedding, inner, template, c.rank)
            up = Decomposed(c.embedding, template, inner, c.rank, zero=True)
            scale = width // template
            return generated_adapter(width, embedding, Scaled(down, scale), Scaled(up, scale), c.activation)

        append(self.backbone, "mlp", branch)

    def expected_parameters(self) -> Counts:
        """Per block and layer k n (r + c) for the template and s^2 for the kernel, s = C / c and r = floor(c / rho)."""
        c, template = self.config, min(self.widths)
        scales = [width // template for width in self.widths]
        sizes = {"r": bottleneck_width(template, c.rho), "c": template}
        return Counts(
            shared=closed("(r + c) * sum_s", sum_s=sum(scales), **sizes),
            per_task=closed("T * (k + 2*sum_C)", T=len(self.tasks), k=c.embedding, sum_C=sum(self.widths)),
            generator=closed(
                "2 * (blocks * k*n * (r + c) + sum_ss)",
                blocks=len(scales),
                k=c.embedding,
                n=c.rank,
                sum_ss=sum(s * s for s in scales),
                **sizes,
            ),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """As polyhistor, with factors and product at the smallest width; enlarging them is elementwise."""
        c, template = self.config, min(self.widths)
        inner = bottleneck_width(template, c.rho)
        generated = 2 * c.rank * (c.embedding * (inner + template) + inner * template)
        added = geometry.per_token(lambda width: 2 * width * (width // template) * inner)
        return self.macs_of_passes(geometry, added + geometry.per_block(lambda width: generated))
