"""Build a backbone by name with random, pretrained or a file's weights, or from a network that is there already."""

import copy
import math
import pickle
from functools import cache, partial
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models.convnext import ConvNeXt
from timm.models.davit import DaVit
from timm.models.eva import Eva
from timm.models.pvt_v2 import PyramidVisionTransformerV2
from timm.models.resnet import ResNet
from timm.models.swin_transformer import SwinTransformer
from timm.models.swin_transformer_v2 import SwinTransformerV2
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.convnext import ConvNeXtBackbone
from petl_bench.backbones.davit import DaViTBackbone
from petl_bench.backbones.embedded import WEIGHTS, embedded_trunk
from petl_bench.backbones.eva import EvaBackbone
from petl_bench.backbones.names import EMBEDDED, HUB, SEEN_IN_PRETRAINING, BackboneName, find_backbone, hub_config
from petl_bench.backbones.normalise import normalisation_of, require_tag, tag_of
from petl_bench.backbones.pvtv2 import PVTv2Backbone
from petl_bench.backbones.resnet import ResNetBackbone
from petl_bench.backbones.swin import SwinBackbone
from petl_bench.backbones.swinv2 import SwinV2Backbone
from petl_bench.backbones.vit import VitBackbone
from petl_bench.backbones.weights_file import content_hash, hash_of, load_into, tensors_for
from petl_bench.config import ImageSize, Normalisation, height_and_width, in_words
from petl_bench.errors import UsageError

FAMILY_OF: dict[type[nn.Module], type[Backbone]] = {
    SwinTransformer: SwinBackbone,
    SwinTransformerV2: SwinV2Backbone,
    VisionTransformer: VitBackbone,
    Eva: EvaBackbone,
    PyramidVisionTransformerV2: PVTv2Backbone,
    DaVit: DaViTBackbone,
    ConvNeXt: ConvNeXtBackbone,
    ResNet: ResNetBackbone,
}
"""By timm's class of a network, its family; a subclass may walk its blocks in another way, so it is none."""
ROUND = (math.floor, math.ceil)
ANY_NORMALISATION = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
FAMILIES: dict[str, type[Backbone]] = {family.family: family for family in FAMILY_OF.values()}


def build_backbone(
    name: str, *, weights: str, image_size: ImageSize, seed: int, normalisation: str | Normalisation | None = None
) -> Backbone:
    """Build a frozen backbone for images of one size.

    Args:
        name: ``embedded``, a name or tag of timm, or ``hf-hub:owner/model``.
        weights: ``random`` (drawn from ``seed``), ``pretrained`` (timm's own, or the shipped ones of ``embedded``), or
            ``file:PATH.safetensors``.
        image_size: In pixels: of a square, or height and width.
        seed: Seed of random weights.
        normalisation: By what images are normalised; None: what the tag says.

    Raises:
        UsageError: Unknown name, an image size that does not fit, weights that cannot be had, or a normalisation that
            cannot be known.
    """
    _check_weights(weights)
    require_tag(name)
    with draws.seeded(seed, "backbone"):
        trunk = _fitting_trunk(name, image_size, download=weights == "pretrained" and name != EMBEDDED)
    by = normalisation_of(name, weights, getattr(trunk, "pretrained_cfg", None), normalisation)
    backbone = FAMILIES[find_backbone(name).family](trunk, by.mean, by.std)
    path = _weights_path(name, weights)
    if path is not None and not torch.empty(0).is_meta:
        backbone.mappings = load_into(backbone.trunk, path)
    return backbone


def _fitting_trunk(name: str, image_size: ImageSize, *, download: bool) -> Any:
    """Build timm's network for an image size, or say why it cannot be."""
    known = find_backbone(name)
    try:
        trunk = _trunk(name, image_size, download=download)
    except UsageError:
        raise
    except (AssertionError, RuntimeError, ValueError, TypeError) as error:
        raise UsageError(
            f"The backbone {name!r} cannot be built for images of {in_words(image_size)} pixels: {error}\n"
            f"Its native size is {known.image_size}. Type: --set dataset.image_size={known.image_size}"
        ) from None
    _check_image_size(trunk, known, image_size)
    return trunk


