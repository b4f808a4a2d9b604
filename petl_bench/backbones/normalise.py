"""By what images are normalised: what the weights were trained with, which their file does not say."""

from collections.abc import Mapping
from typing import Any

import timm
from timm.data import constants
from timm.models import get_arch_pretrained_cfgs

from petl_bench.backbones.embedded import MEAN, STD
from petl_bench.backbones.names import EMBEDDED, HUB
from petl_bench.config import Normalisation
from petl_bench.errors import UsageError, unknown_name

NAMED = {
    "imagenet": Normalisation(mean=constants.IMAGENET_DEFAULT_MEAN, std=constants.IMAGENET_DEFAULT_STD),
    "half": Normalisation(mean=constants.IMAGENET_INCEPTION_MEAN, std=constants.IMAGENET_INCEPTION_STD),
    "clip": Normalisation(mean=constants.OPENAI_CLIP_MEAN, std=constants.OPENAI_CLIP_STD),
}
SETTING = "Type: --set backbone.normalisation=imagenet"


def normalisation_of(
    name: str, weights: str, pretrained_cfg: Mapping[str, Any] | None, chosen: str | Normalisation | None
) -> Normalisation:
    """Return the chosen normalisation, or else what the tag of the weights says.

    Args:
        name: Of the backbone; only a name with a tag says which of several weights a file holds.
        weights: As in ``BackboneConfig``.
        pretrained_cfg: timm's, of the network.
        chosen: As in ``BackboneConfig``.

    Raises:
        UsageError: It is not chosen and cannot be known.
    """
    if isinstance(chosen, Normalisation):
        return chosen
    if chosen is not None:
        if chosen not in NAMED:
            raise unknown_name("normalisation", chosen, NAMED, command=SETTING.removeprefix("Type: "))
        return NAMED[chosen]
    if name == EMBEDDED:
        return Normalisation(mean=MEAN, std=STD)
    if not pretrained_cfg or "mean" not in pretrained_cfg:
        raise UsageError(f"The backbone {name!r} does not say how its images are normalised.\n{SETTING}")
    if weights.startswith("file:") and not name.startswith(HUB) and "." not in name:
        _require_one_for_all_tags(name)
    return Normalisation(mean=tuple(pretrained_cfg["mean"]), std=tuple(pretrained_cfg["std"]))


def require_tag(name: str) -> None:
    """Check the tag of a timm name.

    Raises:
        UsageError: timm has no such tag.
    """
    architecture, _, tag = name.partition(".")
    if tag and not name.startswith(HUB) and name not in (tags := get_arch_pretrained_cfgs(architecture)):
        command = f"--backbone {min(tags)}" if tags else "petl-bench list backbones"
        raise unknown_name("tag", name, tags, command=command)


def tag_of(name: str) -> str | None:
    """Return the tag of timm's weights that a name stands for, or None if there are none."""
    config = timm.get_pretrained_cfg(name)
    return None if config is None else config.tag


def _require_one_for_all_tags(name: str) -> None:
    tags = get_arch_pretrained_cfgs(name)
    by_statistics: dict[tuple[Any, Any], list[str]] = {}
    for tag, config in tags.items():
        by_statistics.setdefault((tuple(config.mean), tuple(config.std)), []).append(tag)
    if len(by_statistics) > 1:
        said = "; ".join(f"mean {list(mean)} for {', '.join(own)}" for (mean, _), own in by_statistics.items())
        raise UsageError(
            f"The weights file of {name!r} does not say how its images are normalised, and timm's own weights of that "
            f"name differ: {said}.\n{SETTING} (or half, clip), or name the tag: --backbone {min(tags)}"
        )
