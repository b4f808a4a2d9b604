"""What a dry run of an experiment tells beside its configs: data, schedule, counts, and published rows."""

import contextlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from petl_bench import plugins
from petl_bench.config import RunConfig, in_words, merge
from petl_bench.data.on_disk import FileConfig
from petl_bench.experiment import experiment_path, experiments_folder, read_experiment
from petl_bench.ledger import count
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.published import Source, read_claims
from petl_bench.terminal import print_rows


def tell_plan(experiment: str, settings: Sequence[Mapping[str, Any]], configs: Sequence[RunConfig]) -> None:
    """Say on stderr what an experiment would do."""
    for line in plan_lines(configs):
        typer.echo(line, err=True)
    with contextlib.redirect_stdout(sys.stderr):
        print_rows(count_rows(settings, configs), "table", "trained parameters")
        beside = read_experiment(experiment_path(experiment)).beside
        rows = published_rows(read_claims(experiments_folder() / "published"), beside) if beside else []
        if rows:
            print_rows(rows, "table", "published rows (as printed, not reproduced here)")


def plan_lines(configs: Sequence[RunConfig]) -> list[str]:
    """Return what is common to the runs of an experiment, as its first one has it."""
    config = configs[0]
    data, train = config.dataset, config.train
    lines = [f"runs: {len(configs)}, seeds {', '.join(sorted({str(one.seed) for one in configs}))}"]
    dataset = plugins.load("datasets", data.name)
    images = f"train {min(data.train_images, dataset.count_train_images(data, config.runtime.folder)):,}"
    text = f"data: {data.name}, {in_words(data.image_size)} px, {images}, test at most {data.test_images:,}"
    if isinstance(data, FileConfig):
        text += f", protocol {data.protocol}, scored at {data.eval_at} size"
    lines += [text, *(f"caveat: {caveat}" for caveat in dataset.caveats(data))]
    epochs = f"{train.epochs:,} epochs = " if train.epochs else ""
    parts = f" in {train.accumulation} parts" if train.accumulation > 1 else ""
    lines.append(
        f"schedule: {epochs}{train.steps:,} steps of {train.batch_size} images{parts}, "
        f"{round(train.warmup_fraction * train.steps):,} of them warm-up, then {train.schedule}; {train.optimizer}, "
        f"weight decay {train.weight_decay:g}, precision {train.precision}"
    )
    rates = ", ".join(f"{kind} {rate:g}" for kind, rate in train.learning_rate.model_dump().items())
    lines.append(f"peak learning rates at batch {train.batch_size}: {rates}")
    return lines


def count_rows(settings: Sequence[Mapping[str, Any]], configs: Sequence[RunConfig]) -> list[dict[str, str]]:
    """Return one row for every method and setting, with what it trains; seeds are one row."""
    rows: list[dict[str, str]] = []
    seen: set[str] = set()
    for one, config in zip(settings, configs, strict=True):
        own = str(one.get("method"))
        if own in seen:
            continue
        seen.add(own)
        shapes = merge(one, {"tasks": list(config.tasks), "backbone": {"weights": "random"}})
        ledger = count(build_on_meta(shapes).model)
        given = ", ".join(f"{key}={value}" for key, value in one.get("method", {}).items() if key != "name")
        rows.append(
            {
                "method": config.method.name + (f" ({given})" if given else ""),
                "method parameters": f"{ledger.method:,}",
                "of the trunk": f"{ledger.trunk:,}",
                "generator": f"{ledger.generator:,}",
                "decoders": f"{ledger.decoder:,}",
            }
        )
    return rows


def published_rows(sources: Mapping[str, Source], names: Sequence[str]) -> list[dict[str, str]]:
    """Return the printed scores that the runs would stand beside."""
    return [
        {
            "published row": claim.row,
            **{task: f"{score:g}" for task, score in claim.scores.items()},
            "delta_m": claim.published,
            "source": sources[f"{name}.toml"].source,
        }
        for name in names
        for claim in sources[f"{name}.toml"].accuracy
    ]
