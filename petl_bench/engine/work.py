"""One run in the hands of a process: trained from where it was left, evaluated, written."""

import tempfile
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from accelerate import Accelerator

from petl_bench.config import RunConfig
from petl_bench.data.base import DenseDataset, Split
from petl_bench.engine.build import build, task_specs
from petl_bench.engine.clock import Clock, Watch
from petl_bench.engine.evaluate import evaluate
from petl_bench.engine.frozen import frozen_digests, require_counted, require_unmoved
from petl_bench.engine.keep import Keeper, Say
from petl_bench.engine.processes import names_of_all
from petl_bench.engine.results import assess, evaluation_batch
from petl_bench.engine.saved import put_into
from petl_bench.engine.signals import Stop
from petl_bench.engine.train import Progress, train
from petl_bench.errors import UsageError
from petl_bench.identity import ENGINE_VERSION
from petl_bench.ledger import count
from petl_bench.model import MultiTaskModel
from petl_bench.plugins import load
from petl_bench.records.run import RunRecord, TaskResult
from petl_bench.records.store import WEIGHTS, Store, write_curve, write_record
from petl_bench.records.working import CHECKPOINT, clear, header_of

NAMED = 10  # images that a caveat names


@dataclass(frozen=True)
class Work:
    """A run that is this process's.

    Attributes:
        config: What is run.
        draft: Its record as it is before anything was measured.
        store: Where its folder goes.
        accelerator: Its device, number type and processes.
        watch: Told how far it is.
        say: Told in words where training goes on.
        stop: Whether the process was asked to end.
        require: Raises if the run is no longer this process's.
        clock: Of its wall time.
    """

    config: RunConfig
    draft: RunRecord
    store: Store
    accelerator: Accelerator
    watch: Watch
    say: Say
    stop: Stop
    require: Callable[[], None]
    clock: Clock

    @property
    def working(self) -> Path:
        """The folder of what is not complete."""
        return self.store.working(self.draft.folder_name)

    def recorded(self, work: Callable[[], RunRecord]) -> RunRecord:
        """Do the work; what fails becomes a record, unless a finished one is there already."""
        try:
            record = work()
        except UsageError:
            raise
        except Exception as error:
            text = "".join(traceback.format_exception(error))
            record = self.draft.model_copy(update={"error": text, "seconds": self.clock.account})
            self.require()
            if self.store.find(record.folder_name) is None:
                with self._writing() as folder:
                    write_record(folder, record)
        else:
            if self.accelerator.is_main_process:
                clear(self.working)
        return record

    def execute(self) -> RunRecord:
        """Train, evaluate and write the run's folder."""
        config, specs = self.config, task_specs(self.config)
        opened = self._opened()
        model = self._built()
        before = frozen_digests(model)

        def tell(at: Progress) -> None:
            state = f"loss {at.loss:.2f}  {at.images_per_second:.0f} images/s"
            self.watch("train", at.step, config.train.steps, state)

        scored = self._scored_apart(model) if config.train.validate_epochs else None
        with self.clock.phase("train"):
            result = train(model, specs, opened["train"], config, self.accelerator, tell, self._keeper(), scored)
        self.clock.add("train", result.spent.earlier_seconds)
        require_unmoved(model.method, before, frozen_digests(model))
        dtype, device = result.spent.dtype, result.spent.device
        with self._writing() as folder:
            metrics = self._assessed(model, opened, folder)
            unreadable = result.unreadable.union(*(dataset.unreadable for dataset in opened.values()))
            record = self.draft.model_copy(
                update={
                    "status": "finished",
                    "execution": model.method.execution,
                    "environment": self.draft.environment.model_copy(update={"dtype": dtype, "device": device}),
                    "caveats": (
                        *load("datasets", config.dataset.name).caveats(config.dataset),
                        *result.caveats,
                        *_skipped(names_of_all(unreadable, self.accelerator)),
                    ),
                    "metrics": metrics,
                    "parameters": count(model),
                    "seconds": self.clock.account,
                    "images_per_second": result.images_per_second,
                    "waiting_seconds": result.spent.waiting_seconds,
                    "history": result.history,
                    "flatness": dict(result.flatness),
                    "validation": result.validation,
                    "resumed_at": result.spent.resumed_at,
                    "skipped_steps": result.skipped_steps,
                }
            )
            self._complete(folder, record)
        return record

    def require_trained(self, known: RunRecord | None) -> None:
        """Ask for a finished training.

        Raises:
            UsageError: There is none.
        """
        header = header_of(self.working / CHECKPOINT)
        if known is None and (header is None or header.step < self.config.train.steps):
            there = "nothing" if header is None else f"a state after step {header.step} of {self.config.train.steps}"
            raise UsageError(
                f"--evaluate-only: of {self.draft.folder_name} there is {there} in {str(self.store.folder)!r}, not a "
                "finished training.\nType: the same command without --evaluate-only"
            )

    def assess_again(self, known: RunRecord) -> RunRecord:
        """Make the results of a finished run again from what it trained; the training's part of the record stays."""
        opened, model = self._opened(), self._built()
        put_into(model, self.store.folder / known.folder_name / WEIGHTS)
        with self._writing() as folder:
            metrics = self._assessed(model, opened, folder)
            spent = self.clock.account
            seconds = known.seconds.model_copy(update={"evaluate": spent.evaluate, "pictures": spent.pictures})
            update = {"metrics": metrics, "seconds": seconds, "evaluated": self.draft.environment}
            record = known.model_copy(update=update)
            self._complete(folder, record)
        return record

    def _opened(self) -> dict[str, DenseDataset]:
        config, root = self.config, self.config.runtime.folder
        dataset = load("datasets", config.dataset.name)
        with self.clock.phase("data"):
            splits: tuple[Split, ...] = ("train", config.dataset.scored_split)
            opened = {split: dataset(config.dataset, split, config.tasks, root=root) for split in splits}
            opened[config.dataset.scored_split][0]  # what an input cannot hold is told before a training, not after it
            return opened

    def _scored_apart(self, model: MultiTaskModel) -> Callable[[], dict[str, Mapping[str, float]]]:
        """Return what scores the model on the images that are set apart to tune on."""
        config, specs = self.config, task_specs(self.config)
        apart = load("datasets", config.dataset.name)(config.dataset, "val", config.tasks, root=config.runtime.folder)

        def scored() -> dict[str, Mapping[str, float]]:
            seen = evaluate(
                model,
                specs,
                apart,
                batch_size=evaluation_batch(config.dataset.size),
                tell=lambda images: self.watch("validate", images, len(apart), ""),
                accelerator=self.accelerator,
            )
            return {task: one.values for task, one in seen.items()}

        return scored

    def _built(self) -> MultiTaskModel:
        with self.clock.phase("build"):
            model = build(self.config)
            for line in model.method.backbone.mappings:
                self.say(line)
            require_counted(model.method)
            return model.to(self.accelerator.device)

    def _assessed(
        self, model: MultiTaskModel, opened: Mapping[str, DenseDataset], folder: Path
    ) -> dict[str, TaskResult]:
        specs, accelerator = task_specs(self.config), self.accelerator
        return assess(model, specs, opened, self.config, self.draft, folder, self.watch, self.clock, accelerator)

    def _keeper(self) -> Keeper:
        return Keeper(
            self.working,
            fingerprint=self.draft.fingerprint,
            engine_version=ENGINE_VERSION,
            runtime=self.config.runtime,
            stop=self.stop,
            require=self.require,
            say=self.say,
            writes=self.accelerator.is_main_process,
        )

    @contextmanager
    def _writing(self) -> Generator[Path, None, None]:
        """Give the folder that becomes the run's; other processes than the main one get one that is thrown away."""
        if not self.accelerator.is_main_process:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder)
            return
        with self.store.writing(self.draft.folder_name) as folder:
            yield folder

    def _complete(self, folder: Path, record: RunRecord) -> None:
        """Write the last files of a run's folder, if the run is still this process's."""
        write_curve(folder, record.history)
        self.require()
        write_record(folder, record)


def _skipped(names: Sequence[str]) -> tuple[str, ...]:
    """Say which images count for nothing, wholly or in a task, since a file of theirs cannot be read."""
    if not names:
        return ()
    some = ", ".join(names[:NAMED]) + (" ..." if names[NAMED:] else "")
    return (f"unreadable files of {len(names)} images count for nothing: {some}",)
