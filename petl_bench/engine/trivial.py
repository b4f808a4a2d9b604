"""The trivial predictor: fitted on the training labels and scored once for each data set, task and convention.

The values are kept in the cache folder under a hash of all they depend on; a file that cannot be read is made again.
"""

import json
from collections.abc import Callable
from pathlib import Path

from petl_bench.config import RunConfig, digest
from petl_bench.data.base import DenseDataset
from petl_bench.engine.evaluate import in_order
from petl_bench.files import appearing, cache_folder
from petl_bench.tasks.base import TaskSpec

VERSION = 1  # of the predictors' fits


def trivial_values(
    task: str,
    spec: TaskSpec,
    config: RunConfig,
    data_hash: str,
    opened: Callable[[str], DenseDataset],
    *,
    batch_size: int,
) -> dict[str, float]:
    """Return the values of a task's trivial predictor on the test images.

    Args:
        task: Its name in the data set.
        spec: What it is.
        config: Of the run: which images, at which size.
        data_hash: What identifies the images and labels.
        opened: Gives the training split or the one that is scored.
        batch_size: Images that are read at once.
    """
    known = {
        "version": VERSION,
        "data_hash": data_hash,
        "dataset": config.dataset.model_dump(mode="json"),
        "task": task,
        "kind": spec.name,
        "channels": spec.channels,
        "metrics": {name: version for name, (_, _, version) in spec.metrics.items()},
    }
    path = cache_folder() / "trivial" / f"{digest(known)}.json"
    values = _read(path, spec)
    if values is None:
        values = _measured(task, spec, opened("train"), opened(config.dataset.scored_split), batch_size)
        _keep(path, values)
    return values


def _measured(task: str, spec: TaskSpec, train: DenseDataset, test: DenseDataset, batch_size: int) -> dict[str, float]:
    constant = spec.trivial(batch.labels[task] for batch in in_order(train, batch_size))
    metric = spec.metric()
    for batch in in_order(test, batch_size):
        for prediction, label in batch.scored(task, constant.expand(len(batch.images), *constant.shape)):
            metric.update(prediction, label)
    return metric.compute()


def _read(path: Path, spec: TaskSpec) -> dict[str, float] | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = {name: float(content["values"][name]) for name in spec.metrics}
        return values if content["digest"] == digest(content["values"]) else None
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _keep(path: Path, values: dict[str, float]) -> None:
    try:
        with appearing(path) as scratch:
            scratch.write_text(json.dumps({"values": values, "digest": digest(values)}), encoding="utf-8")
    except OSError:
        return  # a cache that cannot be written costs time, not a run
