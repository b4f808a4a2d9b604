"""LoRA: a trained low-rank update beside frozen linear layers, those of query and value by default.

Paper: Hu et al., 2021, https://arxiv.org/abs/2106.09685 (section 4.1, equation 3); the multi-task setting, rank 4 on
query and value with one trained LayerNorm pair a block, reproduces the parameter count 0.32 M of Liu et al., 2022
(Polyhistor), https://arxiv.org/abs/2210.03265. Variants: ``weight = "dora"``, Liu et al., 2024,
https://arxiv.org/abs/2402.09353 (equation 5, norms without gradient as in section 4.3); ``start = "pissa"``, Meng et
al., 2024, https://arxiv.org/abs/2404.02948 (equations 2 to 4); ``rank_schedule = "prefix"``, the shrinking ranks of
FAAR, 2026, https://arxiv.org/abs/2603.20403, and its released code.
Differs from the paper: which LayerNorm is trained is our reading of that count (norm2 of each block, a copy per task);
``norm = "none"`` is LoRA alone. alpha = rank, so the scale is 1. ``targets = "all"`` are the linear layers of every
block, qkv as one, and not those between the stages. PiSSA decomposes what it updates, so query and value by themselves,
and takes the product off the frozen weight: in bfloat16 the start is the pre-trained function only up to rounding.
FAAR prunes after every epoch, here after ``interval`` backward passes; its code moves the most important ranks to the
front without their moments in the optimiser, where ours keeps the order; its spectral decoder is no part of a method.
"""

from typing import Literal, Self

from pydantic import model_validator
from torch import nn

from methods._layers import train_norms
from methods._low_rank import EVERY_LINEAR, QUERY_AND_VALUE, LowRankUpdate, MagnitudeAndDirection, Parts
from petl_bench.config import MethodConfig, Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig

TARGETS: dict[str, dict[str, Parts]] = {"query-value": QUERY_AND_VALUE, "all": EVERY_LINEAR}
INTERVAL = 50


@METHODS.register("lora")
class LoRA(Method):
    """Low-rank updates in every block, per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2106.09685"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("attn.qkv", "norm2")

    class Config(ScopedConfig):
        """``rank``: r; ``norm``: which norm of a block is trained beside; ``targets``: what is updated, and how."""

        rank: Positive = 4
        norm: Literal["norm2", "none"] = "norm2"
        targets: Literal["query-value", "all"] = "query-value"
        weight: Literal["plain", "dora"] = "plain"
        start: Literal["kaiming", "pissa"] = "kaiming"
        rank_schedule: Literal["fixed", "prefix"] = "fixed"
        interval: Positive = INTERVAL

        @model_validator(mode="after")
        def fixed_ranks_have_no_interval(self) -> Self:
            """Refuse an interval of nothing."""
            if self.rank_schedule == "fixed" and self.interval != INTERVAL:
                raise ValueError(f"interval = {self.interval}: ranks are fixed; set rank_schedule = 'prefix' with it")
            return self

    config: Config

    @classmethod
    def needs_of(cls, config: MethodConfig) -> tuple[str, ...]:
        """Return what is updated, and the norm that is trained beside."""
        if not isinstance(config, LoRA.Config):
            return cls.needs
        return (*TARGETS[config.targets], *(() if config.norm == "none" else ("norm2",)))

    def adapt(self) -> None:
        """Wrap every target, and replace every norm2 by a trained copy."""
        config = self.config
        layer = MagnitudeAndDirection if config.weight == "dora" else LowRankUpdate
        interval = config.interval if config.rank_schedule == "prefix" else None
        targets = TARGETS[config.targets]
        self.hidden = 0
        for site in self.backbone.sites(*targets):
            linear: nn.Linear = site.module
            self.hidden += linear.out_features if site.kind == "mlp.fc1" else 0
            update = layer(
                linear, config.rank, self.scope_tasks, targets[site.kind], start=config.start, interval=interval
            )
            self.backbone.replace(site, update)
        kinds = ("norm2",) if config.norm == "norm2" else ()
        self.norm_vectors = train_norms(self.backbone, kinds, self.scope_tasks)

    def inactive_parameters(self) -> int:
        """Count the ranks that are stored and left out."""
        return sum(layer.inactive() for layer in self.modules() if isinstance(layer, LowRankUpdate))

    def expected_parameters(self) -> Counts:
        """Return r (inputs + outputs) of A and B: 2 C for query and value, or 4 C, 2 C, C + H, H + C; norm 2C; m."""
        of_all = self.config.targets == "all"
        formula = "r*(8*sum_C + 2*sum_H)" if of_all else "4*r*sum_C"
        formula += f" + {self.norm_vectors}*sum_C" if self.norm_vectors else ""
        magnitude = "5*sum_C + sum_H" if of_all else "2*sum_C"
        formula += f" + {magnitude}" if self.config.weight == "dora" else ""
        return self.scoped(formula, r=self.config.rank, sum_C=sum(self.widths), sum_H=self.hidden)

    def expected_macs(self, geometry: Geometry) -> int | None:
        """A and B as they are computed, B one matrix [3C, 2r] with zeros for the keys; B A once a row for its norms."""
        rank, added = self.config.rank, 0
        for stage in geometry.stages:
            width, hidden = stage.width, stage.hidden
            if self.config.targets == "all":
                token = rank * (8 * width + 2 * hidden)
                product = rank * (4 * width * width + 2 * width * hidden)
            else:
                token, product = 2 * rank * (width + 3 * width), 2 * rank * width * width
            added += stage.depth * (stage.tokens * token + (product if self.config.weight == "dora" else 0))
        return self.macs_of_passes(geometry, added)
