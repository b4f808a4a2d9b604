"""A safetensors file of weights: it holds exactly the network, but for heads and final norm, or it is refused.

Names and shapes of other layouts (official Swin, DINOv2, MAE, other image sizes) become timm's by timm's own rules.
"""

import contextlib
import hashlib
import io
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from petl_bench.errors import UsageError

HEADS = ("head_dist", "norm", "fc_norm", "pre_logits", "attn_pool", "mask_token")
"""Names of what follows the last block or is there for pre-training, which no backbone here has; names that end in
``head`` and begin with ``decoder_`` (MAE) are others."""
WRAPPERS = ("module.", "_orig_mod.", "model.", "backbone.")
PICKLES = (b"PK\x03\x04", b"\x80")
CONVERT = """python -c "import sys, torch, safetensors.torch as s; d = torch.load(sys.argv[1], map_location='cpu', \
weights_only=True); d = next((d[k] for k in ('state_dict', 'model', 'teacher') if k in d), d); \
s.save_file({k: v.clone() for k, v in d.items() if torch.is_tensor(v)}, sys.argv[2])" """
"""Turns a pickle into safetensors; torch's unpickler runs nothing of it."""


def load_into(trunk: Any, path: Path) -> tuple[str, ...]:
    """Put the tensors of a file into a trunk without head and final norm.

    Returns:
        What was done to names and shapes, a line for each kind of thing.

    Raises:
        UsageError: As ``tensors_for``.
    """
    tensors, told = tensors_for(trunk, path)
    own = trunk.state_dict()
    trunk.load_state_dict({key: tensor.to(own[key].dtype) for key, tensor in tensors.items()})
    return told


def tensors_for(trunk: Any, path: Path) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the tensors of a file as a trunk, which may be on the meta device, loads them, and what was done to them.

    Raises:
        UsageError: The file cannot be read, lacks a tensor, has one of another shape, or holds more than the network.
    """
    there, wrappers = _unwrapped(_read(path), path)
    state = _renamed(there, trunk)
    own = trunk.state_dict()
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise UsageError(
            f"The weights file {str(path)!r} does not fit this backbone: {len(wrong)} of {len(own)} tensors are "
            f"missing or of another shape, first {wrong[0]!r}.{_library(there)}"
        )
    more = left_over(state, trunk)
    if more:
        raise UsageError(
            f"The weights file {str(path)!r} does not fit this backbone: it holds {len(more)} tensors more than the "
            f"network, first {more[0]!r}, so it is of a larger or another one.\nType: petl-bench list backbones"
        )
    taken = {key: state[key] for key in own}
    unusable = next((key for key, tensor in taken.items() if not bool(torch.isfinite(tensor).all())), None)
    if unusable is not None:
        raise UsageError(
            f"The weights file {str(path)!r} holds NaN or infinity, first in {unusable!r}: nothing can be trained from "
            "it.\nType: another file, or --set backbone.weights=random"
        )
    return taken, tuple(f"{path.name}: {line}" for line in _changes(there, taken, wrappers))


def left_over(keys: Iterable[str], trunk: Any) -> list[str]:
    """Return the keys that belong neither to the trunk nor to a head or final norm.

    Buffers that the trunk computes by itself, such as window masks, are its own: older files hold them.
    """
    own = {*trunk.state_dict(), *(name for name, _ in trunk.named_buffers())}

    def is_head(key: str) -> bool:
        first = key.partition(".")[0]
        return first in HEADS or first.endswith("head") or first.startswith("decoder_")

    return sorted(key for key in keys if key not in own and not is_head(key))


def hash_of(tensors: Mapping[str, Tensor]) -> str:
    """Return the sha256 of names, shapes and values, the same in any file and any order."""
    seen = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        seen.update(f"{name} {list(tensor.shape)} {tensor.dtype} ".encode())
        seen.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return seen.hexdigest()


def content_hash(path: Path) -> str:
    """Return the sha256 of a file, the same wherever it lies."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(path: Path) -> dict[str, Tensor]:
    """Read a file; half precision becomes float32, so that one network has one hash."""
    if path.exists() and not path.is_file():
        raise UsageError(
            f"The weights file {str(path)!r} is no regular file but a folder, a pipe or a device.\n"
            "A safetensors file is expected."
        )
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        if path.suffix != ".npz" and path.is_file() and _first_bytes(path).startswith(PICKLES):
            raise UsageError(
                f"The weights file {str(path)!r} is a pickle, which can run code when it is read: only safetensors "
                f"files are.\nType: {CONVERT}{path} {path.with_suffix('.safetensors')}"
            ) from None
        raise UsageError(
            f"The weights file {str(path)!r} cannot be read: {error}.\nA safetensors file is expected."
        ) from None
    return {key: tensor.float() if tensor.is_floating_point() else tensor for key, tensor in state.items()}


def _first_bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4)


def _unwrapped(state: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], str]:
    """Take off what wrappers put in front of names; what is outside of a wrapper keeps its name."""
    plain, taken = dict(state), ""
    while wrapper := next((w for w in WRAPPERS if any(key.startswith(w) for key in plain)), None):
        inside = {key.removeprefix(wrapper): plain[key] for key in plain if key.startswith(wrapper)}
        outside = {key: tensor for key, tensor in plain.items() if not key.startswith(wrapper)}
        if twice := sorted(inside.keys() & outside.keys()):
            raise UsageError(
                f"The weights file {str(path)!r} holds two networks: {twice[0]!r} and {wrapper + twice[0]!r}.\n"
                "Write a file with one of them."
            )
        plain, taken = inside | outside, taken + wrapper
    return plain, taken


def _renamed(state: Mapping[str, Tensor], trunk: Any) -> dict[str, Tensor]:
    """Give tensors timm's names and the sizes of the trunk, by the rules of timm's file of this network."""
    rules: Callable[..., dict[str, Tensor]] | None
    rules = getattr(sys.modules[type(trunk).__module__], "checkpoint_filter_fn", None)
    if rules is None:
        return dict(state)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # some rules print
            return rules(dict(state), trunk)
    except Exception:  # whatever a rule meets in names that it does not know: the plain names say what is wrong
        return dict(state)


def _library(keys: Iterable[str]) -> str:
    if any(part in key for key in keys for part in ("embeddings.", "encoder.layer.")):
        return (
            " Its names are those of the library transformers. timm has most of these networks under a name of its "
            "own: petl-bench list backbones, with --set backbone.weights=pretrained."
        )
    return ""


def _changes(there: Mapping[str, Tensor], taken: Mapping[str, Tensor], wrappers: str) -> list[str]:
    name_of = {id(tensor): key for key, tensor in there.items()}
    renamed = [(old, new) for new, tensor in taken.items() if (old := name_of.get(id(tensor), new)) != new]
    resized = [key for key, tensor in taken.items() if key in there and there[key].shape != tensor.shape]
    lines = [f"{wrappers!r} was taken off the names"] if wrappers else []
    if renamed:
        lines.append(f"{len(renamed)} tensors have other names in timm, such as {renamed[0][0]} ({renamed[0][1]})")
    by_kind: dict[str, list[str]] = {}
    for key in resized:
        by_kind.setdefault(key.rpartition(".")[2], []).append(key)
    for keys in by_kind.values():
        old, new = ("x".join(map(str, shapes[keys[0]].shape)) for shapes in (there, taken))
        lines.append(f"{len(keys)} tensors were resized by timm, such as {keys[0]} from {old} to {new}")
    return lines
