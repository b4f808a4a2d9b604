"""What a report reads and writes: damaged and failed records, its own folder, its tables for other programs."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from report_store import ROLES, full_store, make, page, text_of, usual, write

from petl_bench.cli.main import main
from petl_bench.errors import UsageError
from petl_bench.records.labels import exact_fields
from petl_bench.records.run import Environment
from petl_bench.records.scaling import ScalingRecord, ScalingRow
from petl_bench.records.store import CURVE, PICTURE
from petl_bench.report import report
from petl_bench.report.load import load
from petl_bench.report.scaling.page import write_scaling
from petl_bench.report.tables import to_latex
from petl_bench.signed import sign_all


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
    assert "over pictures" not in page(made)


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
    sign_all(store / "report")  # as a report would that had one table more
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
    assert {"semseg.miou", "semseg.second", "semseg.trivial.miou", "semseg.miou.convention", "delta_m"} <= set(
        runs.columns
    )
    one = runs[(runs["method"] == "vmt") & (runs["seed"] == 2)].iloc[0]
    assert one["semseg.miou"] == pytest.approx(50 * 1.03)
    assert one["delta_m"] == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("human_parts 5 % & more", r"human\_parts 5 \% \& more"),
        ("a{c}$#", r"a\{c\}\$\#"),
        ("1 ± 2 ↑↓", r"1 $\pm$ 2 $\uparrow$$\downarrow$"),
        ("delta_m (%)", r"$\Delta_m$ (\%)"),
        ("-3.0 scope=per-task 4-6", "$-$3.0 scope=per-task 4-6"),
        ("[0.2:0.9]", "{[}0.2:0.9{]}"),
    ],
)
def test_latex_escapes_what_it_would_read_as_a_command(text: str, escaped: str):
    latex = to_latex(pd.DataFrame([[text, text]], columns=["method", text]))
    assert f"method & {escaped} \\\\" in latex
    assert f"{escaped} & {escaped} \\\\" in latex


def test_a_pipe_in_a_setting_does_not_break_the_markdown_table(tmp_path: Path):
    cases = [*usual("lora", 0.0, settings={"sites": "q|v"}), *usual("lora", 0.0, settings={"sites": "q"})]
    assert r"| lora (sites=q\|v) " in text_of(tmp_path, cases)


def test_scaling_stands_beside_accuracy_when_the_store_has_it(tmp_path: Path):
    store = write(tmp_path / "runs", usual("vmt", 0.0))
    assert "Cost against" not in page(report([store], tmp_path / "without", ROLES))
    fields = {"method": "vmt", "label": "vmt", "metric": "macs", "phase": "infer", "part": "encoder"}
    fields |= {"execution": "tapped", "unit": "macs", "synthetic_tasks": (0, 0)}
    environment = Environment(
        versions={"torch": "2"}, commit=None, dirty=None, device="cpu", device_name="cpu", dtype="float32",
        threads=1, platform="any",
    )  # fmt: skip
    row = ScalingRow.model_validate(
        {**fields, **exact_fields((1, 4), (5.0, 5.0), 5.0), "contradiction": "declares odd"}
    )
    record = ScalingRecord(
        created="now", backbone="embedded", image_size=64, decoder="segformer", environment=environment, rows=(row,)
    )
    write_scaling(record, store / "scaling")
    made = report([store], store / "report", ROLES)
    text = page(report([store], store / "report", ROLES))  # and again over the first
    assert "## Cost against the number of tasks" in text
    assert "### One image by count, T = 4" in text
    assert "| vmt | 0.000 | 0.000 |" in text
    assert "**Contradiction:** vmt (infer, encoder) declares odd" in text
    assert store / "report" / "scaling" / "README.md" in made.files


def test_a_report_goes_by_the_roles_of_the_experiment_that_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [*usual("full", 0.0, spread=0.004), *usual("single", 0.1, spread=0.004), *usual("vmt", 0.02)]
    store = write(tmp_path / "runs", cases)
    other = tmp_path / "other.toml"
    other.write_text(
        'title = "t"\nquestion = "q"\n[[rows]]\nmethod = "vmt"\n[report]\nreference = "full"\naxes = ["method"]\n'
    )
    shown = {}
    for name in ("main", str(other)):
        with pytest.raises(SystemExit) as left:
            main(["report", str(store), "--out", str(tmp_path / "out"), "--experiment", name])
        assert not left.value.code
        shown[name] = (tmp_path / "out" / "report.md").read_text("utf-8")
        capsys.readouterr()
    assert "relative to `single`" in shown["main"]
    assert "| from scratch" in shown["main"]
    assert "relative to `full`" in shown[str(other)]
    assert "| from scratch" not in shown[str(other)]
