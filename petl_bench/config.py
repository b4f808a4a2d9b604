"""What a run is: frozen, strict sections, read from TOML values, hashed into a fingerprint."""

import hashlib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SerializeAsAny, ValidationError

from petl_bench.errors import UsageError, nearest

SEE_EVERY_KEY = "Type: petl-bench run ... --dry-run   to see every key with its value."
Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A frozen group of settings; an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


S = TypeVar("S", bound=Section)


class MethodConfig(Section):
    """Base of every ``Method.Config``."""

    name: str


class DecoderConfig(Section):
    """Base of every ``Decoder.Config``."""

    name: str


def _one_size(value: Any) -> Any:
    """Read a size; one that is square is one number, however it was written."""
    sides = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    if len(sides) not in (1, 2) or any(type(side) is not int or side < 1 for side in sides):
        raise ValueError(
            f"{json.dumps(value, default=str)} is no size in pixels: 448 for a square, or [448, 576] for height and "
            "width, is expected."
        )
    return sides[0] if sides[0] == sides[-1] else tuple(sides)


ImageSize = Annotated[int | tuple[int, int], BeforeValidator(_one_size)]
"""Of an image in pixels: one number for a square, or height and width."""


def height_and_width(size: int | Sequence[int]) -> tuple[int, int]:
    """Return the two sides of an image size in pixels."""
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def in_words(size: object) -> str:
    """Say an image size: ``448``, or ``448 x 576``, the height first."""
    return " x ".join(map(str, size)) if isinstance(size, (list, tuple)) else str(size)


class DatasetConfig(Section):
    """Base of every ``DenseDataset.Config``: the size of the images, and at most how many of each split.

    Attributes:
        scored_split: What a run is scored on. With ``val`` it opens no test image: settings are chosen by such runs.
    """

    name: str
    image_size: ImageSize
    train_images: Positive
    test_images: Positive
    flip: bool = True
    scored_split: Literal["test", "val"] = "test"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return height_and_width(self.image_size)


Channels = tuple[float, float, float]


class Normalisation(Section):
    """Mean and standard deviation of red, green and blue in 0..1, by which images are normalised."""

    mean: Channels
    std: Channels


class BackboneConfig(Section):
    """Which network, with which initial weights.

    Attributes:
        name: ``embedded``, a name or tag (``name.tag``) of timm, or ``hf-hub:owner/model``.
        weights: ``pretrained``, ``random`` or ``file:PATH.safetensors``.
        normalisation: By what images are normalised: a name of ``petl_bench.backbones.normalise``, or numbers. None:
            what the name's tag says.
    """

    name: str
    weights: str
    normalisation: Literal["imagenet", "half", "clip"] | Normalisation | None = None


class LearningRates(Section):
    """Peak learning rates of what belongs to the backbone, to the method and to the decoders.

    The defaults are what ``petl-bench tune`` found for most rows of ``main`` on the validation split of ``scenes`` at
    ``quick``: decoders and what is added want 9e-3 in every row, a whole backbone 1.5e-3. A start, for other data too.
    """

    backbone: NonNegative = 1.5e-3
    method: NonNegative = 9e-3
    decoder: NonNegative = 9e-3


class FixedWeights(Section):
    """Losses weighted by ``train.loss_weights``, or by the published weights of their tasks."""

    name: Literal["fixed"] = "fixed"


class Uncertainty(Section):
    """Weights learned as variances (Kendall et al., 2018)."""

    name: Literal["uncertainty"]
    learning_rate: NonNegative = 0.025


class DynamicWeightAverage(Section):
    """Weights that follow how fast losses fall (Liu et al., 2019); ``period``: steps of a mean."""

    name: Literal["dwa"]
    temperature: Annotated[float, Field(gt=0)] = 2.0
    period: Positive = 25


class ProjectedGradients(Section):
    """Conflicting gradients projected off one another (Yu et al., 2020)."""

    name: Literal["pcgrad"]


class FastAdaptive(Section):
    """Losses made to fall alike (FAMO, Liu et al., 2023)."""

    name: Literal["famo"]
    learning_rate: NonNegative = 0.025
    weight_decay: NonNegative = 0.001


BalancerConfig = FixedWeights | Uncertainty | DynamicWeightAverage | ProjectedGradients | FastAdaptive


class TrainConfig(Section):
    """One budget for every method: AdamW, linear warm-up, cosine to zero, clipping per owner.

    Attributes:
        epochs: How often the training images are gone through; it decides ``steps``, the last incomplete batch of an
            epoch being left out of the count.
        validate_epochs: The model is scored on the split ``val`` after every so many epochs. Nothing is chosen by it:
            what is reported is the model after the last step, on the test images.
        schedule: How rates fall after the warm-up: ``cosine``, or ``poly`` (with the power 0.9).
        optimizer: ``adamw``, or ``adam``, whose weight decay is part of the gradient.
        accumulation: Parts that a batch is passed through in, to save memory. The step is that of the whole batch, but
            for batch norm, which sees the parts.
        on_nonfinite: What happens at a loss or gradient that is no number: ``stop`` the run, which fails with where it
            broke, or ``skip`` the step, and count it in the record.
    """

    steps: Positive
    batch_size: Positive
    epochs: Positive | None = None
    validate_epochs: Positive | None = None
    schedule: Literal["cosine", "poly"] = "cosine"
    optimizer: Literal["adamw", "adam"] = "adamw"
    accumulation: Positive = 1
    learning_rate: LearningRates = LearningRates()
    weight_decay: NonNegative = 0.05
    warmup_fraction: Annotated[float, Field(ge=0, lt=1)] = 0.1
    clip_norm: Annotated[float, Field(gt=0)] = 5.0
    loss_weights: dict[str, NonNegative] = {}
    balancer: Annotated[BalancerConfig, Field(discriminator="name")] = FixedWeights()
    precision: Literal["no", "bf16", "fp16"] = "no"
    on_nonfinite: Literal["stop", "skip"] = "stop"