def wrap_backbone(trunk: nn.Module, normalisation: str | Normalisation | None = None) -> Backbone:
    """Build a frozen backbone from a copy of a timm network, which itself stays as it is.

    Args:
        trunk: The network with its weights.
        normalisation: By what images are normalised; None: what the network's ``pretrained_cfg`` says.

    Raises:
        UsageError: It is of no known family, or does not say its normalisation.
    """
    family = FAMILY_OF.get(type(trunk))
    if family is None:
        known = ", ".join(sorted(cls.__name__ for cls in FAMILY_OF))
        raise UsageError(
            f"A {type(trunk).__module__}.{type(trunk).__qualname__} is no backbone: a network of timm's is expected, "
            f"one of {known}, as timm.create_model(...) returns it.\nType: petl-bench list backbones"
        )
    name = type(trunk).__name__
    by = normalisation_of(name, "", getattr(trunk, "pretrained_cfg", None), normalisation)
    return family(copy.deepcopy(trunk), by.mean, by.std)


def _trunk(name: str, image_size: ImageSize, *, download: bool) -> Any:
    if torch.empty(0).is_meta and not download:
        return pickle.loads(_pickled_on_meta(name, image_size))
    return _new_trunk(name, image_size, download=download)


@cache
def _pickled_on_meta(name: str, image_size: ImageSize) -> bytes:
    """A network without memory, which unpickles in a tenth of the time that it takes to build: counting builds many."""
    return pickle.dumps(_new_trunk(name, image_size, download=False))


def _new_trunk(name: str, image_size: ImageSize, *, download: bool) -> Any:
    if name == EMBEDDED:
        return embedded_trunk(image_size)
    family = FAMILIES[find_backbone(name).family]
    sized = {"img_size": image_size} if family.takes_image_size else {}
    create = partial(timm.create_model, name, drop_path_rate=0.0, **sized, **family.creation)
    if not download:
        return create(pretrained=False)
    try:
        return create(pretrained=True)
    except Exception as error:  # any of the hub's, the network's or timm's own errors
        raise UsageError(
            f"The pretrained weights of {name!r} could not be loaded: {type(error).__name__}: {error}\n"
            "Without a network, type: --set backbone.weights=file:PATH.safetensors   or   --set backbone.weights=random"
        ) from error


def _check_image_size(trunk: Any, known: BackboneName, image_size: ImageSize) -> None:
    multiple = FAMILIES[known.family].size_multiple
    steps: tuple[int, int] = trunk.patch_embed.patch_size if multiple is None else (multiple, multiple)
    sides = height_and_width(image_size)
    if not any(side % step for side, step in zip(sides, steps, strict=True)):
        return
    lower, upper = ([around(side / step) * step for side, step in zip(sides, steps, strict=True)] for around in ROUND)
    fitting = [size[0] if size[0] == size[1] else size for size in (lower, upper) if all(size)]
    what = "patches" if multiple is None else "largest stride"
    raise UsageError(
        f"Images of {in_words(image_size)} pixels do not fit the {what} of {steps[0]} pixels of {known.name!r}. The "
        f"nearest sizes that fit: {', '.join(map(in_words, fitting))}; its native size is {known.image_size}.\n"
        f"Type: --set dataset.image_size={str(fitting[-1]).replace(' ', '')}"
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


def seen_in_pretraining(weights_hash: str, dataset: str) -> tuple[str, ...]:
    """Return the tasks of a data set whose labels trained the initial weights: none but for the shipped ones."""
    shipped = content_hash(WEIGHTS)
    return SEEN_IN_PRETRAINING.get(dataset, ()) if weights_hash == shipped else ()


def weights_hash(name: str, weights: str, image_size: ImageSize) -> str:
    """Return what identifies the initial weights: a hash of the tensors that are loaded from a file, or their source.

    Args:
        name: As in ``build_backbone``.
        weights: Likewise.
        image_size: Likewise; tables of positions are resized to it.

    Raises:
        UsageError: The file cannot be read, or does not fit the network.
    """
    _check_weights(weights)
    if weights.startswith("file:"):
        path = _weights_path(name, weights)
        assert path is not None
        loaded = _loaded_hash(name, path, image_size)
        if name == EMBEDDED and loaded == _loaded_hash(name, WEIGHTS, image_size):
            return content_hash(WEIGHTS)
        return loaded
    if weights != "pretrained":
        return weights
    if name == EMBEDDED:
        return content_hash(WEIGHTS)
    if name.startswith(HUB):
        return f"{name.partition('@')[0]}@{hub_config(name).parent.name}"  # a folder named by the commit
    tag = tag_of(name)
    return weights if tag is None else f"timm:{name.partition('.')[0]}:{tag}"


def _loaded_hash(name: str, path: Path, image_size: ImageSize) -> str:
    require_tag(name)
    with torch.device("meta"):
        trunk = _fitting_trunk(name, image_size, download=False)
        bare = FAMILIES[find_backbone(name).family](trunk, *ANY_NORMALISATION).trunk
    return hash_of(tensors_for(bare, path)[0])
