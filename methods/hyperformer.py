"""Hyperformer: hyper-networks that all tasks share generate every task's adapters and their LayerNorms.

Paper: Karimi Mahabadi et al., ACL 2021, https://arxiv.org/abs/2106.04489 (section 2); the released code's form and
sizes:
    v = LN(MLP([z_t; l_b])),   task embedding z_t, block embedding l_b
    A(h) = h + scale(v) * LN(W_up(v) act(W_down(v) h + b_down(v)) + b_up(v)) + shift(v)
after the attention and after the MLP of every block, each of the two places with linear hyper-networks of its own.
Differs from the paper: a pyramid has blocks of several widths, so there is one set of hyper-networks per width, or per
block as in the paper's HYPERFORMER, there without l_b. Those of scale and shift start at zero, not N(0, 0.01^2), so
that the model starts as the frozen backbone. The backbone's own norms stay frozen; the released configuration trains
them. The 72.77 M that Liu et al., 2022, https://arxiv.org/abs/2210.03265, print for Swin-T and 4 tasks are not
reproduced: their sizes are not known to us.
"""

from functools import partial
from typing import Literal

from methods._hyper import AdapterNetworks, HyperAdapter, JointEmbedding, TaskEmbedding
from methods._layers import PLACES, Activation, Behind, Place, bottleneck_products, bottleneck_sums, bottleneck_width
from petl_bench.config import MethodConfig, Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, closed


@METHODS.register("hyperformer")
class Hyperformer(Method):
    """Generated adapters after the attention and the MLP of every block."""

    paper = "https://arxiv.org/abs/2106.04489"
    executions = ("forked",)
    scopes = ("mixed",)
    needs = ("attn.proj", "mlp")

    class Config(MethodConfig):
        """``rho``: width over bottleneck; ``embedding``, ``hidden``, ``projected``: sizes of z_t, of the MLP and of v.

        ``place``: behind which modules adapters stand; ``networks``: what has a set of hyper-networks of its own.
        """

        rho: Positive = 32
        embedding: Positive = 64
        hidden: Positive = 128
        projected: Positive = 64
        activation: Activation = "gelu"
        place: Place = "both"
        networks: Literal["per-width", "per-block"] = "per-width"

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return the modules that adapters stand behind."""
        return PLACES[config.place] if isinstance(config, Hyperformer.Config) else cls.needs

    def adapt(self) -> None:
        """Put an adapter behind every place; places of one kind and width (or block) share their hyper-networks."""
        c = self.config
        tasks = TaskEmbedding(self.tasks, c.embedding, std=1.0)
        joint = JointEmbedding(len(self.widths), c.embedding, c.hidden, c.projected)
        sets: dict[tuple[str, int], AdapterNetworks] = {}
        for site in self.backbone.sites(*PLACES[c.place]):
            key = (site.kind, site.width if c.networks == "per-width" else site.block)
            if key not in sets:
                inner = bottleneck_width(site.width, c.rho)
                sets[key] = AdapterNetworks(c.projected, site.width, inner, c.activation)
            branch = HyperAdapter(tasks, joint, sets[key], site.block)
            self.backbone.replace(site, Behind(site.module, branch))

    def expected_parameters(self) -> Counts:
        """A set is (p + 1) (2 C r + r + C + 2C); beside it block embeddings, the MLP with its LN, and T embeddings."""
        c = self.config
        owners = sorted({*self.widths}) if c.networks == "per-width" else self.widths
        return Counts(
            per_task=closed("T * e", T=len(self.tasks), e=c.embedding),
            generator=closed(
                "places * (p + 1) * (2*sum_Cr + sum_r + 3*sum_C) + blocks*e + (2*e + 1)*h + (h + 1)*p + 2*p",
                places=len(PLACES[c.place]),
                blocks=len(self.widths),
                e=c.embedding,
                h=c.hidden,
                p=c.projected,
                **bottleneck_sums(owners, c.rho),
            ),
        )

    def expected_macs(self, geometry: Geometry) -> int | None:
        """An adapter a token; v in two layers, and all that v generates, a block; both at every place."""
        c, places = self.config, len(PLACES[self.config.place])
        products = partial(bottleneck_products, rho=c.rho)
        embedding = 2 * c.embedding * c.hidden + c.hidden * c.projected

        def generated(width: int) -> int:
            return embedding + c.projected * (products(width) + bottleneck_width(width, c.rho) + 3 * width)

        added = geometry.per_token(products) + geometry.per_block(generated)
        return self.macs_of_passes(geometry, places * added)