class RuntimeConfig(Section):
    """Where a run is executed and where its files lie. Never part of its identity.

    Attributes:
        root: Folder of the data set's files.
        workers: Processes that load batches; 0 loads them in the run's own.
        checkpoint_seconds: The state of a training is saved after the first step that ends so long after the last time.
        checkpoint_steps: It is saved every so many steps as well.
    """

    device: str = "auto"
    threads: Positive | None = None
    root: str | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    checkpoint_seconds: NonNegative = 60.0
    checkpoint_steps: Positive | None = None

    @property
    def folder(self) -> Path | None:
        """``root`` as a path."""
        return None if self.root is None else Path(self.root).expanduser()


class RunConfig(Section):
    """Everything that decides a run's numbers, and where it runs."""

    method: SerializeAsAny[MethodConfig]
    backbone: BackboneConfig
    decoder: SerializeAsAny[DecoderConfig]
    dataset: SerializeAsAny[DatasetConfig]
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    budget: Literal["smoke", "quick", "full"]
    train: TrainConfig
    seed: Annotated[int, Field(ge=0)]
    runtime: RuntimeConfig = RuntimeConfig()


# Few rooms to learn from, as in the transfers of the literature: there methods differ. `quick` is a minute of training
# or so for a tapped method on one core; `full` takes four times its steps and nothing else.
BUDGETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "train": {"steps": 8, "batch_size": 4},
        "dataset": {"train_images": 16, "test_images": 8},
    },
    "quick": {
        "train": {"steps": 500, "batch_size": 4},
        "dataset": {"train_images": 200, "test_images": 500},
    },
    "full": {
        "train": {"steps": 2000, "batch_size": 4},
        "dataset": {"train_images": 200, "test_images": 500},
    },
}


def parse_value(text: str) -> Any:
    """Read the right side of ``--set key=value`` as a TOML value; what is not TOML is a plain string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def assign(settings: dict[str, Any], key: str, value: Any) -> None:
    """Set ``settings["a"]["b"] = value`` for the key ``a.b``, creating the sections on the way.

    Raises:
        UsageError: A part of the key names a value, not a section.
    """
    *sections, last = key.split(".")
    for depth, name in enumerate(sections, start=1):
        inner = settings.setdefault(name, {})
        if not isinstance(inner, dict):
            raise UsageError(f"{key!r}: {'.'.join(sections[:depth])!r} is a value, not a section with keys of its own.")
        settings = inner
    settings[last] = value


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``base`` with the values of ``over`` laid on top, section by section."""
    merged = dict(base)
    for key, value in over.items():
        held = merged.get(key)
        both_are_sections = isinstance(held, Mapping) and isinstance(value, Mapping)
        merged[key] = merge(held, value) if both_are_sections else value  # pyright: ignore[reportArgumentType]
    return merged


def keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Yield every dotted key that ``--set`` can reach in ``model``."""
    for name, field in model.model_fields.items():
        inner = _section_of(field.annotation)
        if inner is not None:
            yield from keys(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _section_of(annotation: Any) -> type[BaseModel] | None:
    if typing.get_origin(annotation) is Annotated:
        annotation = typing.get_args(annotation)[0]
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return annotation if issubclass(annotation, BaseModel) else None
    return None


def validate_section(model: type[S], values: Mapping[str, Any], section: str, *, hint: str = SEE_EVERY_KEY) -> S:
    """Build a section strictly (no ``"8"`` for ``8``, no unknown key); an error ends with the ``hint``.

    Raises:
        UsageError: With every key at fault, what was got, what is expected and the nearest valid key.
    """
    try:
        return model.model_validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        raise UsageError(f"{_explain(error, model, section)}\n{hint}") from None


def _explain(error: ValidationError, model: type[BaseModel], section: str) -> str:
    prefix = f"{section}." if section else ""
    allowed = [prefix + key for key in keys(model)]
    lines: list[str] = []
    for fault in error.errors():
        key = prefix + ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "extra_forbidden":
            match = nearest(key, allowed)
            hint = f" Did you mean {match!r}?" if match else ""
            shown = [name for name in allowed if name.startswith(key.rpartition(".")[0])] or allowed
            lines.append(f"Unknown key {key!r}.{hint} Allowed: {', '.join(shown)}.")
        elif fault["type"] == "missing":
            lines.append(f"{key!r} is missing.")
        elif fault["type"] == "value_error":
            lines.append(f"{key.rstrip('.')}: {fault.get('ctx', {})['error']}")
        else:
            expected = fault["msg"].removeprefix("Input should be ")
            lines.append(f"{key} = {json.dumps(fault['input'])}: expected is {expected}.")
    return "\n".join(lines)


def canonical(value: Any) -> str:
    """Return ``value`` as JSON text that is equal for equal content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def digest(value: Any) -> str:
    """Return the sha256 of the canonical JSON of ``value``, 64 hexadecimal digits."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()
