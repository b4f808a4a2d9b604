"""Stores of runs that are built by hand, so that every number of a report can be checked by hand."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.image import imsave

from petl_bench.config import BUDGETS, digest
from petl_bench.experiment import Control, Roles, experiments_folder
from petl_bench.identity import ENGINE_VERSION, identify
from petl_bench.published import read_claims
from petl_bench.records.run import (
    EndSlope,
    Environment,
    HistoryPoint,
    Ledger,
    MetricValue,
    RunRecord,
    Seconds,
    TaskResult,
)
from petl_bench.records.store import CURVE, PICTURE, write_record, write_scores
from petl_bench.report import Report, report
from petl_bench.report.aggregate import Row
from petl_bench.report.analysis import Analysis, analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.page import Section, render

TASKS = {
    "semseg": ("miou", "%", True, 10.0),
    "human_parts": ("miou", "%", True, 8.0),
    "saliency": ("max_miou", "%", True, 30.0),
    "normals": ("mean_angular_error", "deg", False, 40.0),
}


REFERENCE = {"semseg": 50.0, "human_parts": 40.0, "saliency": 60.0, "normals": 20.0}


ROLES = Roles(
    reference="single",
    floor=("decoders",),
    controls=(
        Control(label="random + frozen", method="decoders", weights="random"),
        Control(label="from scratch", method="full", weights="random"),
    ),
)


BACKBONE = 1_000_000

PUBLISHED = read_claims(experiments_folder() / "published")


@dataclass(frozen=True)
class Case:
    """One run to be written: what differs from the usual."""

    method: str
    scores: Mapping[str, float]
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "pretrained"
    content: str | None = None
    steps: int = BUDGETS["quick"]["train"]["steps"]
    shared: int = 0
    more_parameters: Mapping[str, int] = field(default_factory=dict)
    image_size: int = 64
    dataset: str = "scenes"
    protocol: str | None = None
    backbone: str = "embedded"
    learning_rate: float = 1e-3
    engine_version: int = ENGINE_VERSION
    versions: Mapping[str, str] = field(default_factory=lambda: {"petl_bench": "0.1.0", "torch": "2.9.0"})
    conventions: Mapping[str, str] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
    flatness: Mapping[str, EndSlope] | None = None
    error: str | None = None
    extras: bool = True


def usual(
    method: str, gain: float, *, seeds: Sequence[int] = (0, 1, 2), spread: float = 0.01, **more: Any
) -> list[Case]:
    """Runs whose every score is better than the reference's mean by ``gain``, the seeds ``spread`` apart."""
    cases = []
    for seed in seeds:
        factor = gain + (spread * (seed - 1) if len(seeds) > 1 else 0.0)
        scores = {task: REFERENCE[task] * (1 + factor * (1 if TASKS[task][2] else -1)) for task in REFERENCE}
        cases.append(Case(method=method, scores=scores, seed=seed, **more))
    return cases


def full_store() -> list[Case]:
    return [
        *usual("single", 0.0, spread=0.004, shared=4 * BACKBONE),
        *usual("decoders", -0.2, spread=0.004),
        *usual("lora", -0.05, settings={"scope": "per-task", "rank": 4}, shared=40_000),
        *usual("lora", -0.1, settings={"scope": "shared", "rank": 4}, shared=10_000),
        *usual("vmt", 0.02, shared=2_500),
        *usual("decoders", -0.5, weights="random"),
        *usual("full", -0.4, weights="random", shared=BACKBONE),
    ]


def config_of(case: Case) -> dict[str, Any]:
    rates = {"backbone": 2e-4, "method": case.learning_rate, "decoder": 1e-3}
    return {
        "method": {"name": case.method, **case.settings},
        "backbone": {"name": case.backbone, "weights": case.weights},
        "decoder": {"name": "segformer", "width": 32},
        "dataset": {
            "name": case.dataset,
            "image_size": case.image_size,
            **BUDGETS["quick"]["dataset"],
            "flip": True,
            **({} if case.protocol is None else {"protocol": case.protocol}),
        },
        "tasks": list(TASKS),
        "budget": "quick",
        "train": {
            "steps": case.steps,
            "batch_size": BUDGETS["quick"]["train"]["batch_size"],
            "learning_rate": rates,
            "weight_decay": 0.05,
            "warmup_fraction": 0.1,
            "clip_norm": 5.0,
            "loss_weights": {},
            "precision": "no",
        },
        "seed": case.seed,
    }


