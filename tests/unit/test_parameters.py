"""The ledger: owners, what is stored, what has an effect, what merging leaves; and the views on it."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from methods.lora import LoRA
from methods.vmt import VMT
from petl_bench import plugins
from petl_bench.errors import UsageError
from petl_bench.ledger import count
from petl_bench.measure.count.breakdown import module_rows
from petl_bench.measure.count.explain import NO_FORMULA, formula_rows
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.measure.count.table import methods_on, parameter_row, shown
from petl_bench.method import Counts, Method
from petl_bench.model import MultiTaskModel
from petl_bench.records.run import Ledger
from petl_bench.testing import Subject

SWIN_TINY = "swin_tiny_patch4_window7_224"
PASCAL = "semseg:21,human_parts:7,saliency:1,normals:3"
SUM_OF_WIDTHS = 2 * 96 + 2 * 192 + 6 * 384 + 2 * 768


def settings(method: str, tasks: object = 4, **sections: object) -> dict[str, object]:
    return {"method": {"name": method}, "backbone": {"name": SWIN_TINY}, "tasks": tasks, **sections}


def built(method: type[Method], family: str = "swin") -> MultiTaskModel:
    return Subject(method, method.Config(name=method.name), family).build()


def test_a_shift_that_the_decoder_absorbs_is_stored_and_not_effective() -> None:
    row = parameter_row(settings("vmt"), [])
    assert row["method_parameters"] == 1_127_952
    assert row["effective_parameters"] == 1_127_952 - 4 * SUM_OF_WIDTHS == 1_110_288
    assert row["stored_bytes"] == 4 * row["trainable_parameters"]
    assert row["frozen_parameters"] == row["backbone_parameters"] == 27_517_818


@pytest.mark.parametrize("tasks", [1, 4, 64])
def test_merging_leaves_nothing_of_a_linear_update_and_everything_of_a_nonlinear_one(tasks: int) -> None:
    assert parameter_row(settings("lora", tasks), [])["parameters_after_merge"] == 0
    row = parameter_row(settings("vmt", tasks), [])
    assert row["parameters_after_merge"] == row["method_parameters"]


@pytest.mark.parametrize("method", ["single", "full", "decoders"])
def test_a_plain_backbone_leaves_nothing_beside_it(method: str) -> None:
    assert parameter_row(settings(method), [])["parameters_after_merge"] == 0


def test_a_bias_that_a_layer_lacked_is_left_after_merging_once_per_task() -> None:
    """Scale and shift behind patch merging, whose reduction has no bias: 192 + 384 + 768 channels, 4 tasks."""
    assert parameter_row(settings("ssf"), [])["parameters_after_merge"] == 4 * (192 + 384 + 768)


@pytest.mark.parametrize("method", ["vmt", "lora", "single"])
def test_a_ledger_of_real_weights_is_that_of_the_meta_device(method: str) -> None:
    made = plugins.load("methods", method)
    real = built(made)
    before = {name: parameter.detach().clone() for name, parameter in real.named_parameters()}
    with torch.device("meta"):
        meta = built(made)
    assert count(real) == count(meta)
    assert all(torch.equal(before[name], parameter) for name, parameter in real.named_parameters())
    assert not any(parameter.is_meta for parameter in real.parameters())


@pytest.mark.parametrize("method", list(plugins.listings("methods")))
def test_an_added_task_costs_what_the_row_says(method: str) -> None:
    asked = {"method": {"name": method}, "backbone": {"name": "embedded"}}
    two, three = (parameter_row({**asked, "tasks": tasks}, []) for tasks in (2, 3))
    assert three["method_parameters"] - two["method_parameters"] == two["parameters_per_added_task"]


class Tied(LoRA):
    """One weight under two names."""

    def adapt(self) -> None:
        super().adapt()
        self.first = nn.Linear(8, 8, bias=False)
        self.second = nn.Linear(8, 8, bias=False)
        self.second.weight = self.first.weight


def test_a_tied_weight_counts_once() -> None:
    tied, plain = count(built(Tied)), count(built(LoRA))
    assert tied.shared == plain.shared + 64
    assert tied.stored_bytes == plain.stored_bytes + 4 * 64


def test_a_record_from_before_the_new_columns_still_loads() -> None:
    old = {"backbone": 10, "shared": 1, "per_task": 2, "generator": 0, "decoder": 3, "stored_bytes": 24}
    ledger = Ledger.model_validate(old)
    assert (ledger.method, ledger.trainable) == (3, 6)
    assert (ledger.frozen, ledger.effective, ledger.after_merge) == (None, None, None)


def test_channels_that_are_typed_give_the_decoders_of_the_published_table() -> None:
    """Width 256 on Swin-T, outputs 21 + 7 + 1 + 3."""
    one = sum(c * 256 + 256 for c in (96, 192, 384, 768)) + 4 * 256 * 256 + 2 * 256
    row = parameter_row(settings("decoders", PASCAL), [])
    assert row["decoder_parameters"] == 4 * one + sum(256 * n + n for n in (21, 7, 1, 3))
    assert (row["tasks"], row["synthetic_tasks"]) == (4, 0)
    assert parameter_row(settings("decoders", "boundaries:5"), [])["tasks"] == 1


@pytest.mark.parametrize(
    ("tasks", "part"),
    [
        ("semseg:21,normals", "'normals' is not NAME:CHANNELS"),
        ("semseg:0", "from 1 up"),
        ("semseg:-3", "from 1 up"),
        ("semseg:x", "from 1 up"),
        ("semseg:", "from 1 up"),
        (":3", "cannot name a task"),
        ("semseg:2:3", "from 1 up"),
        ("a.b:3", "'a.b' cannot name a task"),
        ("train:3", "'train' cannot name a task"),
        ("semseg:3,semseg:4", "named more than once"),
    ],
)
def test_channels_that_make_no_sense_are_refused(tasks: str, part: str) -> None:
    with pytest.raises(UsageError, match="--tasks") as refused:
        build_on_meta(settings("decoders", tasks))
    assert part in str(refused.value)
    assert "Type: petl-bench params --tasks semseg:21,normals:3" in str(refused.value)


@pytest.mark.parametrize("backbone", ["embedded", "vit_small_patch16_224"])
@pytest.mark.parametrize("method", ["vmt", "lora", "single", "full", "decoders", "hyperformer"])
def test_modules_add_up_to_the_ledger(method: str, backbone: str) -> None:
    asked = {"method": {"name": method}, "backbone": {"name": backbone}, "tasks": 3}
    total, rows = parameter_row(asked, []), module_rows(build_on_meta(asked))
    by_owner: dict[str, int] = {}
    for row in rows:
        by_owner[row["owner"]] = by_owner.get(row["owner"], 0) + row["parameters"]
    assert by_owner == {"frozen": total["frozen_parameters"]} | {
        owner: total[f"{column}_parameters"]
        for owner, column in {
            "shared": "shared", "per task": "per_task", "generator": "generator", "decoder": "decoder"
        }.items()
        if total[f"{column}_parameters"]
    }  # fmt: skip


@pytest.mark.parametrize(
    ("method", "own", "trunk"),
    [
        ({"name": "full"}, 0, 27_517_818),
        ({"name": "single"}, 0, 4 * 27_517_818),
        ({"name": "vmt"}, 1_127_952, 0),
        ({"name": "hyperformer"}, 4 * 64, 0),
        ({"name": "bitfit", "scope": "shared"}, 0, 74_778),
        # Merging maps 2C to C four inputs of width C; beside it stand patch embedding, norms and tables, 51,258.
        ({"name": "ditask"}, 3_168, 2 * 4 * (96**2 + 192**2 + 384**2) + 51_258),
        ({"name": "ditask", "train_merging": False}, 3_168, 51_258),
        ({"name": "tadformer"}, 1_559_620, 51_258),
    ],
)
def test_the_trunks_own_parts_stand_apart_from_what_is_added(method: dict[str, object], own: int, trunk: int) -> None:
    row = parameter_row({**settings(""), "method": method}, [])
    assert (row["added_parameters"], row["trunk_parameters"]) == (own, trunk)
    assert own + trunk + row["generator_parameters"] == row["method_parameters"]
    modules = module_rows(build_on_meta({**settings(""), "method": method}))
    assert sum(module["parameters"] for module in modules if module["origin"] == "trunk") == trunk


def test_a_table_shows_active_parameters_where_they_are_fewer_than_the_stored_ones() -> None:
    row = parameter_row(settings("lora"), [])
    assert shown(row)["stored"] == row["active_parameters"] == 317_952
    assert shown(row | {"active_parameters": 5})["stored"] == "317,952 (5 active)"


def test_the_blocks_of_a_stage_and_the_tasks_are_one_line() -> None:
    rows = {row["module"]: row for row in module_rows(build_on_meta(settings("lora")))}
    folded = rows["backbone.trunk.layers.2.blocks.0-5.attn.qkv"]
    assert (folded["owner"], folded["modules"], folded["shapes"]) == (
        "per task",
        6,
        ["down [4, 2, 4, 384]", "up [4, 2, 384, 4]"],
    )
    assert folded["parameters"] == 4 * 6 * (4 * 4 * 384)
    assert rows["decoders.*.fuse"]["modules"] == 4
    plain = [row["module"] for row in module_rows(build_on_meta({"method": {"name": "single"}, "tasks": 3}))]
    assert "replicas.*.trunk.layers.2.blocks.0-5.norm1" in plain
    assert not [module for module in plain if "semseg" in module or "normals" in module]


class Miscounted(VMT):
    def expected_parameters(self) -> Counts:
        honest = super().expected_parameters()
        return Counts(shared=honest.shared, per_task=honest.per_task + 1)


def test_a_closed_form_is_printed_with_its_numbers_beside_the_modules() -> None:
    (row,) = formula_rows(build_on_meta(settings("lora")))
    assert row["formula"] == "T * (4*r*sum_C + 2*sum_C)"
    assert row["with_numbers"] == f"4 * (4*4*{SUM_OF_WIDTHS:,} + 2*{SUM_OF_WIDTHS:,})"
    assert (row["owner"], row["closed_form"], row["modules"], row["verdict"]) == ("per_task", 317_952, 317_952, "equal")


def test_a_closed_form_that_is_a_plain_number_or_wrong_is_said_to_be_so() -> None:
    shared, per_task = formula_rows(replace(build_on_meta(settings("vmt")), model=built(Miscounted)))
    assert (shared["verdict"], per_task["verdict"]) == ("equal", "unequal")
    assert (per_task["formula"], per_task["closed_form"]) == (NO_FORMULA, per_task["modules"] + 1)
    (nothing,) = formula_rows(build_on_meta(settings("decoders")))
    assert (nothing["closed_form"], nothing["verdict"]) == (0, "equal")


def test_all_means_the_methods_that_are_defined_on_the_backbone() -> None:
    on_swin, on_vit = (methods_on("all", {"backbone": {"name": name}}) for name in (SWIN_TINY, "vit_small_patch16_224"))
    assert on_swin == (list(plugins.listings("methods")), [])
    assert on_vit[1] == ["relative-bias", "tadformer"]
    assert sorted([*on_vit[0], *on_vit[1]]) == on_swin[0]
    with pytest.raises(UsageError, match="Did you mean 'decoders'"):
        methods_on("decoder", {})


SMALL_COST = """
import resource, sys, time
import timm
from petl_bench.cli.main import main
start, size = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    main("params --method vmt --backbone swin_large_patch4_window12_384 --tasks 64".split())
except SystemExit as left:
    assert not left.code, left.code
unit = 1 if sys.platform == "darwin" else 1024
print("seconds", time.process_time() - start)
print("bytes", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - size) * unit)
print("heavy", sorted({"torchmetrics", "accelerate", "fvcore", "pandas", "scipy", "matplotlib"} & set(sys.modules)))
"""


def test_sixty_four_tasks_on_a_large_backbone_cost_three_seconds_and_200_mb_beyond_timm() -> None:
    done = subprocess.run([sys.executable, "-c", SMALL_COST], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen = dict(
        line.split(" ", 1) for line in done.stdout.splitlines() if line.startswith(("seconds", "bytes", "heavy"))
    )
    assert seen["heavy"] == "[]"
    assert float(seen["seconds"]) <= 3
    assert int(seen["bytes"]) <= 200e6


def test_every_shipped_closed_form_is_a_formula() -> None:
    for name in plugins.listings("methods"):
        rows = formula_rows(build_on_meta({"method": {"name": name}, "tasks": 2}))
        assert all(row["verdict"] == "equal" for row in rows), rows
        assert all(row["formula"] != NO_FORMULA for row in rows if row["owner"] != "none"), rows
