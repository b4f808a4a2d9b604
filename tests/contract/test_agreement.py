"""torch's counter, fvcore and the closed form give one number for every method; a disagreement stops the command."""

import json
from pathlib import Path

import pytest
import torch
from executions import daily
from torch import Tensor, nn

from methods._low_rank import LowRankUpdate
from methods.lora import LoRA
from petl_bench import plugins
from petl_bench.cli.main import main
from petl_bench.errors import UsageError
from petl_bench.measure.cost.agreement import DisagreementError, agreements, require_agreement
from petl_bench.measure.cost.flops import forward_work
from petl_bench.measure.cost.traced import fvcore_macs, fvcore_parameters
from petl_bench.method import Counts, Geometry

SWIN_TINY, VIT_SMALL = "swin_tiny_patch4_window7_224", "vit_small_patch16_224"


def assert_one_number(method: str, backbone: str, *tasks: int) -> None:
    settings = {"method": {"name": method}, "backbone": {"name": backbone}}
    rows = agreements(settings, method, tasks)
    require_agreement(rows)
    assert [row.tasks for row in rows] == [number for number in tasks for _ in range(5)]
    stated = {row.quantity for row in rows if row.closed_form is not None}
    assert stated == {"encoder_macs", "decoder_macs", "method_parameters"}


@pytest.mark.parametrize("method", daily(plugins.listings("methods")))
def test_three_ways_to_count_give_one_number(method: str) -> None:
    """With three tasks, where neither T squared nor a task left out is right by chance, as with one or two."""
    assert_one_number(method, "embedded", 3)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["embedded", SWIN_TINY, VIT_SMALL])
@pytest.mark.parametrize("method", list(plugins.listings("methods")))
def test_they_do_on_the_backbones_of_the_literature(method: str, backbone: str) -> None:
    if method in ("relative-bias", "tadformer") and backbone == VIT_SMALL:
        with pytest.raises(UsageError):
            assert_one_number(method, backbone, 1, 4)
    else:
        assert_one_number(method, backbone, 1, 4)


def test_many_tasks_are_left_to_torch_alone() -> None:
    assert {row.tasks for row in agreements({"method": {"name": "decoders"}}, "decoders", [2, 5, 16])} == {2}


def test_a_planted_closed_form_stops_both_commands_with_the_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(LoRA, "expected_macs", lambda self, geometry: geometry.stem + geometry.blocks)
    for command in (
        ["scaling", "--method", "lora", "--tasks", "1,2", "--metric", "macs", "--out", str(tmp_path)],
        ["params", "--method", "lora", "--flops", "--tasks", "1"],
    ):
        with pytest.raises(SystemExit) as left:
            main(command)
        said = capsys.readouterr().err
        assert left.value.code == 1
        assert "disagree" in said
        assert "lora" in said


class Doubled(LowRankUpdate):
    """Multiplies once more than the equations say, in a result that is read."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 0 * self.linear(x)


def test_a_product_too_many_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.lora.LowRankUpdate", Doubled)
    with pytest.raises(DisagreementError, match="'lora' disagree: encoder macs, T = 1"):
        require_agreement(agreements({"method": {"name": "lora"}}, "lora", [1]))


class Unread(LowRankUpdate):
    """Multiplies for a result that nothing reads: a trace does not hold it, what is dispatched does."""

    def forward(self, x: Tensor) -> Tensor:
        self.linear(x)
        return super().forward(x)


def test_a_product_that_nothing_reads_is_seen_by_torch_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.lora.LowRankUpdate", Unread)
    row = next(row for row in agreements({"method": {"name": "lora"}}, "lora", [1]) if row.quantity == "encoder_macs")
    assert row.counted > row.fvcore == row.closed_form


def test_a_method_without_a_form_is_counted_in_two_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(self: LoRA, geometry: Geometry) -> None:
        return None

    monkeypatch.setattr(LoRA, "expected_macs", none)
    rows = agreements({"method": {"name": "lora"}}, "lora", [1])
    require_agreement(rows)
    assert next(row for row in rows if row.quantity == "encoder_macs").closed_form is None


def test_parameters_that_the_ledger_leaves_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_few(self: LoRA) -> Counts:
        return Counts(per_task=1)

    monkeypatch.setattr(LoRA, "expected_parameters", too_few)
    with pytest.raises(DisagreementError, match="method parameters"):
        require_agreement(agreements({"method": {"name": "lora"}}, "lora", [1]))


def test_tied_parameters_count_once_and_frozen_ones_are_not_trained() -> None:
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    frozen = nn.Linear(4, 3, bias=False).requires_grad_(False)
    assert fvcore_parameters(nn.Sequential(first, second, frozen)) == (16, 28)


class Products(nn.Module):
    """Products of per-task weights in the forms that methods write: by hand, 3 x 5 x 4 x 2 each."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form
        self.weight = nn.Parameter(torch.rand(3, 4, 2))  # [T, in, out]

    def forward(self, x: Tensor) -> Tensor:
        match self.form:
            case "matmul":
                return x @ self.weight
            case "baddbmm":
                return torch.baddbmm(self.weight[:, :1], x, self.weight)
            case _:
                return torch.einsum("tni,tio->tno", x, self.weight)


@pytest.mark.parametrize("form", ["matmul", "baddbmm", "einsum"])
def test_products_of_per_task_weights_are_counted_as_by_hand(form: str) -> None:
    x = torch.rand(3, 5, 4)
    assert fvcore_macs(Products(form), x) == forward_work(Products(form), x).macs == 3 * 5 * 4 * 2


def test_modules_add_up_to_the_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["params", "--method", "vmt", "--flops", "--by", "module", "--tasks", "2", "--format", "json"])
    macs = {row["module"]: row["fvcore_macs"] for row in json.loads(capsys.readouterr().out)}
    top = sum(number for path, number in macs.items() if path.count(".") == 0 and path != "all")
    assert top == macs["all"]
    assert macs["method"] == macs["method.backbone"]
