"""Records of every earlier version are read as if they were written today; the committed ones are real."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from petl_bench import plugins
from petl_bench.records.migrate import STEPS, migrate
from petl_bench.records.run import SCHEMA_VERSION, RunRecord
from petl_bench.records.store import RECORD, read_record

COMMITTED = Path(__file__).resolve().parents[2] / "reports" / "runs" / "first-edition"


def first_version(method: str = "vmt") -> dict[str, Any]:
    """A record of version 1 as it was written."""
    path = next(iter(sorted(COMMITTED.glob(f"{method}-s0-*/{RECORD}"))))
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["schema_version"] == 1
    return content


def with_depth(content: dict[str, Any]) -> dict[str, Any]:
    """The record with a result of depth as version 1 wrote it on scenes, whatever the initial weights."""
    values = {"rmse": 1.5, "abs_rel": 0.25, "delta_1_25": 60.0}
    depth = {"convention": "rmse/1", "primary": "rmse", "unit": "m", "higher_is_better": False}
    depth |= {"values": values, "trivial": {"rmse": 2.0, "abs_rel": 0.5, "delta_1_25": 30.0}}
    content["metrics"]["depth"] = depth | {"seen_in_pretraining": True}
    return content


def test_there_is_a_step_from_every_version_before_this_one() -> None:
    assert sorted(STEPS) == list(range(1, SCHEMA_VERSION))


def test_a_step_leaves_its_argument_alone_and_gives_the_same_content_again() -> None:
    old = first_version()
    before = copy.deepcopy(old)
    assert migrate(old) == migrate(old)
    assert old == before


def test_a_record_of_today_is_read_as_it_stands() -> None:
    new = migrate(first_version())
    assert migrate(new) == new


def test_every_number_of_version_1_is_found_again_with_unit_direction_and_convention() -> None:
    old = with_depth(first_version())
    new = RunRecord.model_validate(migrate(old))
    for task, result in old["metrics"].items():
        assert new.metrics[task].primary == result["primary"]
        assert {name: metric.value for name, metric in new.metrics[task].metrics.items()} == result["values"]
        assert {name: metric.trivial for name, metric in new.metrics[task].metrics.items()} == result["trivial"]
        assert new.metrics[task].chosen.unit == result["unit"]
        assert new.metrics[task].chosen.higher_is_better == result["higher_is_better"]
    assert new.metrics["semseg"].chosen.convention == "miou/1@64x64/test:300"
    assert new.metrics["saliency"].chosen.convention == "max_miou/1[0.20:0.90:15]@64x64/test:300"
    assert new.metrics["depth"].metrics["abs_rel"].unit == ""
    assert not new.metrics["depth"].metrics["abs_rel"].higher_is_better
    assert new.metrics["depth"].metrics["delta_1_25"].higher_is_better


def test_a_primary_metric_whose_definition_did_not_change_has_todays_convention() -> None:
    new = RunRecord.model_validate(migrate(with_depth(first_version())))
    for task, result in new.metrics.items():
        spec = plugins.load("tasks", task)(3 if task == "normals" else 1)
        convention = spec.convention(result.primary, (64, 64), "test:300")
        assert result.chosen.convention == convention
        assert (result.chosen.unit, result.chosen.higher_is_better) == spec.metrics[result.primary][:2]


@pytest.mark.parametrize(("method", "trunk"), [("vmt", 0), ("lora", 0), ("full", 3_058_333), ("single", 12_233_332)])
def test_the_trunks_own_parameters_are_told_of_methods_where_they_are_known(method: str, trunk: int) -> None:
    ledger = RunRecord.model_validate(migrate(first_version(method))).parameters
    assert ledger is not None
    assert ledger.trunk == trunk


def test_of_other_methods_and_failed_runs_nothing_is_made_up() -> None:
    other = first_version()
    other["config"]["method"]["name"] = "mtlora"
    assert "trunk" not in migrate(other)["parameters"]
    assert migrate(first_version() | {"parameters": None})["parameters"] is None


def test_what_was_seen_in_pretraining_belongs_to_the_shipped_weights() -> None:
    shipped, copied, other = with_depth(first_version()), with_depth(first_version()), with_depth(first_version())
    copied["config"]["backbone"]["weights"] = "file:/somewhere/copy.safetensors"
    other["config"]["backbone"]["weights"] = other["weights_hash"] = "random"
    for content, seen in ((shipped, True), (copied, True), (other, False)):
        new = RunRecord.model_validate(migrate(content))
        assert new.metrics["depth"].seen_in_pretraining is seen
        assert not new.metrics["semseg"].seen_in_pretraining


def test_pictures_of_another_renderer_stay_other_data() -> None:
    other = first_version() | {"data_hash": "0" * 64}
    assert migrate(other)["data_hash"] == "0" * 64
    assert migrate(first_version())["data_hash"] == "scenes/1"
    assert migrate(other)["fingerprint"] != migrate(first_version())["fingerprint"]


@pytest.mark.parametrize("version", [None, 0, 99, "1"])
def test_a_record_of_no_known_version_is_none(version: object, tmp_path: Path) -> None:
    content = first_version() | {"schema_version": version}
    with pytest.raises(ValueError, match="schema_version"):
        migrate(content)
    (tmp_path / RECORD).write_text(json.dumps(content))
    assert read_record(tmp_path / RECORD) is None
