"""The trunk's own parts that some methods train beside what they add."""

from collections.abc import Sequence
from typing import Literal

from torch import nn

from methods._affine import TABLE
from petl_bench.backbones.base import Backbone

Native = Literal["patch_embed", "norms", "tables", "reductions"]


def train_native(backbone: Backbone, names: Sequence[Native]) -> dict[str, int]:
    """Unfreeze parts of a trunk and return their numbers of parameters, by name; what a trunk lacks is left out.

    Args:
        backbone: Whose parts.
        names: The convolutions of the patch embedding, all norms, relative-position tables, the linear maps of merging.
    """
    stem = [m for part in backbone.stem_modules() for m in part.modules() if isinstance(m, nn.Conv2d)]
    attentions = [site.module for site in backbone.sites("attn") if hasattr(site.module, TABLE)]
    parts: dict[Native, list[nn.Parameter]] = {
        "patch_embed": [p for conv in stem for p in conv.parameters()],
        "norms": [p for norm in backbone.norms() for p in norm.parameters()],
        "tables": [getattr(attention, TABLE) for attention in attentions],
        "reductions": [operation.module.weight for operation in backbone.reductions()],
    }
    return {name: sum(p.requires_grad_(True).numel() for p in parts[name]) for name in names if parts[name]}
