"""What a trained model is worth: its metrics beside the trivial predictor's, and the files that they come from."""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from petl_bench.backbones.build import seen_in_pretraining
from petl_bench.config import RunConfig
from petl_bench.data.base import DenseDataset
from petl_bench.engine.clock import Clock, Watch
from petl_bench.engine.evaluate import Measured, decoded, evaluate
from petl_bench.engine.pictures import draw_predictions
from petl_bench.engine.saved import save
from petl_bench.engine.trivial import trivial_values
from petl_bench.model import MultiTaskModel
from petl_bench.records.run import MetricValue, RunRecord, TaskResult
from petl_bench.records.store import PICTURE, WEIGHTS, write_scores, write_statistics
from petl_bench.tasks.base import TaskSpec

EVALUATION_BATCH = 50
EVALUATION_PIXELS = EVALUATION_BATCH * 224 * 224
"""The most images, and pixels, of a pass in evaluation. No number depends on them."""
PICTURES = 4


def evaluation_batch(size: tuple[int, int]) -> int:
    """Return how many images of a size (height, width) are scored in one pass."""
    return max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // math.prod(size)))


def assess(
    model: MultiTaskModel,
    specs: Mapping[str, TaskSpec],
    opened: Mapping[str, DenseDataset],
    config: RunConfig,
    draft: RunRecord,
    folder: Path,
    watch: Watch,
    clock: Clock,
    accelerator: Accelerator,
) -> dict[str, TaskResult]:
    """Score a trained model on the images that are held out, and write scores, pictures and what was trained.

    Args:
        model: The trained model.
        specs: Its tasks.
        opened: The split ``train`` and the one that is scored.
        config: Of the run.
        draft: The record as far as it is known: hashes of weights and data.
        folder: Where the files go.
        watch: Told how far it is.
        clock: Told how long it took.
        accelerator: The processes that share the work.

    Returns:
        The metrics by task.
    """
    testing, batch = opened[config.dataset.scored_split], evaluation_batch(config.dataset.size)
    with clock.phase("evaluate"):
        measured = evaluate(
            model,
            specs,
            testing,
            batch_size=batch,
            tell=lambda images: watch("evaluate", images, len(testing), ""),
            accelerator=accelerator,
        )
        trivial = {
            task: trivial_values(task, spec, config, draft.data_hash, opened.__getitem__, batch_size=batch)
            for task, spec in specs.items()
        }
    with clock.phase("pictures"):
        indices = range(min(PICTURES, len(testing)))
        predictions = decoded(model, specs, testing, indices)
        draw_predictions(folder / PICTURE, [testing[i] for i in indices], predictions, specs)
    write_scores(folder, {task: one.scores for task, one in measured.items()})
    write_statistics(folder, {task: one.statistics for task, one in measured.items()})
    save(model, folder / WEIGHTS)
    seen = seen_in_pretraining(draft.weights_hash, config.dataset.name)
    primary, images = testing.primary, f"{config.dataset.scored_split}:{len(testing)}"
    return {
        task: _result(spec, primary.get(task, spec.primary), measured[task], trivial[task], images, task in seen)
        for task, spec in specs.items()
    }


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
