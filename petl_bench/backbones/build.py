"""Build a backbone by name and load its weights: random, pretrained, or from a safetensors file."""

import hashlib
import pickle
from functools import cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.embedded import MEAN, STD, WEIGHTS, embedded_trunk
from petl_bench.backbones.names import EMBEDDED, BackboneName, find_backbone
from petl_bench.backbones.swin import SwinBackbone
from petl_bench.backbones.vit import VitBackbone
from petl_bench.errors import UsageError

FAMILIES: dict[str, type[SwinBackbone] | type[VitBackbone]] = {"swin": SwinBackbone, "vit": VitBackbone}


def build_backbone(name: str, *, weights: str, image_size: int, seed: int) -> Backbone:
    """Build a frozen backbone for square images.

    Args:
        name: ``embedded`` or a timm name of the Swin or plain ViT family.
        weights: ``random`` (drawn from ``seed``), ``pretrained`` (timm's own, or the shipped ones of ``embedded``), or
            ``file:PATH.safetensors``.
        image_size: Height and width in pixels.
        seed: Seed of random weights.

    Raises:
        UsageError: Unknown name, an image size that does not fit, or weights that cannot be had.
    """
    known = find_backbone(name)
    _check_weights(weights)
    try:
        with draws.seeded(seed, "backbone"):
            trunk = _trunk(name, image_size, download=weights == "pretrained" and name != EMBEDDED)
    except UsageError:
        raise
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise UsageError(
            f"The backbone {name!r} cannot be built for images of {image_size} pixels: {error}\n"
            f"Its native size is {known.image_size}. Type: --set dataset.image_size={known.image_size}"
        ) from None
    _check_image_size(trunk, known, image_size)
    mean, std = (MEAN, STD) if name == EMBEDDED else (trunk.pretrained_cfg["mean"], trunk.pretrained_cfg["std"])
    backbone = FAMILIES[known.family](trunk, mean, std)
    path = _weights_path(name, weights)
    if path is not None and not torch.empty(0).is_meta:
        _load(backbone, path)
    return backbone


def _trunk(name: str, image_size: int, *, download: bool) -> Any:
    if torch.empty(0).is_meta and not download:
        return pickle.loads(_pickled_on_meta(name, image_size))
    return _new_trunk(name, image_size, download=download)


@cache
def _pickled_on_meta(name: str, image_size: int) -> bytes:
    """A network without memory, which unpickles in a tenth of the time that it takes to build: counting builds many."""
    return pickle.dumps(_new_trunk(name, image_size, download=False))


def _new_trunk(name: str, image_size: int, *, download: bool) -> Any:
    if name == EMBEDDED:
        return embedded_trunk(image_size)
    create = partial(timm.create_model, name, img_size=image_size, drop_path_rate=0.0)
    if not download:
        return create(pretrained=False)
    try:
        return create(pretrained=True)
    except Exception as error:  # any of the hub's, the network's or timm's own errors
        raise UsageError(
            f"The pretrained weights of {name!r} could not be loaded: {type(error).__name__}: {error}\n"
            "Without a network, type: --set backbone.weights=file:PATH.safetensors   or   --set backbone.weights=random"
        ) from error


def _check_image_size(trunk: Any, known: BackboneName, image_size: int) -> None:
    patch: int = trunk.patch_embed.patch_size[0]
    if image_size % patch:
        fitting = [size for size in (image_size // patch * patch, -(-image_size // patch) * patch) if size]
        raise UsageError(
            f"Images of {image_size} pixels do not fit the patches of {patch} pixels of {known.name!r}. The nearest "
            f"sizes that fit: {', '.join(map(str, fitting))}; its native size is {known.image_size}.\n"
            f"Type: --set dataset.image_size={fitting[-1]}"
        )


def _check_weights(weights: str) -> None:
    if weights in ("random", "pretrained") or weights.startswith("file:"):
        return
    raise UsageError(
        f"backbone.weights = {weights!r}: allowed are random, pretrained and file:PATH.safetensors.\n"
        "Type: petl-bench run ... --set backbone.weights=pretrained"
    )


def _weights_path(name: str, weights: str) -> Path | None:
    if weights.startswith("file:"):
        return Path(weights.removeprefix("file:")).expanduser()
    return WEIGHTS if name == EMBEDDED and weights == "pretrained" else None


def _load(backbone: Backbone, path: Path) -> None:
    try:
        state = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(
            f"The weights file {str(path)!r} cannot be read: {error}.\nA safetensors file is expected."
        ) from None
    own = backbone.trunk.state_dict()
    wrong = [key for key in own if key not in state or state[key].shape != own[key].shape]
    if wrong:
        raise UsageError(
            f"The weights file {str(path)!r} does not fit this backbone: {len(wrong)} of {len(own)} tensors are "
            f"missing or of another shape, first {wrong[0]!r}."
        )
    backbone.trunk.load_state_dict({key: state[key].to(own[key].dtype) for key in own})


def weights_hash(name: str, weights: str) -> str:
    """Return what identifies the initial weights: the hash of the file, or the source of weights that have none here.

    Raises:
        UsageError: The file cannot be read.
    """
    _check_weights(weights)
    path = _weights_path(name, weights)
    if path is None:
        tag = timm.get_pretrained_cfg(name) if weights == "pretrained" else None
        return weights if tag is None else f"timm:{name}:{tag.tag}"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UsageError(f"The weights file {str(path)!r} cannot be read: {error.strerror}.") from None
