"""The whole state of a training in one safetensors file: tensors as such, everything else as JSON beside them.

A file is replaced by a complete one or stays as it was. It says to which run, which training loop and which step it
belongs, and carries a digest, so that another one's, a truncated or an overwritten one is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from petl_bench.files import appearing
from petl_bench.records.working import CHECKPOINT_FORMAT, CHECKPOINT_KEY, CheckpointHeader

Encoded = Any


class RefusedError(ValueError):
    """A file that is no state of this run; the message says why."""


def write_checkpoint(path: Path, state: Mapping[str, Any], *, fingerprint: str, engine_version: int, step: int) -> None:
    """Put the state of a training in place of an older one.

    Args:
        path: The file.
        state: Tensors and plain values in mappings, lists and tuples.
        fingerprint: Of the run.
        engine_version: Of the training loop.
        step: How many steps lie behind.

    Raises:
        OSError: It cannot be written; the older file is as it was.
    """
    tensors: dict[str, Tensor] = {}
    plain = _encoded(state, tensors)
    header = CheckpointHeader(
        format=CHECKPOINT_FORMAT,
        fingerprint=fingerprint,
        engine_version=engine_version,
        step=step,
        saved=datetime.now(UTC).isoformat(timespec="seconds"),
        digest=_digest(tensors, plain),
    )
    with appearing(path) as scratch:
        try:
            save_file(tensors, scratch, metadata={CHECKPOINT_KEY: header.model_dump_json(), "state": plain})
        except SafetensorError as error:
            raise OSError(str(error)) from None


def read_checkpoint(path: Path, *, fingerprint: str, engine_version: int) -> tuple[CheckpointHeader, dict[str, Any]]:
    """Read the state of a training.

    Raises:
        RefusedError: The file is none, is damaged, or belongs to another run or another version of the loop.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
        header = CheckpointHeader.model_validate_json(metadata[CHECKPOINT_KEY])
        plain = metadata["state"]
    except (OSError, SafetensorError, KeyError, ValidationError) as error:
        raise RefusedError(f"it is no checkpoint, or not a whole one ({type(error).__name__})") from None
    if header.format != CHECKPOINT_FORMAT:
        raise RefusedError(f"it has format {header.format}, this version reads {CHECKPOINT_FORMAT}")
    if header.engine_version != engine_version:
        raise RefusedError(f"version {header.engine_version} of the training loop wrote it, this is {engine_version}")
    if header.fingerprint != fingerprint:
        raise RefusedError("it belongs to a run of other settings, weights or data")
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError) as error:
        raise RefusedError(f"it is not a whole one ({type(error).__name__})") from None
    if _digest(tensors, plain) != header.digest:
        raise RefusedError("its content is not what was written")
    return header, _decoded(json.loads(plain), tensors)


def _encoded(value: Any, tensors: dict[str, Tensor]) -> str:
    """Return the plain part of a state as JSON; tensors go into ``tensors`` by number."""

    def encode(part: Any) -> Encoded:
        if isinstance(part, Tensor):
            name = str(len(tensors))
            tensors[name] = part.detach().cpu().contiguous().clone()
            return {"tensor": name}
        if isinstance(part, Mapping):
            return {"mapping": [[encode(key), encode(inner)] for key, inner in part.items()]}
        if isinstance(part, tuple):
            return {"tuple": [encode(inner) for inner in part]}
        if isinstance(part, list):
            return [encode(inner) for inner in part]
        if part is None or isinstance(part, (bool, int, float, str)):
            return part
        raise TypeError(f"a training's state holds a {type(part).__name__}, which is neither a tensor nor plain")

    return json.dumps(encode(value))


def _decoded(part: Encoded, tensors: Mapping[str, Tensor]) -> Any:
    match part:
        case {"tensor": name}:
            return tensors[name]
        case {"mapping": pairs}:
            return {_decoded(key, tensors): _decoded(inner, tensors) for key, inner in pairs}
        case {"tuple": parts}:
            return tuple(_decoded(inner, tensors) for inner in parts)
        case list():
            return [_decoded(inner, tensors) for inner in part]
        case _:
            return part


def _digest(tensors: Mapping[str, Tensor], plain: str) -> str:
    hashed = hashlib.blake2b(plain.encode(), digest_size=32)
    for name in sorted(tensors, key=int):
        tensor = tensors[name]
        hashed.update(f"{name} {list(tensor.shape)} {tensor.dtype}".encode())
        hashed.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return hashed.hexdigest()