def result_of(case: Case, task: str) -> TaskResult:
    metric, unit, up, trivial = TASKS[task]
    convention = case.conventions.get(task, f"{metric}/1")
    own = {"unit": unit, "higher_is_better": up, "convention": convention}
    second = {"unit": "", "higher_is_better": True, "convention": "second/1"}
    return TaskResult(
        primary=metric,
        metrics={
            metric: MetricValue(value=case.scores[task], trivial=trivial, **own),
            "second": MetricValue(value=0.5 + case.scores[task] / 1000, trivial=0.1, **second),
        },
        seen_in_pretraining=task in case.seen,
    )


def record_of(case: Case) -> RunRecord:
    config = config_of(case)
    own = case.content or f"{case.backbone} {case.weights}"
    hashes = {
        "weights_hash": "random" if case.weights == "random" else digest(own),
        "data_hash": digest(case.dataset),
        "engine_version": case.engine_version,
    }
    metrics = {task: result_of(case, task) for task in TASKS}
    losses = dict.fromkeys(TASKS, 1.0)
    rate = 0.99 + 0.0001 * (case.scores["semseg"] - 50) + 0.0005 * case.seed
    return RunRecord(
        status="failed" if case.error else "finished",
        created=f"2026-01-01T00:00:0{case.seed}",
        config=config,
        **identify(config, **hashes).model_dump(),
        **hashes,
        execution="tapped",
        environment=Environment(
            versions=dict(case.versions),
            commit="0123456789abcdef",
            dirty=True,
            device="cpu",
            device_name="two cores",
            dtype="float32",
            threads=2,
            platform="Linux",
        ),
        metrics={} if case.error else metrics,
        parameters=Ledger(backbone=BACKBONE, shared=case.shared, decoder=300_000, **case.more_parameters),
        seconds=Seconds(train=60.0 + case.seed),
        history=tuple(
            HistoryPoint(step=step, loss=4.0 * rate**step, losses={t: v * rate**step for t, v in losses.items()})
            for step in range(0, 300, 20)
        ),
        flatness=None if case.flatness is None else dict(case.flatness),
        error=case.error,
    )


def write(store: Path, cases: Sequence[Case]) -> Path:
    for case in cases:
        record = record_of(case)
        folder = store / record.folder_name
        folder.mkdir(parents=True)
        if case.extras:
            generator = np.random.default_rng(case.seed)
            noise = generator.normal(0, 5, size=24)
            write_scores(folder, {task: case.scores[task] + noise for task in TASKS})
            curve = [json.dumps({"step": step, "loss": 1.0, "losses": {}}) for step in (0, 100)]
            (folder / CURVE).write_text("\n".join(curve) + "\n")
            imsave(folder / PICTURE, generator.random((32, 96, 3)))
        write_record(folder, record)
    return store


def make(tmp_path: Path, cases: Sequence[Case], roles: Roles = ROLES) -> Report:
    return report([write(tmp_path / "runs", cases)], tmp_path / "out", roles)


def analysed(tmp_path: Path, cases: Sequence[Case]) -> Analysis:
    """The one comparison group of the cases, without writing or drawing, which takes most of a report's time."""
    (comparison,) = comparisons(load([write(tmp_path / "runs", cases)]).runs, ROLES)
    return analyse(comparison, ROLES, PUBLISHED)


def text_of(tmp_path: Path, cases: Sequence[Case]) -> str:
    """The page of the cases without figures."""
    loaded = load([write(tmp_path / "runs", cases)])
    analyses = [analyse(comparison, ROLES, PUBLISHED) for comparison in comparisons(loaded.runs, ROLES)]
    return render([Section(analysis, analysis.notes, ()) for analysis in analyses], loaded, ())


def by_label(analysis: Analysis) -> dict[str, Row]:
    return {row.label: row for row in analysis.rows}


def delta_of(analysis: Analysis, label: str) -> float:
    delta_m = by_label(analysis)[label].delta_m
    assert delta_m is not None
    return delta_m.mean


def frame(made: Report) -> pd.DataFrame:
    (path,) = (path for path in made.files if path.parent.name == "tables" and path.name.endswith("tasks.csv"))
    return pd.read_csv(path).set_index("label")


def page(made: Report) -> str:
    return made.page.read_text("utf-8")


def cells(table: pd.DataFrame) -> dict[str, dict[str, str]]:
    """A table of text by its first column."""
    return {row["method"]: row for row in table.to_dict("records")}
