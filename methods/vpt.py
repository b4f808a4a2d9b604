"""VPT: trained prompt tokens that take part in the attention of a frozen trunk.

Paper: Jia et al., ECCV 2022, https://arxiv.org/abs/2203.12119 (section 3.2, equations 4-8; Swin: section 4.2); prompts
per task, 50 at every block (deep) or at the first one (shallow), reproduce the parameter counts 0.88 M and 0.02 M of
Liu et al., 2022 (Polyhistor), https://arxiv.org/abs/2210.03265.
Differs from the paper: no dropout on prompts and no projection of them (the released code's defaults). Swin as in
that code: prompts are copied into every window, without relative-position bias and mask, and averaged over windows
after attention, but of each image alone (that code mixes the images of a batch once their prompts differ). In the
paper prompts are "ignored during patch merging": read here as ``prompts_at_merge = "drop"``, shallow prompts end with
the first stage; with "carry" they go through it, four copies in place of the merged tokens, as in the released code.
On a plain ViT, which merges nothing, both carry them to the end.
The embedded backbone has 10 prompts by default: its windows hold 16 tokens, not 49.
"""

import math
from typing import Literal, Self

from pydantic import model_validator

from methods._prompts import PromptedBlock, Prompts
from petl_bench.config import Positive
from petl_bench.method import METHODS, Counts, Geometry, Method, ScopedConfig


@METHODS.register("vpt")
class VPT(Method):
    """Prompts at every block, or at the first one and carried on; per task (forked) or shared by all."""

    paper = "https://arxiv.org/abs/2203.12119"
    executions = ("forked", "shared")
    scopes = ("per-task", "shared")
    needs = ("attn", "attention-halves", "attention-values")
    identity_at_start = False
    embedded_defaults = {"prompts": 10}

    class Config(ScopedConfig):
        """``prompts``: p; ``deep``: fresh ones at each block; ``prompts_at_merge``: what becomes of shallow ones."""

        prompts: Positive = 50
        deep: bool = True
        prompts_at_merge: Literal["drop", "carry"] = "drop"

        @model_validator(mode="after")
        def only_shallow_prompts_are_carried(self) -> Self:
            """Refuse a setting that would have no effect."""
            if self.deep and self.prompts_at_merge == "carry":
                raise ValueError(
                    'prompts_at_merge = "carry" has no effect on deep prompts, which are fresh at each block. '
                    "Allowed: drop, or with it type: --set method.deep=false"
                )
            return self

    config: Config

    def adapt(self) -> None:
        """Wrap every block that prompts reach; the bound is the released code's, from patch size and first width."""
        deep, first_width = self.config.deep, self.widths[0]
        bound = math.sqrt(6 / (3 * math.prod(self.backbone.trunk.patch_embed.patch_size) + first_width))
        # Patch merging changes the width, so that dropped prompts reach as far as the first one.
        everywhere = deep or self.config.prompts_at_merge == "carry"
        reached = [block for block in self.backbone.blocks if everywhere or block.width == first_width]
        for number, block in enumerate(reached):
            fresh = deep or number == 0
            own = Prompts(self.config.prompts, block.width, bound, self.scope_tasks) if fresh else None
            hands_on = not deep and number < len(reached) - 1
            self.backbone.replace(block, PromptedBlock(self.transformer, block, own, hands_on=hands_on))

    def expected_parameters(self) -> Counts:
        """P prompts of width C, at every block or at the first one."""
        if self.config.deep:
            return self.scoped("p*sum_C", p=self.config.prompts, sum_C=sum(self.widths))
        return self.scoped("p*C", p=self.config.prompts, C=self.widths[0])

    def expected_macs(self, geometry: Geometry) -> int | None:
        """Every token attends to p more, whose keys and values a block takes once an image."""
        p = self.config.prompts
        if not self.config.deep:
            return None
        met = geometry.per_token(lambda c: 2 * p * c) + geometry.per_block(lambda c: p * 2 * c * c)
        return self.macs_of_passes(geometry, met)
