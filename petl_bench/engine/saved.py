"""A file of what was trained: it says on which backbone, and is not put on another one."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from petl_bench.backbones.base import Backbone
from petl_bench.backbones.build import wrap_backbone
from petl_bench.config import BackboneConfig, ImageSize, Normalisation, Section, digest, in_words, validate_section
from petl_bench.engine.build import assemble, named_backbone
from petl_bench.engine.frozen import frozen_digests
from petl_bench.errors import UsageError
from petl_bench.model import MultiTaskModel, Recipe
from petl_bench.plugins import load as load_class

FORMAT = 1
KEY = "petl_bench"
FILE = "file:"


class Origin(Section):
    """The backbone under a model.

    Attributes:
        architecture: timm's name of it, or else its class.
        parameters: How many it has.
        normalisation: By what its images are normalised.
        name: What it was built from by name; None for a network that was there already. Likewise ``weights`` (a path is
            left out) and ``image_size``.
        frozen_hash: Of the weights that the method left frozen.
    """

    architecture: str
    parameters: int
    normalisation: Normalisation
    name: str | None
    weights: str | None
    image_size: ImageSize | None
    frozen_hash: str


class Header(Section):
    """What a file says beside its tensors."""

    format: int
    method: dict[str, Any]
    decoder: dict[str, Any]
    tasks: dict[str, int]
    seed: int
    backbone: Origin
    versions: dict[str, str]


def save(model: MultiTaskModel, path: str | Path) -> None:
    """Write what ``model`` trains to a safetensors file, with what is needed to make the model again.

    In the file are the trained weights, the decoders' buffers, the settings, and a hash of the frozen weights, but not
    these themselves. An older file of this function is replaced.

    Raises:
        UsageError: The model was put together by hand, or the file cannot be written or is not one of these.
    """
    if model.recipe is None:
        raise UsageError(
            "This model does not know how it was made, so the file could not say it: save one of create_model.\n"
            "Type: petl_bench.create_model(...)"
        )
    path = Path(path).expanduser()
    if path.exists() and _header_of(path) is None:
        raise UsageError(f"{str(path)!r} is there and was not written by petl_bench.save: it is left as it is.")
    part = path.with_name(f".{path.name}.part")
    try:
        save_file(model.trained_state(), part, metadata={KEY: _header(model, model.recipe).model_dump_json()})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        raise UsageError(f"{str(path)!r} cannot be written: {error}.") from None


def load(
    path: str | Path, *, backbone: torch.nn.Module | str | None = None, weights: str | None = None
) -> MultiTaskModel:
    """Make the model of a file again.

    Args:
        path: A file of ``save``.
        backbone: The timm network that it was trained on, which is copied, or its name; None: as the file names it.
        weights: Initial weights of a backbone by name; None: as the file names them.

    Returns:
        The model on the device of the backbone, in training mode as every new one.

    Raises:
        UsageError: The file is none of these, or the backbone has other frozen weights than the one trained on.
    """
    path = Path(path).expanduser()
    header = _header_of(path)
    if header is None:
        raise UsageError(f"{str(path)!r} cannot be read as a file of petl_bench.save.")
    if header.format != FORMAT:
        raise UsageError(f"{str(path)!r} has format {header.format}, this version reads {FORMAT}: install a newer one.")
    origin = header.backbone
    recipe, trunk = _prepare(path, header, backbone, weights)
    if trunk.num_parameters != origin.parameters:
        raise UsageError(
            f"{_trained_on(path, origin)}; the one given is {architecture(trunk)} with {trunk.num_parameters:,} "
            "parameters: another network, or one for another image size."
        )
    model = on_device_of(trunk, recipe)
    put_into(model, path)
    return model


def put_into(model: MultiTaskModel, path: Path) -> None:
    """Put what a file holds into a model that is made like the one it came from.

    Raises:
        UsageError: The file cannot be read, or the model has other frozen weights or other names.
    """
    header = _header_of(path)
    if header is None:
        raise UsageError(f"{str(path)!r} cannot be read as a file of petl_bench.save.")
    origin = header.backbone
    if frozen_hash(model) != origin.frozen_hash:
        raise UsageError(
            f"{_trained_on(path, origin)}; the one given, {architecture(model.method.backbone)}, has other weights "
            f"where {header.method['name']!r} holds them frozen, so what was trained does not fit it.\n"
            "Give the network with the weights that it was trained on: petl_bench.load(path, backbone=...)"
        )
    try:
        model.load_trained_state(load_file(path))
    except (ValueError, RuntimeError, SafetensorError) as error:
        raise UsageError(f"{_trained_on(path, origin)}, by another version: {error}") from None


def on_device_of(backbone: Backbone, recipe: Recipe) -> MultiTaskModel:
    """Assemble a model where the backbone's weights are, in their number type."""
    weight = next(backbone.parameters())
    return assemble(backbone, recipe).to(device=weight.device, dtype=weight.dtype)


