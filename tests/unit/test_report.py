"""The numbers of a report and what it says of them, on stores that are built by hand."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from report_store import (
    BACKBONE,
    REFERENCE,
    ROLES,
    TASKS,
    analysed,
    by_label,
    cells,
    delta_of,
    frame,
    full_store,
    make,
    page,
    text_of,
    usual,
    write,
)

from petl_bench.errors import UsageError
from petl_bench.report import Report, report
from petl_bench.report.figures import draw_delta_m, draw_tasks
from petl_bench.report.raw import to_frame
from petl_bench.report.runs_figures import draw_curves
from petl_bench.report.stats import Estimate
from petl_bench.report.tables import decimals, main_table, to_latex


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
    assert list(group.table["method"]) == [
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
    assert {"semseg miou (%) ↑", "normals mean_angular_error (deg) ↓"} <= set(group.table.columns)
    vmt = cells(group.table)["vmt"]
    assert vmt["method parameters"] == "2,500"
    assert vmt["% of one backbone"] == "0.25"
    assert vmt["% of 4 backbones"] == "0.0625"
    assert vmt["semseg miou (%) ↑"] == "51.00 ± 0.50"
    assert vmt["delta_m (%) ↑"] == "+2.00 ± 1.00"
    assert vmt["seeds"] == "3"


def test_parts_of_the_parameters_have_columns_where_a_row_has_them(tmp_path: Path):
    cases = [
        *usual("single", 0.0, shared=4 * BACKBONE, more_parameters={"trunk": 4 * BACKBONE, "active": 4 * BACKBONE}),
        *usual("ditask", 0.0, shared=5_000, more_parameters={"trunk": 4_000, "active": 5_000}),
        *usual("polyhistor", 0.0, shared=10, more_parameters={"generator": 500, "trunk": 0, "active": 510}),
        *usual("lora", 0.0, shared=900, more_parameters={"trunk": 0, "active": 300}),
        *usual("vmt", 0.0, shared=2_500),
    ]
    analysis = analysed(tmp_path, cases)
    rows = cells(main_table(analysis))
    names = ["method parameters", "of them added", "of them the trunk's own", "of them a generator's", "of them active"]
    assert [rows["ditask"][name] for name in names] == ["5,000", "1,000", "4,000", "0", "-"]
    assert [rows["polyhistor"][name] for name in names] == ["510", "10", "0", "500", "-"]
    assert [rows["lora"][name] for name in names] == ["900", "900", "0", "0", "300"]
    assert [rows["vmt"][name] for name in names] == ["2,500", "-", "-", "0", "-"], "an older record tells less"
    raw = to_frame(analysis).set_index("label")
    parts = ["added_parameters", "trunk_parameters", "generator_parameters", "active_parameters"]
    assert raw.loc["ditask", parts].tolist() == [1_000, 4_000, 0, 5_000]
    plain = main_table(analysed(tmp_path / "plain", [case for case in cases if case.method == "vmt"]))
    assert not [name for name in plain.columns if name.startswith("of them")]
    assert "of them the trunk's own" in to_latex(main_table(analysis))


def test_learning_rates_are_in_the_label_only_where_they_differ(tmp_path: Path):
    cases = [*usual("vmt", 0.0, learning_rate=2e-3), *usual("vmt", 0.01), *usual("single", 0.0)]
    labels = set(by_label(analysed(tmp_path, cases)))
    assert {"vmt (learning_rate.method=0.001)", "vmt (learning_rate.method=0.002)", "single"} <= labels


@pytest.mark.parametrize(
    ("mean", "digits"), [(10.0, 2), (-10.0, 2), (9.99, 3), (1.0, 3), (0.99, 4), (0.0, 4), (None, 4)]
)
def test_small_scores_have_more_decimals(tmp_path: Path, mean: float | None, digits: int):
    analysis = analysed(tmp_path, usual("vmt", 0.1))
    column = analysis.columns[0]
    scores = {} if mean is None else {column.name: Estimate(mean, 0.1, 3, (mean, mean))}
    assert decimals([replace(analysis.rows[-1], scores=scores)], column) == digits


def test_no_figure_is_drawn_of_rows_without_runs(tmp_path: Path):
    analysis = replace(analysed(tmp_path, usual("vmt", 0.1)), rows=())
    assert not draw_tasks(analysis, {}, tmp_path / "tasks.png")
    assert not (tmp_path / "tasks.png").exists()


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
    assert set(group.table["delta_m (%) ↑"]) == {"-"}
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
    rows = cells(main_table(analysis))
    assert [rows[label]["method parameters"] for label in ("random + frozen", "from scratch")] == ["missing"] * 2
    commands = dict(analysis.missing)
    assert "--method full" in commands["control `from scratch`"]
    assert "--set backbone.weights=random" in commands["control `from scratch`"]
    assert not analysis.missing_references


def test_a_missing_floor_row_is_named_with_its_command(tmp_path: Path):
    analysis = analysed(tmp_path, [*usual("single", 0.0), *usual("vmt", 0.01)])
    assert "--method decoders" in dict(analysis.missing)["floor `decoders`"]


def test_two_conventions_never_share_a_column(tmp_path: Path):
    other = usual("vmt", 0.02, conventions={"semseg": "miou/2"})
    analysis = analysed(tmp_path, [*usual("single", 0.0, spread=0.004), *usual("lora", 0.01), *other])
    header = main_table(analysis).columns
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
    assert cells(group.table)["vmt"]["delta_m (%) ↑"] == "+3.00"
    assert "One seed: the floor rule was not checked" in page(made)
    assert "Floor rows not run (decoders)" in page(made)


def test_untuned_rates_forbid_a_ranking(usual_report: Report):
    assert "**rates not tuned: no ranking**" in page(usual_report)
    assert "\\textbf" not in next(path for path in usual_report.files if path.suffix == ".tex").read_text("utf-8")


def test_reports_on_scenes_say_what_they_cannot_say(tmp_path: Path):
    assert "neither confirm nor refute a published PASCAL-Context figure" in text_of(tmp_path, usual("vmt", 0.0))


def test_reports_on_other_data_do_not_speak_of_scenes(tmp_path: Path):
    assert "neither confirm nor refute" not in text_of(tmp_path, usual("vmt", 0.0, dataset="rooms"))


def test_another_metric_can_stand_for_a_task(tmp_path: Path):
    store = write(tmp_path / "runs", full_store())
    made = report([store], tmp_path / "out", ROLES, {"semseg": "second"})
    assert "semseg second () ↑" in made.groups[0].table.columns
    assert cells(made.groups[0].table)["vmt"]["semseg second () ↑"].startswith("0.5510")
    with pytest.raises(UsageError, match="Did you mean 'second'"):
        report([store], tmp_path / "out", ROLES, {"semseg": "seconds"})
    with pytest.raises(UsageError, match="Did you mean 'semseg'"):
        report([store], tmp_path / "out", ROLES, {"semsg": "second"})


def test_the_table_of_a_terminal_has_fewer_columns_and_the_same_cells(usual_report: Report):
    (group,) = usual_report.groups
    assert list(group.narrow.columns) == [
        "method",
        "method parameters",
        "semseg miou (%) ↑",
        "human_parts miou (%) ↑",
        "saliency max_miou (%) ↑",
        "normals mean_angular_error (deg) ↓",
        "delta_m (%) ↑",
        "seeds",
    ]
    assert group.narrow.equals(group.table[group.narrow.columns])


def test_a_difference_between_environments_is_named(tmp_path: Path):
    other = usual("vmt", 0.0, versions={"petl_bench": "0.1.0", "torch": "2.10.0"})
    text = text_of(tmp_path, [*usual("single", 0.0), *other])
    assert "The environment differs among rows in `versions.torch`: 2.9.0 (`single`); 2.10.0 (`vmt`)." in text
    assert "0123456789ab with uncommitted changes" in text


def test_a_difference_inside_most_rows_is_told_in_few_words(tmp_path: Path):
    new = {"petl_bench": "0.1.0", "torch": "2.10.0"}
    cases = usual("single", 0.0)
    for name in ("vmt", "full", "lora"):
        cases += [*usual(name, 0.0, seeds=(0, 1)), *usual(name, 0.0, seeds=(2,), versions=new)]
    text = text_of(tmp_path, cases)
    assert "in `versions.torch`: 2.9.0 (in every row); 2.10.0 (in every row but `single`)." in text


def test_trained_models_are_compared_with_the_reference_over_pictures(usual_report: Report):
    text = page(usual_report).split("### These trained models, over pictures")[1]
    header = next(line for line in text.splitlines() if line.startswith("| method") and "delta_m" not in line)
    names = ["method", "semseg (%)", "human_parts (%)", "saliency (%)", "normals (deg)"]
    assert [cell.strip() for cell in header.strip("|").split("|")] == names
    (path,) = (path for path in usual_report.files if path.name.endswith("-pictures.csv"))
    lines = pd.read_csv(path).set_index(["label", "task"])
    # The images' noise is that of the seed, so it is gone from the difference; normals are better lower.
    assert lines.loc[("vmt", "semseg"), "better_by"] == pytest.approx(1.0, abs=1e-5)
    assert lines.loc[("vmt", "normals"), "better_by"] == pytest.approx(0.4, abs=1e-5)
    assert set(lines["pictures"]) == {24}
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


def test_latex_tables_are_booktabs_with_as_many_cells_in_every_line(usual_report: Report):
    text = next(path for path in usual_report.files if path.suffix == ".tex").read_text("utf-8")
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert {line.replace(r"\&", "").count("&") for line in lines} == {len(usual_report.groups[0].table.columns) - 1}
    assert all(rule in text for rule in (r"\toprule", r"\midrule", r"\bottomrule"))


def test_no_text_of_a_figure_is_a_formula_that_nothing_sets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(FigureCanvasAgg, "print_png", lambda canvas, _: written.extend(texts_of(canvas.figure)))
    analysis = analysed(tmp_path, full_store())
    palette = dict.fromkeys([row.method for row in analysis.rows], "black")
    for draw in (draw_delta_m, draw_tasks, draw_curves):
        assert draw(analysis, palette, tmp_path / "figure.png")
    assert "1 M" in written, "the ticks of the parameters"
    assert not [text for text in written if "$" in text]


def texts_of(drawn: Figure) -> list[str]:
    drawn.canvas.draw()
    return [text.get_text() for text in drawn.findobj(Text) if text.get_visible()]
