"""A safetensors file of weights: it holds exactly the network, but for head and final norm, or it is refused."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from petl_bench.errors import UsageError

HEADS = ("head", "head_dist", "norm", "fc_norm", "pre_logits", "attn_pool")
"""timm's names of what follows the last block, which no backbone here has."""


def load_into(trunk: Any, path: Path) -> None:
    """Put the tensors of a file into a trunk without head and final norm.

    Raises:
        UsageError: The file cannot be read, lacks a tensor, has one of another shape, or holds more than the network.
    """
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"The weights file {str(path)!r} cannot be read: {error}.\nA safetensors file is expected."
        ) from None
    own = trunk.state_dict()
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise UsageError(
            f"The weights file {str(path)!r} does not fit this backbone: {len(wrong)} of {len(own)} tensors are "
            f"missing or of another shape, first {wrong[0]!r}."
        )
    more = left_over(state, trunk)
    if more:
        raise UsageError(
            f"The weights file {str(path)!r} does not fit this backbone: it holds {len(more)} tensors more than the "
            f"network, first {more[0]!r}, so it is of a larger or another one.\nType: petl-bench list backbones"
        )
    trunk.load_state_dict({key: state[key].to(own[key].dtype) for key in own})


def left_over(keys: Iterable[str], trunk: Any) -> list[str]:
    """Return the keys that belong neither to the trunk nor to a head or final norm.

    Buffers that the trunk computes by itself, such as window masks, are its own: older files hold them.
    """
    own = {*trunk.state_dict(), *(name for name, _ in trunk.named_buffers())}
    return sorted(key for key in keys if key not in own and key.partition(".")[0] not in HEADS)


def content_hash(path: Path) -> str:
    """Return the sha256 of a file, the same wherever it lies.

    Raises:
        UsageError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"The weights file {str(path)!r} cannot be read: {error.strerror}.") from None