def architecture(backbone: Backbone) -> str:
    """Return timm's name of a backbone's architecture, or else its class."""
    config = getattr(backbone.trunk, "pretrained_cfg", None) or {}
    return config.get("architecture") or type(backbone.trunk).__name__


def frozen_hash(model: MultiTaskModel) -> str:
    """Hash names, shapes, number types and bytes of the weights that the method leaves frozen."""
    return digest(frozen_digests(model))


def _prepare(
    path: Path, header: Header, backbone: torch.nn.Module | str | None, weights: str | None
) -> tuple[Recipe, Backbone]:
    """Return the recipe of a file, and the backbone to put it on."""
    origin = header.backbone
    method = validate_section(load_class("methods", header.method["name"]).Config, header.method, "method")
    decoder = validate_section(load_class("decoders", header.decoder["name"]).Config, header.decoder, "decoder")
    if isinstance(backbone, torch.nn.Module):
        return Recipe(method, decoder, header.tasks, header.seed), wrap_backbone(backbone, origin.normalisation)
    name, chosen = backbone or origin.name, weights or origin.weights
    if name is None or chosen is None or chosen == FILE:
        what = "weights='file:PATH.safetensors'" if chosen == FILE else "backbone=..."
        raise UsageError(f"{_trained_on(path, origin)}, which it does not hold.\nType: petl_bench.load(path, {what})")
    named = BackboneConfig(name=name, weights=chosen, normalisation=origin.normalisation)
    size = origin.image_size or 224
    recipe = Recipe(method, decoder, header.tasks, header.seed, named, size)
    return recipe, named_backbone(named, size, header.seed)


def _header(model: MultiTaskModel, recipe: Recipe) -> Header:
    backbone, named = model.method.backbone, recipe.backbone
    mean, std = (tuple(buffer.flatten().tolist()) for buffer in (backbone.mean, backbone.std))
    weights = None if named is None else FILE if named.weights.startswith(FILE) else named.weights
    return Header(
        format=FORMAT,
        method=recipe.method.model_dump(mode="json"),
        decoder=recipe.decoder.model_dump(mode="json"),
        tasks=dict(recipe.channels),
        seed=recipe.seed,
        backbone=Origin(
            architecture=architecture(backbone),
            parameters=backbone.num_parameters,
            normalisation=Normalisation(mean=mean, std=std),
            name=None if named is None else named.name,
            weights=weights,
            image_size=recipe.image_size,
            frozen_hash=frozen_hash(model),
        ),
        versions={package: metadata.version(package) for package in ("petl-bench", "torch", "timm")},
    )


def _header_of(path: Path) -> Header | None:
    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
        return None if text is None else Header.model_validate(json.loads(text))
    except (OSError, SafetensorError, ValueError, ValidationError):
        return None


def _trained_on(path: Path, origin: Origin) -> str:
    named = f" ({origin.name}, weights {origin.weights})" if origin.name else ""
    return f"{str(path)!r} was trained on {origin.architecture}{named} with {origin.parameters:,} parameters" + (
        f" at {in_words(origin.image_size)} pixels" if origin.image_size else ""
    )
