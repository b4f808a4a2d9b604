"""The guard: parameters and costs of every method are those of the committed file, and a change is named.

A deliberate change: ``petl-bench params --write tests/golden/counts.json``, and a line under "Results affected".
"""

import copy
import json
import re
from pathlib import Path

import pytest

from petl_bench import plugins
from petl_bench.cli.main import main
from petl_bench.errors import UsageError
from petl_bench.measure.count.guard import COST_CELLS, IMAGE_SIZES, TASKS
from petl_bench.measure.count.guard_file import check_golden, differences, read_golden, write_golden

COSTS = ("infer_macs", "infer_elementwise_ops", "train_macs", "train_elementwise_ops")
ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "counts.json"


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


@pytest.mark.parametrize("method", list(plugins.listings("methods")))
def test_no_count_has_moved(method: str) -> None:
    same, told = check_golden(GOLDEN, method)
    assert same, told
    assert len(told.splitlines()) == 1


def test_the_file_holds_every_method_backbone_size_and_number_of_tasks() -> None:
    golden = read_golden(GOLDEN)
    assert list(golden) == list(plugins.listings("methods"))
    for method, backbones in golden.items():
        assert list(backbones) == list(IMAGE_SIZES), method
        for backbone, sizes in backbones.items():
            if sizes is not None:
                assert {size: list(cells) for size, cells in sizes.items()} == {
                    str(size): [str(tasks) for tasks in TASKS] for size in IMAGE_SIZES[backbone]
                }
    undefined = {(method, backbone) for method, row in golden.items() for backbone, cell in row.items() if cell is None}
    assert undefined == {
        (method, f"vit_{size}_patch16_224") for method in ("relative-bias", "tadformer") for size in ("small", "base")
    }


def test_the_file_holds_what_every_method_costs_on_both_backbones_where_it_is_defined() -> None:
    assert {(name, size) for name, size, _ in COST_CELLS} == {("embedded", 64), ("swin_tiny_patch4_window7_224", 224)}
    assert len(COST_CELLS) == 2 * 2
    for method, backbones in read_golden(GOLDEN).items():
        for name, size, tasks in COST_CELLS:
            cell = backbones[name][str(size)][str(tasks)]  # pyright: ignore[reportOptionalSubscript]
            assert all(int(cell[cost]) > 0 for cost in COSTS), (method, name, tasks)


def test_the_file_has_one_line_for_a_method_and_a_backbone(tmp_path: Path) -> None:
    golden = read_golden(GOLDEN)
    write_golden(tmp_path / "again.json", golden)
    assert (tmp_path / "again.json").read_bytes() == GOLDEN.read_bytes()
    lines = [line for line in GOLDEN.read_text(encoding="utf-8").splitlines() if line.startswith(" ")]
    assert len(lines) == len(golden) * len(IMAGE_SIZES)


def test_a_difference_names_method_backbone_size_tasks_and_owner() -> None:
    old = read_golden(GOLDEN)
    new = copy.deepcopy(old)
    assert differences(old, new) == []
    cell = new["vmt"]["embedded"]["96"]["4"]  # pyright: ignore[reportOptionalSubscript]
    cell["shared"] = int(cell["shared"]) + 1
    cell["execution"] = "forked"
    del new["lora"]
    new["another"] = new["full"]
    new["single"]["vit_base_patch16_224"] = None
    told = differences(old, new)
    assert told[:2] == [
        "lora: in the file, but there is no such method now",
        "another: a method that is not in the file",
    ]
    assert "vmt on embedded, 96 px, T = 4: execution tapped -> forked, shared 123,976 -> 123,977" in told
    undefined = [line for line in told if line.startswith("single on vit_base_patch16_224, 224 px, T = 1: ")]
    assert undefined == [
        "single on vit_base_patch16_224, 224 px, T = 1: execution replicated -> none, shared 0 -> none, "
        "per_task 85,797,120 -> none, generator 0 -> none"
    ]
    assert len(told) == 2 + 1 + len(TASKS) * 2


def test_a_moved_cost_is_one_line_with_old_and_new_number() -> None:
    old = read_golden(GOLDEN)
    new = copy.deepcopy(old)
    cell = new["vmt"]["embedded"]["64"]["4"]  # pyright: ignore[reportOptionalSubscript]
    infer, train = int(cell["infer_macs"]), int(cell["train_elementwise_ops"])
    cell["infer_macs"], cell["train_elementwise_ops"] = infer + 1000, train - 7
    assert differences(old, new) == [
        f"vmt on embedded, 64 px, T = 4: infer_macs {infer:,} -> {infer + 1000:,}, "
        f"train_elementwise_ops {train:,} -> {train - 7:,}"
    ]
    for cost in COSTS:
        del cell[cost]
    assert [line.count("-> none") for line in differences(old, new)] == [len(COSTS)]


