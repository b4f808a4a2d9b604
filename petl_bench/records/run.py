"""The record of a run: what was asked, what was measured, what would explain the number later."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from petl_bench.identity import ENGINE_VERSION, HASH_VERSION

SCHEMA_VERSION = 2


class Entry(BaseModel):
    """A part of a record: never edited, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class MetricValue(Entry):
    """One number of a task on all test images.

    Attributes:
        trivial: The same number for the trivial predictor fitted on the training labels.
        unit: ``%``, ``deg``, ``m``, or empty for a plain number.
        convention: Definition with its version and thresholds, resolution and list of images:
            ``max_miou/1[0.20:0.90:15]@64x64/test:300``. Different ones never share a column.
    """

    value: float
    trivial: float
    unit: str
    higher_is_better: bool
    convention: str


class TaskResult(Entry):
    """The metrics of one task.

    Attributes:
        primary: The name of the metric that stands for the task, as the data set says.
        metrics: Every number, by the metric's name.
        seen_in_pretraining: Labels of this task, from this data set, trained the run's initial weights, so it stays out
            of delta_m.
        labelled_images: Test images with truth somewhere; None in records older than the field.
    """

    primary: str
    metrics: Mapping[str, MetricValue]
    seen_in_pretraining: bool = False
    labelled_images: int | None = None

    @model_validator(mode="after")
    def _has_its_primary(self) -> Self:
        if self.primary not in self.metrics:
            raise ValueError(f"the primary metric {self.primary!r} is not among {', '.join(self.metrics)}")
        return self

    @property
    def scored_images(self) -> int:
        """The number of test images, as its convention has it; 0 if it says none."""
        number = self.chosen.convention.rpartition(":")[2]
        return int(number) if number.isascii() and number.isdecimal() else 0

    @property
    def chosen(self) -> MetricValue:
        """The number that stands for the task."""
        return self.metrics[self.primary]

    @property
    def score(self) -> float:
        """Its value."""
        return self.chosen.value

    @property
    def trivial_score(self) -> float:
        """Its value for the trivial predictor."""
        return self.chosen.trivial


class Ledger(Entry):
    """Numbers of parameters by owner; tied weights count once.

    Attributes:
        backbone: Parameters of one backbone, trained or not.
        shared: Trained parameters of the method that all tasks use, the trunk's own that it unfreezes included.
        per_task: Trained parameters of the method that belong to one task each, summed over tasks.
        generator: Trained parameters of hyper-networks.
        decoder: Trained parameters of the decoders.
        stored_bytes: Bytes of everything trained.
        frozen: Parameters of the method and its backbone that are not trained.
        effective: Trained parameters of the method whose gradient is not zero or rounding noise by definition.
        after_merge: Parameters left beside plain backbones once the method is merged into them; all of the method's
            where it has no plain form.
        active: Trained parameters of the method that are computed with; fewer than it stores where training leaves
            some out. Like the three above, None in records older than the column.
        trunk: Of shared and per task, what came with the backbone: norms, patch embedding, patch merging, position
            tables, or all of it. None in records that do not tell.
    """

    backbone: int
    shared: int = 0
    per_task: int = 0
    generator: int = 0
    decoder: int = 0
    stored_bytes: int = 0
    frozen: int | None = None
    effective: int | None = None
    after_merge: int | None = None
    active: int | None = None
    trunk: int | None = None

    @property
    def added(self) -> int | None:
        """What the method trains beside the trunk's own parts and hyper-networks; None where that is not told."""
        return None if self.trunk is None else self.shared + self.per_task - self.trunk

    @property
    def method(self) -> int:
        """Trained parameters of the method, decoders excluded."""
        return self.shared + self.per_task + self.generator

    @property
    def trainable(self) -> int:
        """Everything trained."""
        return self.method + self.decoder


class Seconds(Entry):
    """Where the wall time of a run went."""

    start: float = 0.0
    data: float = 0.0
    build: float = 0.0
    train: float = 0.0
    evaluate: float = 0.0
    pictures: float = 0.0


class Environment(Entry):
    """What would explain a number later.

    Attributes:
        keeps_freed_memory: Freed memory stays with the process (see ``petl_bench.engine.allocator``).
        deterministic: Only algorithms were allowed that give the same numbers at every run.
        processes: How many trained the model together, each on a part of every batch.
    """

    versions: dict[str, str]
    commit: str | None
    dirty: bool | None
    device: str
    device_name: str
    dtype: str
    threads: int
    platform: str
    keeps_freed_memory: bool = False
    deterministic: bool = False
    processes: int = 1


class HistoryPoint(Entry):
    """Training losses (unweighted, by task), averaged over the steps since the point before."""

    step: int
    loss: float
    losses: dict[str, float]


class EndSlope(Entry):
    """How the training loss of a task changed at the end: a least-squares line through every step of the last fifth.

    Attributes:
        percent: Change for 100 steps, in % of the mean loss of these steps.
        error: Its standard error, from the scatter of the steps about the line.
        steps: Number of steps.
    """

    percent: float
    error: float
    steps: int


class ValidationPoint(Entry):
    """Every metric by task on the images that are set apart to tune on, after a step of the training."""

    step: int
    metrics: dict[str, dict[str, float]]


class RunRecord(Entry):
    """One run. Written once, read by ``report`` without torch.

    Attributes:
        hash_version: The set of defaults behind fingerprint and group (see ``petl_bench.identity``).
        engine_version: Of the training loop that made the numbers; different ones never share a table.
        caveats: What a reader has to know about how pictures and labels were treated, such as flaws of a protocol.
        waiting_seconds: Seconds of training spent waiting for batches.
        flatness: How each task's loss changed at the end; a task with fewer than ten steps there has none, and None
            stands in records older than the field.
        skipped_steps: Steps that were left out since a loss or gradient was no number.
        resumed_at: Steps from which a training went on that had been broken off.
        evaluated: Where it was evaluated again from its trained weights; None: where it was trained.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    hash_version: int = HASH_VERSION
    engine_version: int = ENGINE_VERSION
    status: Literal["finished", "failed"]
    created: str
    config: dict[str, Any]
    fingerprint: str
    group: str
    weights_hash: str
    data_hash: str
    execution: str
    environment: Environment
    caveats: tuple[str, ...] = ()
    metrics: dict[str, TaskResult] = {}
    parameters: Ledger | None = None
    seconds: Seconds = Seconds()
    images_per_second: Annotated[float, Field(ge=0)] = 0.0
    waiting_seconds: Annotated[float, Field(ge=0)] | None = None
    history: tuple[HistoryPoint, ...] = ()
    flatness: dict[str, EndSlope] | None = None
    validation: tuple[ValidationPoint, ...] = ()
    skipped_steps: int = 0
    resumed_at: tuple[int, ...] = ()
    evaluated: Environment | None = None
    error: str | None = None

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.config["method"]["name"]

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.config["seed"]

    @property
    def folder_name(self) -> str:
        """Name of the run's folder: method, seed, start of the fingerprint."""
        return self.name_of(self.config, self.fingerprint)

    @staticmethod
    def name_of(config: Mapping[str, Any], fingerprint: str) -> str:
        """Return the folder's name of a run with such a config and fingerprint."""
        return f"{config['method']['name']}-s{config['seed']}-{fingerprint[:10]}"
