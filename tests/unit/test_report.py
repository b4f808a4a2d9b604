"""The report on stores that are built by hand, so that every number can be checked by hand."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imsave

from petl_bench.config import BUDGETS
from petl_bench.errors import UsageError
from petl_bench.plan import Control, Roles
from petl_bench.record import Environment, HistoryPoint, Ledger, RunRecord, Seconds, TaskResult
from petl_bench.report import Report, report
from petl_bench.report.aggregate import Row
from petl_bench.report.analysis import Analysis, analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.page import Section, render
from petl_bench.report.tables import escape_latex, main_table
from petl_bench.store import CURVE, PICTURE, write_record, write_scores

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


@dataclass(frozen=True)
class Case:
    """One run to be written: what differs from the usual."""

    method: str
    scores: Mapping[str, float]
    seed: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    weights: str = "pretrained"
    shared: int = 0
    image_size: int = 64
    dataset: str = "scenes"
    backbone: str = "embedded"
    learning_rate: float = 1e-3
    rates_tuned: bool = False
    versions: Mapping[str, str] = field(default_factory=lambda: {"petl_bench": "0.1.0", "torch": "2.9.0"})
    conventions: Mapping[str, str] = field(default_factory=dict)
    seen: tuple[str, ...] = ()
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
            "train_images": 1200,
            "test_images": 300,
            "flip": True,
        },
        "tasks": list(TASKS),
        "budget": "quick",
        "train": {
            "steps": BUDGETS["quick"]["train"]["steps"],
            "batch_size": 16,
            "learning_rate": rates,
            "weight_decay": 0.05,
            "warmup_fraction": 0.1,
            "clip_norm": 5.0,
            "loss_weights": {},
            "precision": "no",
        },
        "seed": case.seed,
        "runtime": {"device": "cpu", "threads": 2},
    }


def record_of(case: Case) -> RunRecord:
    config = config_of(case)
    shared = [case.backbone, case.dataset, case.image_size]
    group = [case.method, case.settings, case.weights, case.learning_rate, *shared]
    metrics = {
        task: TaskResult(
            convention=case.conventions.get(task, f"{metric}/1"),
            primary=metric,
            unit=unit,
            higher_is_better=up,
            values={metric: case.scores[task], "second": 0.5},
            trivial={metric: trivial, "second": 0.1},
            seen_in_pretraining=task in case.seen,
        )
        for task, (metric, unit, up, trivial) in TASKS.items()
    }
    losses = dict.fromkeys(TASKS, 1.0)
    rate = 0.99 + 0.0001 * (case.scores["semseg"] - 50) + 0.0005 * case.seed
    return RunRecord(
        status="failed" if case.error else "finished",
        created=f"2026-01-01T00:00:0{case.seed}",
        config=config,
        fingerprint=digest([*group, case.seed]),
        group=digest(group),
        comparison=digest(shared),
        weights_hash=digest(case.weights),
        data_hash=digest(case.dataset),
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
        parameters=Ledger(backbone=BACKBONE, shared=case.shared, decoder=300_000),
        seconds=Seconds(train=60.0 + case.seed),
        history=tuple(
            HistoryPoint(step=step, loss=4.0 * rate**step, losses={t: v * rate**step for t, v in losses.items()})
            for step in range(0, 300, 20)
        ),
        rates_tuned=case.rates_tuned,
        error=case.error,
    )


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=dict).encode()).hexdigest()


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
    return analyse(comparison, ROLES)


def text_of(tmp_path: Path, cases: Sequence[Case]) -> str:
    """The page of the cases without figures."""
    loaded = load([write(tmp_path / "runs", cases)])
    analyses = [analyse(comparison, ROLES) for comparison in comparisons(loaded.runs, ROLES)]
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


@pytest.fixture(scope="module")
def usual_report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    return make(tmp_path_factory.mktemp("usual"), full_store())


def test_importing_the_report_imports_no_torch():
    code = "import sys, petl_bench.report; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_delta_m_and_gain_equal_the_hand_computation(usual_report: Report):
    rows = frame(usual_report)
    assert rows.loc["vmt", "delta_m.mean"] == pytest.approx(2.0)
    assert rows.loc["vmt", "delta_m.sd"] == pytest.approx(1.0)
    assert rows.loc["lora (scope=shared)", "delta_m.mean"] == pytest.approx(-10.0)
    assert rows.loc["single", "delta_m.mean"] == pytest.approx(0.0, abs=1e-9)
    spans = [0.02 * REFERENCE[task] / abs(REFERENCE[task] - TASKS[task][3]) for task in TASKS]
    assert rows.loc["vmt", "floor_corrected_gain.mean"] == pytest.approx(100 * np.mean(spans))
    assert rows.loc["trivial predictor", "floor_corrected_gain.mean"] == pytest.approx(-100.0)


def test_the_error_of_the_reference_is_told_beside_the_spread_of_the_row(usual_report: Report):
    rows = frame(usual_report)
    # A seed of the reference moves every task by 0.4 %: the row's three scores at 1.02 and one at 0.98 move with it.
    assert rows.loc["vmt", "delta_m.reference_error"] == pytest.approx((3 * 1.02 + 0.98) / 4 * 0.4 / np.sqrt(3))
    assert np.isnan(rows.loc["single", "delta_m.reference_error"])
    assert "standard error moves every delta_m together by" in page(usual_report)


def test_rows_come_as_controls_reference_and_methods_by_parameters(usual_report: Report):
    (group,) = usual_report.groups
    assert [row[0] for row in group.rows] == [
        "trivial predictor",
        "random + frozen: decoders",
        "from scratch: full",
        "single",
        "decoders",
        "vmt",
        "lora (scope=shared)",
        "lora (scope=per-task)",
    ]


def test_the_main_table_has_units_arrows_and_percentages_of_backbones(usual_report: Report):
    (group,) = usual_report.groups
    assert "semseg miou (%) ↑" in group.header
    assert "normals mean_angular_error (deg) ↓" in group.header
    vmt = dict(zip(group.header, group.rows[5], strict=True))
    assert vmt["method parameters"] == "2,500"
    assert vmt["% of one backbone"] == "0.25"
    assert vmt["% of 4 backbones"] == "0.0625"
    assert vmt["semseg miou (%) ↑"] == "51.00 ± 0.50"
    assert vmt["delta_m (%) ↑"] == "+2.00 ± 1.00"
    assert vmt["seeds"] == "3"


def test_learning_rates_are_in_the_label_only_where_they_differ(tmp_path: Path):
    cases = [*usual("vmt", 0.0, learning_rate=2e-3), *usual("vmt", 0.01), *usual("single", 0.0)]
    labels = set(by_label(analysed(tmp_path, cases)))
    assert {"vmt (learning_rate.method=0.001)", "vmt (learning_rate.method=0.002)", "single"} <= labels


def test_without_a_reference_everything_is_written_with_the_commands_that_make_it(tmp_path: Path):
    cases = [case for case in full_store() if case.method != "single"]
    made = make(tmp_path, cases)
    command = (
        "petl-bench run --method single --tasks semseg,human_parts,saliency,normals --budget quick --seed 0 "
        "--set decoder.width=32 --set dataset.image_size=64"
    )
    assert made.missing_references[0] == command
    assert len(made.missing_references) == 3
    (group,) = made.groups
    assert {row[group.header.index("delta_m (%) ↑")] for row in group.rows} == {"-"}
    assert command in page(made)
    assert not any(path.name.endswith("delta-m.png") for path in made.files)


def test_a_command_names_the_dataset_and_settings_that_are_no_default(tmp_path: Path):
    (command, *_) = analysed(tmp_path, usual("vmt", 0.0, dataset="rooms")).missing_references
    assert "--dataset rooms" in command
    assert "--backbone" not in command
    assert "train." not in command


def test_a_command_gives_the_weights_of_a_backbone_that_is_no_default(tmp_path: Path):
    (command, *_) = analysed(tmp_path, usual("vmt", 0.0, backbone="swin_tiny")).missing_references
    assert "--backbone swin_tiny" in command
    assert "--set backbone.weights=pretrained" in command


def test_missing_controls_are_shown_with_their_command(tmp_path: Path):
    analysis = analysed(tmp_path, [case for case in full_store() if case.weights != "random"])
    rows = main_table(analysis).rows
    assert [row[:2] for row in rows[1:3]] == [("random + frozen", "missing"), ("from scratch", "missing")]
    commands = dict(analysis.missing)
    assert "--method full" in commands["control `from scratch`"]
    assert "--set backbone.weights=random" in commands["control `from scratch`"]
    assert not analysis.missing_references


def test_a_missing_floor_row_is_named_with_its_command(tmp_path: Path):
    analysis = analysed(tmp_path, [*usual("single", 0.0), *usual("vmt", 0.01)])
    assert "--method decoders" in dict(analysis.missing)["floor `decoders`"]


def test_failed_runs_are_listed_with_their_error_and_stay_out_of_the_tables(tmp_path: Path):
    failed = replace(usual("bitfit", 0.0, seeds=[0])[0], error="RuntimeError: out of memory\nat step 3")
    text = text_of(tmp_path, [*full_store(), failed])
    assert "## Failed runs" in text
    assert "RuntimeError: out of memory at step 3" in text
    assert "| bitfit" not in text


def test_a_store_of_failed_runs_alone_still_makes_a_page(tmp_path: Path):
    made = make(tmp_path, [replace(usual("vmt", 0.0, seeds=[0])[0], error="boom")])
    assert made.groups == ()
    assert "boom" in page(made)


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"schema_version": 99}'])
def test_damaged_records_are_found(tmp_path: Path, content: str):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    (store / "foreign").mkdir()
    (store / "foreign" / "record.json").write_text(content)
    assert load([store]).damaged == (store / "foreign" / "record.json",)


def test_damaged_records_are_counted_and_named(tmp_path: Path):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    (store / "foreign").mkdir()
    (store / "foreign" / "record.json").write_text("{")
    made = report([store], tmp_path / "out", ROLES)
    assert "foreign/record.json" in made.notes[0]
    assert "(1)" in made.notes[0]
    assert made.notes[0] in page(made)


@pytest.mark.parametrize("section", ["method", "train", "tasks", "seed"])
def test_a_record_whose_config_lacks_a_part_is_damaged_too(tmp_path: Path, section: str):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    path = next(store.iterdir()) / "record.json"
    content = json.loads(path.read_text())
    del content["config"][section]
    path.write_text(json.dumps(content))
    assert load([store]).damaged == (path,)


def test_a_store_of_damaged_records_alone_is_an_error_that_names_them(tmp_path: Path):
    (tmp_path / "runs" / "foreign").mkdir(parents=True)
    (tmp_path / "runs" / "foreign" / "record.json").write_text("{")
    with pytest.raises(UsageError, match=r"foreign/record\.json"):
        load([tmp_path / "runs"])


def test_damaged_curves_scores_and_pictures_are_left_out(tmp_path: Path):
    store = write(tmp_path / "runs", full_store())
    for folder in store.iterdir():
        for name in (CURVE, PICTURE, "scores.npz"):
            (folder / name).write_bytes(b"PK\x03\x04 no")
    made = report([store], tmp_path / "out", ROLES)
    assert not any("predictions" in path.name for path in made.files)
    assert "Paired over images" not in page(made)


def test_two_conventions_never_share_a_column(tmp_path: Path):
    other = usual("vmt", 0.02, conventions={"semseg": "miou/2"})
    analysis = analysed(tmp_path, [*usual("single", 0.0, spread=0.004), *usual("lora", 0.01), *other])
    header = main_table(analysis).header
    assert {"semseg [miou/1] miou (%) ↑", "semseg [miou/2] miou (%) ↑", "normals mean_angular_error (deg) ↓"} <= set(
        header
    )
    rows = by_label(analysis)
    assert "semseg [miou/1]" not in rows["vmt"].scores
    assert "semseg [miou/2]" not in rows["lora"].scores
    assert rows["vmt"].delta_m is None
    assert delta_of(analysis, "lora") == pytest.approx(1.0)
    assert any("different conventions" in note for note in analysis.notes)


def test_a_task_seen_in_pretraining_stays_out_of_delta_m_by_name(tmp_path: Path):
    cases = [replace(case, seen=("semseg",)) for case in full_store()]
    cases = [replace(case, scores={**case.scores, "semseg": 99.0}) if case.method == "vmt" else case for case in cases]
    analysis = analysed(tmp_path, cases)
    assert analysis.base.higher_is_better == {"human_parts": True, "saliency": True, "normals": False}
    assert delta_of(analysis, "vmt") == pytest.approx(2.0)
    assert "`semseg` is shown but stays out of delta_m: its labels were seen in pre-training." in analysis.notes


def test_a_task_near_the_floor_stays_out_of_delta_m_by_name(tmp_path: Path):
    near = {"semseg": 50.5}
    cases = [
        replace(case, scores={**case.scores, **near})
        if (case.method, case.weights) == ("decoders", "pretrained")
        else case
        for case in full_store()
    ]
    assert "`semseg` is shown but stays out of delta_m: the reference does not beat `decoders`." in text_of(
        tmp_path, cases
    )


def test_a_reference_within_five_deviations_of_the_floor_does_not_count(tmp_path: Path):
    cases = [*usual("single", 0.0, spread=0.02), *usual("decoders", -0.05, spread=0.02), *usual("vmt", 0.1)]
    analysis = analysed(tmp_path, cases)
    text = " ".join(analysis.notes)
    assert "beats `decoders` by 2.5 standard deviations of the seeds only (5 are needed)" in text
    assert "No task enters delta_m" in text
    assert not analysis.missing_references


def test_one_seed_gives_numbers_without_spread_and_says_so(tmp_path: Path):
    made = make(tmp_path, [*usual("single", 0.0, seeds=[0]), *usual("vmt", 0.03, seeds=[0])])
    (group,) = made.groups
    assert group.rows[-1][group.header.index("delta_m (%) ↑")] == "+3.00"
    assert "One seed: the floor rule was not checked" in page(made)
    assert "Floor rows not run (decoders)" in page(made)


def test_other_image_sizes_make_another_group_with_files_of_its_own(tmp_path: Path):
    made = make(tmp_path, [*usual("vmt", 0.0), *usual("vmt", 0.0, image_size=96)])
    assert len(made.groups) == 2
    tables = {path.name for path in made.files if path.suffix == ".tex"}
    assert len(tables) == 2
    assert all(name.startswith("embedded-segformer-scenes-quick-4tasks-") for name in tables)


def test_the_out_folder_may_lie_inside_the_store_and_is_replaced(tmp_path: Path):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    first = report([store], store / "report", ROLES)
    before = page(first)
    stale = store / "report" / "tables" / "stale.md"
    stale.write_text("old")
    second = report([store], store / "report", ROLES)
    assert page(second) == before
    assert not stale.exists()
    assert [path.name for path in store.iterdir() if path.name.startswith(".")] == []


def test_a_folder_that_holds_something_else_is_not_replaced(tmp_path: Path):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    with pytest.raises(UsageError, match="would be lost"):
        report([store], store, ROLES)
    assert len(list(store.iterdir())) == 3


def test_a_crash_leaves_the_older_report_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    before = page(report([store], tmp_path / "out", ROLES))

    def crash(*_: object) -> str:
        raise RuntimeError("no page")

    monkeypatch.setattr("petl_bench.report.render", crash)
    with pytest.raises(RuntimeError):
        report([store], tmp_path / "out", ROLES)
    assert (tmp_path / "out" / "report.md").read_text("utf-8") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "runs"]


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_runs_is_an_error_that_says_what_to_type(tmp_path: Path, name: str):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="petl-bench run --method vmt --tasks 4") as error:
        report([tmp_path / name], tmp_path / "out", ROLES)
    assert "record.json" in str(error.value)


def test_a_run_folder_is_a_store_of_one(tmp_path: Path):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    made = report([next(store.iterdir())], tmp_path / "out", ROLES)
    assert len(pd.read_csv(tmp_path / "out" / "runs.csv")) == 1
    assert len(made.groups) == 1


def test_the_same_run_in_two_stores_counts_once(tmp_path: Path):
    loaded = load([write(tmp_path / name, usual("vmt", 0.0)) for name in ("one", "two")])
    assert (len(loaded.runs), loaded.repeated) == (3, 3)


def test_runs_csv_has_every_metric_of_every_run(tmp_path: Path):
    make(tmp_path, full_store())
    runs = pd.read_csv(tmp_path / "out" / "runs.csv")
    assert len(runs) == 21
    assert {"semseg.miou", "semseg.second", "semseg.trivial.miou", "semseg.convention", "delta_m"} <= set(runs.columns)
    one = runs[(runs["method"] == "vmt") & (runs["seed"] == 2)].iloc[0]
    assert one["semseg.miou"] == pytest.approx(50 * 1.03)
    assert one["delta_m"] == pytest.approx(3.0)


def test_untuned_rates_forbid_a_ranking(usual_report: Report):
    assert "**rates not tuned: no ranking**" in page(usual_report)
    assert "\\textbf" not in next(path for path in usual_report.files if path.suffix == ".tex").read_text("utf-8")


def test_tuned_rates_set_off_the_best_of_the_methods(tmp_path: Path):
    text = text_of(tmp_path, [replace(case, rates_tuned=True) for case in full_store()])
    assert "no ranking" not in text
    assert "**+2.00 ± 1.00**" in text
    assert "**19.60 ± 0.20**" in text


def test_reports_on_scenes_say_what_they_cannot_say(tmp_path: Path):
    assert "neither confirm nor refute a published PASCAL-Context figure" in text_of(tmp_path, usual("vmt", 0.0))


def test_reports_on_other_data_do_not_speak_of_scenes(tmp_path: Path):
    assert "neither confirm nor refute" not in text_of(tmp_path, usual("vmt", 0.0, dataset="rooms"))


def test_random_weights_outside_of_the_controls_are_warned_of(tmp_path: Path):
    analysis = analysed(tmp_path, [*full_store(), *usual("vmt", -0.3, weights="random")])
    (warning,) = (note for note in analysis.notes if note.startswith("Warning"))
    assert "`vmt (weights=random)` started from random weights" in warning


def test_a_difference_between_environments_is_named(tmp_path: Path):
    other = usual("vmt", 0.0, versions={"petl_bench": "0.1.0", "torch": "2.10.0"})
    text = text_of(tmp_path, [*usual("single", 0.0), *other])
    assert "The environment differs among rows in `versions.torch`: 2.9.0 (`single`); 2.10.0 (`vmt`)." in text
    assert "0123456789ab with uncommitted changes" in text


def test_rows_are_paired_with_the_reference_over_images(usual_report: Report):
    text = page(usual_report)
    assert "### Paired over images" in text
    assert "| method | semseg (%) | human_parts (%) | saliency (%) | normals (deg) |" in text
    (path,) = (path for path in usual_report.files if path.name.endswith("-paired.csv"))
    lines = pd.read_csv(path).set_index(["label", "task"])
    # The images' noise is that of the seed, so it is gone from the difference; normals are better lower.
    assert lines.loc[("vmt", "semseg"), "better_by"] == pytest.approx(1.0, abs=1e-5)
    assert lines.loc[("vmt", "normals"), "better_by"] == pytest.approx(0.4, abs=1e-5)
    assert set(lines["images"]) == {24}
    assert "single" not in lines.index.get_level_values("label")


def test_all_figures_are_written_and_shown(usual_report: Report):
    names = {path.name for path in usual_report.files if path.suffix == ".png"}
    assert {name.rsplit("tasks-", 1)[1] for name in names} == {
        "delta-m.png",
        "tasks.png",
        "curves.png",
        "predictions.png",
    }
    assert all(f"(figures/{name})" in page(usual_report) for name in names)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("human_parts 5 % & more", r"human\_parts 5 \% \& more"),
        ("a\\b{c}$#~^", r"a\textbackslash{}b\{c\}\$\#\textasciitilde{}\textasciicircum{}"),
        ("1 ± 2 ↑↓", r"1 $\pm$ 2 $\uparrow$$\downarrow$"),
        ("delta_m (%)", r"$\Delta_m$ (\%)"),
        ("-3.0 scope=per-task 4-6", "$-$3.0 scope=per-task 4-6"),
    ],
)
def test_latex_escapes_what_it_would_read_as_a_command(text: str, escaped: str):
    assert escape_latex(text) == escaped


def test_latex_tables_are_booktabs_with_as_many_cells_in_every_line(usual_report: Report):
    text = next(path for path in usual_report.files if path.suffix == ".tex").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {len(usual_report.groups[0].header) - 1}
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_a_pipe_in_a_setting_does_not_break_the_markdown_table(tmp_path: Path):
    cases = [*usual("lora", 0.0, settings={"sites": "q|v"}), *usual("lora", 0.0, settings={"sites": "q"})]
    assert r"| lora (sites=q\|v) |" in text_of(tmp_path, cases)