def test_the_command_says_equal_in_one_line_and_a_moved_count_with_exit_1(tmp_path: Path, capsys) -> None:
    assert call("params", "--check", str(GOLDEN), "--method", "decoders") == 0
    assert len(capsys.readouterr().out.splitlines()) == 1
    golden = read_golden(GOLDEN)
    golden["decoders"]["embedded"]["64"]["16"]["generator"] = 5  # pyright: ignore[reportOptionalSubscript]
    altered = tmp_path / "altered.json"
    write_golden(altered, golden)
    assert call("params", "--check", str(altered), "--method", "decoders") == 1
    out = capsys.readouterr().out
    assert "decoders on embedded, 64 px, T = 16: generator 5 -> 0" in out
    assert f"petl-bench params --write {altered}" in out
    assert "CHANGELOG" in out


EMPTY = ["", "{}", '{"decoders": {}}', '{"decoders": {"embedded": null}}', '{"decoders": {"embedded": {"64": {}}}}']
OTHER = ["{", "[1, 2]", '{"vmt": 3}', '{"vmt": {"embedded": {"64": 5}}}', '{"vmt": {"embedded": {"64": {"1": 5}}}}']


@pytest.mark.parametrize("content", [None, *EMPTY, *OTHER])
def test_a_file_that_holds_no_counts_is_refused(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "counts.json"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match="--check"):
        check_golden(path, "decoders")


def test_a_file_that_was_cut_short_is_refused(tmp_path: Path) -> None:
    text = GOLDEN.read_text(encoding="utf-8")
    (tmp_path / "half.json").write_text(text[: len(text) // 2], encoding="utf-8")
    with pytest.raises(UsageError, match="holds no counts"):
        check_golden(tmp_path / "half.json", "decoders")


def test_a_file_that_lacks_methods_cells_or_costs_does_not_pass(tmp_path: Path) -> None:
    golden = read_golden(GOLDEN)
    without_method = {name: counts for name, counts in golden.items() if name != "decoders"}
    without_backbone = {"decoders": {name: cells for name, cells in golden["decoders"].items() if name != "embedded"}}
    without_costs = copy.deepcopy({"decoders": golden["decoders"]})
    for cost in COSTS:
        del without_costs["decoders"]["embedded"]["64"]["1"][cost]  # pyright: ignore[reportOptionalSubscript]
    path = tmp_path / "counts.json"
    for lacking, expected in (
        (without_method, "decoders: a method that is not in the file"),
        (without_backbone, "decoders on embedded, 64 px, T = 1: execution none -> shared"),
        (without_costs, "decoders on embedded, 64 px, T = 1: infer_macs none -> "),
    ):
        write_golden(path, lacking)
        same, told = check_golden(path, "decoders")
        assert not same
        assert told.startswith(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--check", str(GOLDEN), "--tasks", "4"],
        ["--check", str(GOLDEN), "--write", str(GOLDEN)],
        ["--write", str(GOLDEN), "--method", "lora"],
        ["--write", str(GOLDEN), "--set", "method.rank=8"],
        ["--check", str(GOLDEN), "--explain"],
        ["--check", str(GOLDEN), "--method", "loar"],
    ],
    ids=" ".join,
)
def test_flags_that_do_not_go_together_are_a_mistake(arguments: list[str], capsys) -> None:
    before = GOLDEN.read_bytes()
    assert call("params", *arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
    assert GOLDEN.read_bytes() == before


def test_what_is_written_into_a_folder_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        write_golden(tmp_path / "nowhere" / "counts.json", json.loads(GOLDEN.read_text(encoding="utf-8")))


def test_the_counts_of_the_readme_are_those_of_the_guard() -> None:
    counts = json.loads(GOLDEN.read_text(encoding="utf-8"))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \|.*?\| ([\d,]+) \| [^|]*\|$", readme, re.MULTILINE)
    assert {name for name, _ in rows} == set(counts)
    for name, printed in rows:
        owners = counts[name]["swin_tiny_patch4_window7_224"]["224"]["4"]
        held = owners["shared"] + owners["per_task"] + owners["generator"]
        assert int(printed.replace(",", "")) == held, name
