"""VMT-Adapter-Lite: VMT-Adapter whose two projections, or whose blocks, share their weights.

Paper: Xin et al., AAAI 2024, https://arxiv.org/abs/2312.08733 (abstract; no public code).
Differs from the paper: a reconstruction. The paper states: parameters shared between down- and up-projections; 0.36 %
of the parameters of four backbones. Several forms have as many, so that the count proves none of them. Ours:
    sharing = tied           W_up = W_down^T, rho = 6, alpha and beta at width C: 399,916 on Swin-T for 4 tasks
    sharing = stage-tied     one tied projection for the blocks of a stage, rho = 2; alpha and beta once a stage, at
                             width r: 399,604
    sharing = stage-untied   one W_down and one W_up for the blocks of a stage, rho = 4; likewise: 396,360
with biases of their own for both projections and the block's frozen norm2 in front. A tied W_up cannot start at zero:
s is trained in its place, one scalar a block or a stage, from zero. All else is VMT-Adapter's (methods/vmt.py).
"""

from typing import Any, Literal, Self

from pydantic import model_validator

from methods._layers import PerTaskLinear
from methods._tap import TiedUp
from methods._vmt import DesignSpace, ReadOutMethod
from petl_bench.backbones.base import Block
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts

DEFAULTS: dict[str, dict[str, Any]] = {
    "stage-tied": {"rho": 2, "extract_at": "bottleneck"},
    "stage-untied": {"rho": 4, "extract_at": "bottleneck"},
}


@METHODS.register("vmt-lite")
class VMTLite(ReadOutMethod):
    """VMT-Adapter with tied projections in every block, or with one adapter a stage."""

    paper = "https://arxiv.org/abs/2312.08733"
    executions = ("tapped", "side", "forked", "shared")
    scopes = ("mixed",)
    needs = ("mlp", "attention-halves", "input-norms")

    class Config(DesignSpace):
        """``sharing``: which weights are one; the defaults of ``rho`` and ``extract_at`` go with it."""

        sharing: Literal["tied", "stage-tied", "stage-untied"] = "tied"
        norm: Literal["own", "block"] = "block"
        rho: Positive = 6

        @model_validator(mode="before")
        @classmethod
        def defaults_of_the_sharing(cls, values: Any) -> Any:
            """Fill in what goes with the sharing; where nothing is extracted, it is extracted nowhere."""
            if not isinstance(values, dict):
                return values  # no section at all, which is refused after this
            defaults = dict(DEFAULTS.get(str(values.get("sharing")), {}))
            if values.get("extract") == "none":
                defaults.pop("extract_at", None)
            return {**defaults, **values}

        @model_validator(mode="after")
        def a_trained_scale_has_no_value(self) -> Self:
            """Refuse a fixed s where s is trained."""
            if self.sharing != "stage-untied":
                self.require("scale", 1.0, f"sharing = {self.sharing!r} trains s, from zero")
            return self

    @property
    def sharing(self) -> str:
        """Which weights are one."""
        assert isinstance(self.config, VMTLite.Config)
        return self.config.sharing

    def places(self) -> list[list[Block]]:
        """Return the blocks one by one, or stage by stage."""
        blocks = self.backbone.blocks
        if self.sharing == "tied":
            return [[block] for block in blocks]
        return [[block for block in blocks if block.stage == s] for s in range(len(self.backbone.stages))]

    def projections(self, width: int, inner: int) -> tuple[PerTaskLinear, PerTaskLinear | TiedUp]:
        """Return W_down, Kaiming-uniform(sqrt 5), and its transpose or a W_up that starts at zero."""
        down = PerTaskLinear(width, inner, None, start="kaiming")
        untied = self.sharing == "stage-untied"
        return down, PerTaskLinear(inner, width, None, start="zero") if untied else TiedUp(down)

    def expected_parameters(self) -> Counts:
        """C r once if tied, biases r + C, and s; each summed over blocks, or over stages."""
        if self.sharing == "stage-untied":
            return self.counts("2*sum_Cr + sum_r + sum_C")
        return self.counts("sum_Cr + sum_r + sum_C + scales", scales=len(self.places()))
