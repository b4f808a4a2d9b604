"""What a run is: its sections, their settings with defaults, and the budgets."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from petl_bench.sections import Section as Section
from petl_bench.sections import assign as assign
from petl_bench.sections import canonical as canonical
from petl_bench.sections import digest as digest
from petl_bench.sections import keys as keys
from petl_bench.sections import merge as merge
from petl_bench.sections import parse_value as parse_value
from petl_bench.sections import validate_section as validate_section

Positive = Annotated[int, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]


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
    ``quick``: 9e-3 for decoders and what is added, 1.5e-3 for a whole backbone. A start, for other data too.
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
        deterministic: Torch takes algorithms that give the same numbers at every run, or fails; a CPU does so anyway.
        checkpoint_seconds: The state of a training is saved after the first step that ends so long after the last time.
        checkpoint_steps: It is saved every so many steps as well.
    """

    device: str = "auto"
    threads: Positive | None = None
    root: str | None = None
    workers: Annotated[int, Field(ge=0)] = 0
    deterministic: bool = False
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
# or so for a tapped method on one core; `full` takes four times its steps, and four times its test rooms, so that the
# noise of the pictures is half as large.
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
        "dataset": {"train_images": 200, "test_images": 2000},
    },
}
