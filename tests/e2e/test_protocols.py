"""Protocols of the field, end to end: miniatures in the real layouts are trained on, evaluated and recorded."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import resolved

from petl_bench import plan, plugins
from petl_bench.audit.demo import write_demo
from petl_bench.cli.dry_run import count_rows, plan_lines, published_rows
from petl_bench.cli.main import main
from petl_bench.engine.run import run
from petl_bench.experiment import expand, experiment_path, experiments_folder, read_experiment
from petl_bench.published import read_claims
from petl_bench.records.run import RunRecord
from petl_bench.records.store import Store

EXPERIMENTS = ("pascal-mtlora", "pascal-polyhistor", "pascal-invpt", "nyud-mtlora", "nyud-invpt")


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {name: tmp_path_factory.mktemp("demo") / name for name in ("pascal-context", "nyud")}
    for name, root in made.items():
        write_demo(name, root, images=6, size=64)
    return made


def recorded(name: str, root: Path, store: Path, tasks: tuple[str, ...], **dataset: object) -> RunRecord:
    settings = {"name": name, "image_size": 64, **dataset}
    train = {"epochs": 2, "steps": 4, "batch_size": 2}
    config = resolved("lora", tasks, dataset=settings, train=train, runtime={"root": str(root)})
    outcome = run(config, Store(store))
    assert outcome.record.status == "finished", outcome.record.error
    return outcome.record


@pytest.mark.parametrize("protocol", ["ours", "mtl", "atrc"])
@pytest.mark.parametrize("name", ["pascal-context", "nyud"])
def test_every_protocol_runs_from_files_to_a_record(
    name: str, protocol: str, roots: dict[str, Path], tmp_path: Path
) -> None:
    tasks = tuple(plugins.load("datasets", name).tasks)
    record = recorded(name, roots[name], tmp_path, tasks, protocol=protocol)
    assert list(record.metrics) == list(tasks)
    assert record.data_hash.startswith(f"{name}/1/")
    assert str(roots[name]) not in record.model_dump_json()
    assert record.config["train"]["epochs"] == 2
    assert any("wraps round" in caveat for caveat in record.caveats) == (protocol == "mtl")
    assert any("background" in caveat for caveat in record.caveats) == (protocol == "mtl")
    edges = record.metrics["edges"]
    tolerance = {"pascal-context": "0.0075", "nyud": "0.011"}[name]
    assert edges.chosen.convention == f"ods_f_thin99/1[0.01:0.99:99,{tolerance},nearest]@64x64/test:2"
    assert all(np.isfinite(one.value) for result in record.metrics.values() for one in result.metrics.values())


def test_the_same_files_in_another_place_are_the_same_run(roots: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    first = recorded("nyud", roots["nyud"], tmp_path / "runs", ("depth",))
    shutil.copytree(roots["nyud"], tmp_path / "elsewhere")
    again = recorded("nyud", tmp_path / "elsewhere", tmp_path / "runs", ("depth",))
    assert again == first
    assert len(list((tmp_path / "runs").glob("*/record.json"))) == 1


def test_predictions_are_scored_at_native_size_where_the_protocol_does(roots: dict[str, Path], tmp_path: Path) -> None:
    settings = {"protocol": "atrc", "eval_at": "native"}
    record = recorded("pascal-context", roots["pascal-context"], tmp_path, ("semseg", "normals"), **settings)
    assert record.metrics["semseg"].chosen.convention == "miou/1@native/test:2"
    assert np.isfinite(record.metrics["normals"].chosen.trivial)


def test_a_table_says_the_protocol_and_its_flaws(roots: dict[str, Path], tmp_path: Path) -> None:
    recorded("nyud", roots["nyud"], tmp_path / "runs", ("depth",), protocol="mtl")
    assert main_of("report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")) == 0
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Caveat, protocol mtl: cubic interpolation wraps round at 0 and 255." in page
    assert "nyud/1/C/" in page
    assert any("Protocol" in line and "mtl" in line for line in page.splitlines())


def main_of(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def test_labels_that_lack_for_some_images_are_counted(roots: dict[str, Path], tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "pascal"
    shutil.copytree(roots["pascal-context"], root)
    for folder, suffix in (("semseg/VOC12", "png"), ("normals_distill", "png")):
        (root / folder / f"2008_000006.{suffix}").unlink()  # one of the two that are tested on
    record = recorded("pascal-context", root, tmp_path / "runs", ("semseg", "saliency", "normals"))
    labelled = {task: result.labelled_images for task, result in record.metrics.items()}
    assert labelled == {"semseg": 1, "saliency": 2, "normals": 1}
    assert all(np.isfinite(result.score) for result in record.metrics.values())
    assert main_of("report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")) == 0
    page = (tmp_path / "report" / "report.md").read_text(encoding="utf-8")
    assert "Test images with a label: 1 of 2 for `normals`, 1 of 2 for `semseg`." in page


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_of_the_field_is_planned_without_its_files(name: str) -> None:
    experiment = read_experiment(experiment_path(name))
    settings = expand(experiment, {})
    configs = [plan.plan(one, plugins.vocabulary) for one in settings[:2]]
    images = {"pascal": ("4,998", "5,105"), "nyud": ("795", "654")}[name.partition("-")[0]]
    lines = "\n".join(plan_lines(configs))
    assert f"train {images[0]}, test at most {images[1]}" in lines
    assert experiment.report.reference == "single"
    protocol = "atrc" if name.endswith("invpt") else "mtl"
    assert f"protocol {protocol}" in lines
    assert ("wraps round" in lines) == (protocol == "mtl")


def test_the_plan_of_mtlora_s_table_has_its_schedule_and_its_counts() -> None:
    experiment = read_experiment(experiment_path("pascal-mtlora"))
    settings = [one for one in expand(experiment, {"seed": 0}) if one["method"]["name"] in ("decoders", "mtlora")]
    configs = [plan.plan(one, plugins.vocabulary) for one in settings]
    lines = "\n".join(plan_lines(configs))
    assert "300 epochs = 46,800 steps of 32 images, 3,120 of them warm-up" in lines  # 20 epochs of 156 steps
    assert "peak learning rates at batch 32: backbone 3.125e-05, method 3.125e-05, decoder 3.125e-05" in lines
    rows = count_rows(settings[:2], configs[:2])
    assert [row["method"] for row in rows] == ["decoders", "mtlora (taps=after-merge, rank=16)"]
    trained = [int(row["method parameters"].replace(",", "")) + int(row["decoders"].replace(",", "")) for row in rows]
    assert round(trained[1] / 1e6, 2) == 4.95  # the published count


def test_published_rows_are_printed_beside_a_plan() -> None:
    experiment = read_experiment(experiment_path("pascal-mtlora"))
    sources = read_claims(experiments_folder() / "published")
    rows = published_rows(sources, experiment.beside)
    (row,) = [row for row in rows if row["published row"] == "MTLoRA, r = 16: scores"]
    assert (row["semseg"], row["normals"], row["delta_m"]) == ("68.19", "17.03", "+1.35")
    assert json.dumps(rows)
