"""``run(config, store)``: one run from its config to its record."""

import tempfile
import time
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator

from petl_bench.backbones.build import seen_in_pretraining, weights_hash
from petl_bench.config import RunConfig
from petl_bench.data.base import DenseDataset
from petl_bench.engine.allocator import keep_freed_memory
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.device import make_accelerator
from petl_bench.engine.environment import environment
from petl_bench.engine.evaluate import Measured, decoded, evaluate
from petl_bench.engine.frozen import frozen_digests, require_counted, require_unmoved
from petl_bench.engine.pictures import draw_predictions
from petl_bench.engine.saved import save
from petl_bench.engine.train import Progress, train
from petl_bench.engine.trivial import trivial_values
from petl_bench.errors import UsageError
from petl_bench.identity import ENGINE_VERSION, identify
from petl_bench.ledger import count
from petl_bench.plugins import load
from petl_bench.records.run import MetricValue, RunRecord, Seconds, TaskResult
from petl_bench.records.store import (
    PICTURE,
    WEIGHTS,
    Store,
    write_curve,
    write_record,
    write_scores,
    write_statistics,
)
from petl_bench.tasks.base import TaskSpec

EVALUATION_BATCH = 50
"""Images of a pass in evaluation. No number depends on it."""
PICTURES = 4

Watch = Callable[[str, int, int, str], None]
"""Told how far a run is: phase (``train``, ``evaluate``), done, of how many, and the state in words."""


@dataclass(frozen=True)
class Outcome:
    """A record, where it lies, and whether it was found instead of made."""

    record: RunRecord
    folder: Path
    found: bool


@dataclass
class _Clock:
    """Adds up wall seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def phase(self, name: str) -> Generator[None, None, None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start


def unwatched(phase: str, done: int, total: int, state: str) -> None:
    """Show nothing."""


def run(
    config: RunConfig,
    store: Store,
    watch: Watch = unwatched,
    *,
    force: bool = False,
    start_seconds: float = 0.0,
) -> Outcome:
    """Execute a run, or find it finished in the store.

    A run that fails leaves a record with its error; a user's mistake or an interruption leaves nothing.

    Args:
        config: The resolved config.
        store: Where the run's folder goes.
        watch: Told how far the run is.
        force: Repeat a finished run.
        start_seconds: Seconds that the process took before this call, for the account of the wall time.

    Raises:
        UsageError: Something the config asks for cannot be had.
    """
    clock = _Clock({"start": start_seconds})
    with _threads(config.runtime.threads):
        keep_freed_memory()
        accelerator = make_accelerator(config)
        draft = _draft(config, accelerator)
        store.require_writable()
        if not force and (known := store.find(draft.folder_name)) is not None:
            return Outcome(known, store.folder / draft.folder_name, found=True)
        writing = store.writing(draft.folder_name) if accelerator.is_main_process else _nowhere()
        with writing as folder:
            try:
                record = _execute(config, draft, folder, accelerator, watch, clock)
            except UsageError:
                raise
            except Exception as error:
                text = "".join(traceback.format_exception(error))
                record = draft.model_copy(update={"error": text, "seconds": Seconds(**clock.seconds)})
            write_record(folder, record)
    return Outcome(record, store.folder / draft.folder_name, found=False)


def _draft(config: RunConfig, accelerator: Accelerator) -> RunRecord:
    """Return the record as it is before anything was measured: a failed one."""
    weights = weights_hash(config.backbone.name, config.backbone.weights)
    dataset = load("datasets", config.dataset.name)
    data = dataset.content_hash(config.dataset, root=config.runtime.folder, tasks=config.tasks)
    plain = config.model_dump(mode="json", exclude={"runtime"})
    identity = identify(plain, weights_hash=weights, data_hash=data, engine_version=ENGINE_VERSION)
    return RunRecord(
        status="failed",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=plain,
        weights_hash=weights,
        data_hash=data,
        execution="",
        environment=environment(accelerator.device, ""),
        **identity.model_dump(),
    )


def _execute(
    config: RunConfig, draft: RunRecord, folder: Path, accelerator: Accelerator, watch: Watch, clock: _Clock
) -> RunRecord:
    specs = task_specs(config)
    dataset = load("datasets", config.dataset.name)
    with clock.phase("data"):
        opened: dict[str, DenseDataset] = {
            split: dataset(config.dataset, split, config.tasks, root=config.runtime.folder)
            for split in ("train", "test")
        }
    testing = opened["test"]
    with clock.phase("build"):
        model = build(config)
        require_counted(model.method)
        before = frozen_digests(model)
        model = model.to(accelerator.device)

    def tell(at: Progress) -> None:
        state = f"loss {at.loss:.2f}  {at.images_per_second:.0f} images/s"
        watch("train", at.step, config.train.steps, state)

    with clock.phase("train"):
        result = train(model, specs, opened["train"], config, accelerator, tell)
    with clock.phase("evaluate"):
        require_unmoved(model.method, before, frozen_digests(model))
        measured = evaluate(
            model,
            specs,
            testing,
            batch_size=EVALUATION_BATCH,
            tell=lambda images: watch("evaluate", images, len(testing), ""),
        )
        trivial = {
            task: trivial_values(task, spec, config, draft.data_hash, opened.__getitem__, batch_size=EVALUATION_BATCH)
            for task, spec in specs.items()
        }
    with clock.phase("pictures"):
        indices = range(min(PICTURES, len(testing)))
        predictions = decoded(model, specs, testing, indices)
        draw_predictions(folder / PICTURE, [testing[i] for i in indices], predictions, specs)
    write_scores(folder, {task: one.scores for task, one in measured.items()})
    write_statistics(folder, {task: one.statistics for task, one in measured.items()})
    write_curve(folder, result.history)
    save(model, folder / WEIGHTS)
    seen = seen_in_pretraining(draft.weights_hash, config.dataset.name)
    images = f"test:{len(testing)}"
    metrics = {
        task: _result(
            spec, dataset.primary.get(task, spec.primary), measured[task], trivial[task], images, task in seen
        )
        for task, spec in specs.items()
    }
    return draft.model_copy(
        update={
            "status": "finished",
            "execution": model.method.execution,
            "environment": draft.environment.model_copy(update={"dtype": result.dtype, "device": result.device}),
            "metrics": metrics,
            "parameters": count(model),
            "seconds": Seconds(**clock.seconds),
            "images_per_second": result.images_per_second,
            "waiting_seconds": result.waiting_seconds,
            "history": result.history,
        }
    )


def _result(
    spec: TaskSpec, primary: str, measured: Measured, trivial: Mapping[str, float], images: str, seen: bool
) -> TaskResult:
    return TaskResult(
        primary=primary,
        metrics={
            name: MetricValue(
                value=value,
                trivial=trivial[name],
                unit=spec.metrics[name][0],
                higher_is_better=spec.metrics[name][1],
                convention=spec.convention(name, measured.size, images),
            )
            for name, value in measured.values.items()
        },
        seen_in_pretraining=seen,
        labelled_images=int((~np.isnan(measured.scores)).sum()),
    )


@contextmanager
def _threads(number: int | None) -> Generator[None, None, None]:
    """Let torch use so many threads inside the block."""
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _nowhere() -> Generator[Path, None, None]:
    """Give a process that is not the main one a folder to write to that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
