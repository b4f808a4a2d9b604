"""What methods may need of a backbone, and how a refusal says it."""

from collections.abc import Iterable
from typing import Any

# Modules inside a block that a method may read or replace.
SITES = ("attn", "attn.qkv", "attn.proj", "mlp", "mlp.fc1", "mlp.fc2", "norm1", "norm2")
# What else a method may need of a family, and how a refusal says it.
ABILITIES = {
    "attention-halves": "blocks that divide into an attention half and an MLP half",
    "attention-values": "attention whose values can be read in front of the output projection",
    "input-norms": "norms in front of the attention and the MLP",
    "plain-mlps": "MLPs that are one linear layer, an activation and another linear layer",
    "patch-merging": "linear layers that merge patches between the stages",
    "relative-position-tables": "relative-position tables",
    "scores-in-windows": "attention in windows whose scores can be read",
}


def in_words(needs: Iterable[str]) -> str:
    """Say needs as a refusal does: ``attn.qkv, norm2 in every block; relative-position tables``."""
    needs = list(needs)
    modules = ", ".join(need for need in needs if need not in ABILITIES)
    return "; ".join(
        [*([f"{modules} in every block"] if modules else []), *(ABILITIES[n] for n in needs if n in ABILITIES)]
    )


def holds(block: Any, need: str) -> bool:
    """Return whether a block of a family that has what is needed holds it itself; what is of no block, all do."""
    if need == "plain-mlps":
        fc1, fc2 = _inside(block, "mlp.fc1"), _inside(block, "mlp.fc2")
        return fc1 is not None and fc2 is not None and fc1.out_features == fc2.in_features  # gated ones halve it
    return need not in SITES or _inside(block, need) is not None


def _inside(module: Any, path: str) -> Any:
    for name in path.split("."):
        module = getattr(module, name, None)
    return module
