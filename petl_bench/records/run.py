"""The record of a run: what was asked, what was measured, what would explain the number later."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA_VERSION = 1


class Entry(BaseModel):
    """A part of a record: never edited, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")


class TaskResult(Entry):
    """The metrics of one task on all test images.

    Attributes:
        convention: Name and version of the metric's definition, ``miou/1``; different ones never share a column.
        primary: The key of ``values`` that stands for the task.
        unit: Unit of the primary value: ``%``, ``deg``, ``m``.
        values: Every number of the metric.
        trivial: The same numbers for the trivial predictor fitted on the training labels.
        seen_in_pretraining: Labels of this task trained the backbone, so it stays out of delta_m.
    """

    convention: str
    primary: str
    unit: str
    higher_is_better: bool
    values: dict[str, float]
    trivial: dict[str, float]
    seen_in_pretraining: bool = False

    @property
    def score(self) -> float:
        """The primary value."""
        return self.values[self.primary]

    @property
    def trivial_score(self) -> float:
        """The primary value of the trivial predictor."""
        return self.trivial[self.primary]


class Ledger(Entry):
    """Numbers of parameters by owner; tied weights count once.

    Attributes:
        backbone: Parameters of one backbone, trained or not.
        shared: Trained parameters of the method that all tasks use.
        per_task: Trained parameters of the method that belong to one task each, summed over tasks.
        generator: Trained parameters of hyper-networks.
        decoder: Trained parameters of the decoders.
        stored_bytes: Bytes of everything trained.
        frozen: Parameters of the method and its backbone that are not trained.
        effective: Trained parameters of the method whose gradient is not zero or rounding noise by definition.
        after_merge: Parameters left beside plain backbones once the method is merged into them; all of the method's
            where it has no plain form. Like the two above, None in records older than the column.
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


class HistoryPoint(Entry):
    """Training losses (unweighted, by task), averaged over the steps since the point before."""

    step: int
    loss: float
    losses: dict[str, float]


class RunRecord(Entry):
    """One run. Written once, read by ``report`` without torch."""

    schema_version: Literal[1] = SCHEMA_VERSION
    status: Literal["finished", "failed"]
    created: str
    config: dict[str, Any]
    fingerprint: str
    group: str
    comparison: str
    weights_hash: str
    data_hash: str
    execution: str
    environment: Environment
    metrics: dict[str, TaskResult] = {}
    parameters: Ledger | None = None
    seconds: Seconds = Seconds()
    images_per_second: Annotated[float, Field(ge=0)] = 0.0
    waiting_seconds: Annotated[float, Field(ge=0)] | None = None  # of training, spent waiting for batches
    history: tuple[HistoryPoint, ...] = ()
    rates_tuned: bool = False
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
        return f"{self.method}-s{self.seed}-{self.fingerprint[:10]}"
