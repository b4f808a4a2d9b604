"""``run(config, store)``: one run from its config to its record."""

import tempfile
import time
import traceback
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator, PartialState
from rich.console import Console
from safetensors.torch import save_file

from petl_bench.backbones.build import weights_hash
from petl_bench.config import RunConfig, identify
from petl_bench.data.base import DenseDataset
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.environment import environment
from petl_bench.engine.evaluate import Values, decoded, evaluate, evaluate_trivial
from petl_bench.engine.pictures import draw_predictions
from petl_bench.engine.train import Progress, Training, train
from petl_bench.errors import UsageError
from petl_bench.ledger import count
from petl_bench.model import MultiTaskModel
from petl_bench.plugins import load
from petl_bench.records.run import RunRecord, Seconds, TaskResult
from petl_bench.records.store import PICTURE, WEIGHTS, Store, write_curve, write_record, write_scores
from petl_bench.tasks.base import TaskSpec
from petl_bench.terminal import bar

EVALUATION_BATCH = 50
PICTURES = 4


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


def run(
    config: RunConfig, store: Store, console: Console, *, force: bool = False, start_seconds: float = 0.0
) -> Outcome:
    """Execute a run, or find it finished in the store.

    A run that fails leaves a record with its error; a user's mistake or an interruption leaves nothing.

    Args:
        config: The resolved config.
        store: Where the run's folder goes.
        console: Where progress is shown (stderr).
        force: Repeat a finished run.
        start_seconds: Seconds that the process took before this call, for the account of the wall time.

    Raises:
        UsageError: Something the config asks for cannot be had.
    """
    clock = _Clock({"start": start_seconds})
    draft = _draft(config)
    store.require_writable()
    if not force and (known := store.find(draft.folder_name)) is not None:
        return Outcome(known, store.folder / draft.folder_name, found=True)
    writing = store.writing(draft.folder_name) if PartialState().is_main_process else _nowhere()
    with writing as folder:
        try:
            record = _execute(config, draft, folder, console, clock)
        except UsageError:
            raise
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            record = draft.model_copy(update={"error": text, "seconds": Seconds(**clock.seconds)})
        write_record(folder, record)
    return Outcome(record, store.folder / draft.folder_name, found=False)


def _draft(config: RunConfig) -> RunRecord:
    """Return the record as it is before anything was measured: a failed one."""
    if config.runtime.threads is not None:
        torch.set_num_threads(config.runtime.threads)
    weights = weights_hash(config.backbone.name, config.backbone.weights)
    data = load("datasets", config.dataset.name).content_hash(config.dataset)
    identity = identify(config, weights_hash=weights, data_hash=data)
    return RunRecord(
        status="failed",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        config=config.model_dump(mode="json", exclude={"runtime"}),
        weights_hash=weights,
        data_hash=data,
        execution="",
        environment=environment(_device(config), config.train.precision),
        **identity.model_dump(),
    )


def _device(config: RunConfig) -> torch.device:
    asked = config.runtime.device
    if asked == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(asked)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise UsageError(f"--device {asked}: {reason}.\nType: petl-bench run ... --device cpu") from None
    return device


def _execute(config: RunConfig, draft: RunRecord, folder: Path, console: Console, clock: _Clock) -> RunRecord:
    specs = task_specs(config)
    with clock.phase("data"):
        dataset = load("datasets", config.dataset.name)
        training: DenseDataset = dataset(config.dataset, "train", config.tasks)
        testing: DenseDataset = dataset(config.dataset, "test", config.tasks)
    with clock.phase("build"):
        accelerator = Accelerator(mixed_precision=config.train.precision, cpu=_device(config).type == "cpu")
        model = build(config).to(accelerator.device)
    with clock.phase("train"):
        result = _train(model, specs, training, config, accelerator, console)
    with clock.phase("evaluate"):
        values, scores = _evaluate(model, specs, testing, console)
        trivial = evaluate_trivial(specs, training, testing, batch_size=EVALUATION_BATCH)
    with clock.phase("pictures"):
        indices = range(min(PICTURES, len(testing)))
        predictions = decoded(model, specs, testing, indices)
        draw_predictions(folder / PICTURE, [testing[i] for i in indices], predictions, specs)
    write_scores(folder, scores)
    write_curve(folder, result.history)
    save_file(model.trained_state(), folder / WEIGHTS)
    return draft.model_copy(
        update={
            "status": "finished",
            "execution": model.method.execution,
            "metrics": {
                task: _result(spec, values[task], trivial[task], seen=task in training.seen_in_pretraining)
                for task, spec in specs.items()
            },
            "parameters": count(model),
            "seconds": Seconds(**clock.seconds),
            "images_per_second": result.images_per_second,
            "waiting_seconds": result.waiting_seconds,
            "history": result.history,
        }
    )


def _train(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    dataset: DenseDataset,
    config: RunConfig,
    accelerator: Accelerator,
    console: Console,
) -> Training:
    with bar(console) as shown:
        job = shown.add_task(f"train {config.method.name}", total=config.train.steps, state="")

        def tell(at: Progress) -> None:
            state = f"loss {at.loss:.2f}  {at.images_per_second:.0f} images/s"
            shown.update(job, completed=at.step, state=state)

        return train(model, specs, dataset, config, accelerator, tell)


def _evaluate(
    model: MultiTaskModel, specs: Mapping[str, TaskSpec], dataset: DenseDataset, console: Console
) -> tuple[Values, dict[str, np.ndarray]]:
    with bar(console) as shown:
        job = shown.add_task("evaluate", total=len(dataset), state="")
        return evaluate(
            model, specs, dataset, batch_size=EVALUATION_BATCH, tell=lambda images: shown.advance(job, images)
        )


def _result(spec: TaskSpec, values: dict[str, float], trivial: dict[str, float], *, seen: bool) -> TaskResult:
    return TaskResult(
        convention=f"{spec.convention}/{spec.convention_version}",
        primary=spec.primary,
        unit=spec.unit,
        higher_is_better=spec.higher_is_better,
        values=values,
        trivial=trivial,
        seen_in_pretraining=seen,
    )


@contextmanager
def _nowhere() -> Generator[Path, None, None]:
    """Give a process that is not the main one a folder to write to that is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)
