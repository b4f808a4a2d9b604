"""A run is hashed by what it says beyond named defaults and by the content that it reads, never by a path."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from conftest import resolved
from pydantic import create_model

from petl_bench import identity, plugins
from petl_bench.backbones.build import seen_in_pretraining, weights_hash
from petl_bench.backbones.embedded import WEIGHTS
from petl_bench.config import BackboneConfig, DatasetConfig, LearningRates, Section, TrainConfig
from petl_bench.identity import ENGINE_VERSION, SECTIONS, class_defaults, flatten, identify, stated_defaults
from petl_bench.pretrain.recipe import LABELS
from petl_bench.records.run import RunRecord
from petl_bench.records.store import RECORD, read_record

COMMITTED = Path(__file__).resolve().parents[2] / "reports" / "runs" / "first-edition"


def committed() -> list[RunRecord]:
    records = [read_record(path) for path in sorted(COMMITTED.glob(f"*/{RECORD}"))]
    assert records
    assert all(records)
    return [record for record in records if record is not None]


def hashed(record: RunRecord, config: dict[str, Any] | None = None) -> str:
    """The fingerprint of a record, or of the same run with another config."""
    return identify(
        config or record.config,
        weights_hash=record.weights_hash,
        data_hash=record.data_hash,
        engine_version=record.engine_version,
    ).fingerprint


def with_setting(record: RunRecord, key: str, value: Any) -> dict[str, Any]:
    config = json.loads(json.dumps(record.config))
    *sections, last = key.split(".")
    inner = config
    for section in sections:
        inner = inner[section]
    inner[last] = value
    return config


def grown(base: type[Section], **fields: Any) -> type[Section]:
    """A section with fields that came later, or with other defaults."""
    return create_model("Grown", __base__=base, **{name: (type(value), value) for name, value in fields.items()})


def test_every_committed_record_has_the_hashes_that_its_config_gives() -> None:
    records = committed()
    assert {hashed(record) for record in records} == {record.fingerprint for record in records}
    assert len({record.fingerprint for record in records}) == 24
    assert len({record.group for record in records}) == 8


def test_the_hashes_of_the_committed_records_have_not_moved() -> None:
    """Literals, made once by hash version 2; a change of code that moves them orphans every record that exists."""
    (one,) = (r for r in committed() if r.method == "vmt" and r.seed == 0)
    assert one.fingerprint == "903679d2782e750b9fd922f5171bc3f864388884116ecc78b6ac8a4c02bcd8c4"
    assert one.group == "2f82b1747b88d64f8d412f37750917135a73423c6ad31ff246c512030493ae02"


@pytest.mark.parametrize(
    ("section", "model", "key"),
    [
        ("train", grown(TrainConfig, ema_decay=0.0), "train.ema_decay"),
        ("train", grown(TrainConfig, learning_rate=grown(LearningRates, head=1e-3)()), "train.learning_rate.head"),
        ("dataset", grown(DatasetConfig, crop=False), "dataset.crop"),
        ("backbone", grown(BackboneConfig, drop_path=0.0), "backbone.drop_path"),
    ],
)
def test_a_new_field_at_its_default_moves_no_hash(
    section: str, model: type[Section], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SECTIONS, section, model)
    default = dict(flatten(class_defaults(model)))[key.partition(".")[2]]
    for record in committed():
        assert hashed(record) == record.fingerprint
        assert hashed(record, with_setting(record, key, default)) == record.fingerprint
        assert hashed(record, with_setting(record, key, 0.75)) != record.fingerprint


def test_a_new_field_of_a_plug_in_moves_no_hash_once_its_default_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    (record, *_) = (one for one in committed() if one.method == "lora")
    new = with_setting(record, "method.dropout", 0.0)
    assert hashed(record, new) != record.fingerprint
    monkeypatch.setitem(stated_defaults()["method"]["lora"], "dropout", 0.0)
    assert hashed(record, new) == hashed(record) == record.fingerprint
    assert hashed(record, with_setting(record, "method.dropout", 0.1)) != record.fingerprint


def test_a_default_that_changes_moves_the_hash_of_new_runs_and_of_no_record(monkeypatch: pytest.MonkeyPatch) -> None:
    changed = grown(TrainConfig, weight_decay=0.01, learning_rate=grown(LearningRates, method=1e-3)())
    monkeypatch.setitem(SECTIONS, "train", changed)
    for record in committed():
        assert hashed(record) == record.fingerprint
        new = with_setting(record, "train", record.config["train"] | changed(steps=250, batch_size=16).model_dump())
        assert hashed(record, new) != record.fingerprint
        assert hashed(record, with_setting(record, "train.weight_decay", 0.01)) != record.fingerprint


@pytest.mark.parametrize(("section", "kind"), [("method", "methods"), ("decoder", "decoders"), ("dataset", "datasets")])
def test_every_default_of_a_plug_in_is_listed(section: str, kind: str) -> None:
    """A default that is listed nowhere makes every new run of the plug-in another one than its records."""
    listed = stated_defaults()[section]
    for name in plugins.listings(kind):
        own = flatten(class_defaults(plugins.load(kind, name).Config))
        known = identity.defaults_of(section, name)
        assert [key for key, _ in own if key not in known] == [], f"{name}: add to {section}.{name} in defaults.json"
    assert set(listed) - {""} <= set(plugins.listings(kind))


def test_every_default_of_the_harness_is_listed() -> None:
    """One that is listed nowhere goes by its class, so that nobody would see it change."""
    for section, model in SECTIONS.items():
        own = dict(flatten(class_defaults(model))) if model is not None else {}
        listed = stated_defaults()[section].get("", {})
        assert [key for key in own if key not in listed] == [], f"add to {section} in defaults.json"


def test_the_settings_of_every_balancer_are_listed() -> None:
    annotation = TrainConfig.model_fields["balancer"].annotation
    listed = stated_defaults()["train"][""]
    for model in annotation.__args__:  # pyright: ignore[reportOptionalMemberAccess]
        missing = [key for key in class_defaults(model) if key != "name" and f"balancer.{key}" not in listed]
        assert missing == [], f"{model.__name__}: add to train in defaults.json"


def fingerprint_of(weights: str, **sections: Any) -> str:
    config = resolved("vmt", backbone={"weights": weights}, **sections)
    return identify(
        config.model_dump(mode="json"),
        weights_hash=weights_hash(config.backbone.name, config.backbone.weights, config.dataset.image_size),
        data_hash="scenes/1",
        engine_version=ENGINE_VERSION,
    ).fingerprint


def test_the_same_weights_in_two_folders_are_one_run_and_other_weights_another(tmp_path: Path) -> None:
    places = [tmp_path / "one" / "weights.safetensors", tmp_path / "two" / "copy.safetensors"]
    for place in places:
        place.parent.mkdir()
        shutil.copy(WEIGHTS, place)
    one, two = (fingerprint_of(f"file:{place}") for place in places)
    assert one == two == fingerprint_of("pretrained")
    places[1].write_bytes(WEIGHTS.read_bytes()[:-1] + b"\0")
    assert fingerprint_of(f"file:{places[1]}") not in (one, fingerprint_of("random"))


def test_where_a_run_is_executed_and_where_its_files_lie_move_no_hash(tmp_path: Path) -> None:
    runtime = {"device": "cpu", "threads": 1, "root": str(tmp_path), "workers": 2}
    assert fingerprint_of("random", runtime=runtime) == fingerprint_of("random")


def test_another_training_loop_is_another_run() -> None:
    (record, *_) = committed()
    later = identify(
        record.config, weights_hash=record.weights_hash, data_hash=record.data_hash, engine_version=ENGINE_VERSION
    )
    assert record.engine_version == 1 < ENGINE_VERSION
    assert later.fingerprint != record.fingerprint
    assert later.group != record.group


def test_labels_of_the_recipe_were_seen_by_the_shipped_weights_on_scenes_alone(tmp_path: Path) -> None:
    copy = tmp_path / "copy.safetensors"
    shutil.copy(WEIGHTS, copy)
    for weights in ("pretrained", f"file:{copy}"):
        assert seen_in_pretraining(weights_hash("embedded", weights, 64), "scenes") == tuple(LABELS)
    assert seen_in_pretraining(weights_hash("embedded", "pretrained", 64), "rooms") == ()
    assert seen_in_pretraining(weights_hash("embedded", "random", 64), "scenes") == ()
    timm = weights_hash("swin_tiny_patch4_window7_224", "pretrained", 224)
    assert timm.startswith("timm:swin_tiny_patch4_window7_224:")
    assert seen_in_pretraining(timm, "scenes") == ()
