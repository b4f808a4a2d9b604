"""Parameter counts of VMT-Adapter's design space: the figures of Swin-T, and each equation written out again."""

from typing import Any

import pytest

from petl_bench.errors import UsageError
from petl_bench.measure.count.table import parameter_row

SWIN_TINY = "swin_tiny_patch4_window7_224"
FOUR_BACKBONES = 4 * 27_517_818
STAGES = {
    SWIN_TINY: [(96, 2), (192, 2), (384, 6), (768, 2)],
    "swin_base_patch4_window7_224": [(128, 2), (256, 2), (512, 18), (1024, 2)],
    "vit_small_patch16_224": [(384, 3)] * 4,
    "embedded": [(32, 1), (64, 2), (128, 6), (256, 2)],
}


def row(name: str, backbone: str = SWIN_TINY, tasks: int = 4, **settings: object) -> dict[str, Any]:
    return parameter_row(
        {"method": {"name": name, **settings}, "backbone": {"name": backbone}, "tasks": tasks}, list(settings)
    )


@pytest.mark.parametrize(
    ("settings", "expected", "execution"),
    [
        ({}, 1_127_952, "tapped"),
        ({"task_path": "side"}, 1_127_952, "tapped"),
        ({"task_path": "trunk"}, 1_127_952, "forked"),
        ({"extract": "none"}, 1_092_624, "shared"),
        ({"extract": "scale"}, 1_110_288, "tapped"),
        ({"extract_at": "bottleneck"}, 1_101_456, "tapped"),
        ({"extract_at": "pre-activation"}, 1_101_456, "tapped"),
        ({"extract_at": "pre-activation", "task_path": "trunk"}, 1_101_456, "forked"),
        ({"extract_from": "last"}, 1_104_144, "tapped"),
        ({"decoder_input": "concat"}, 1_127_952, "tapped"),
        ({"decoder_input": "task-only"}, 1_127_952, "tapped"),
        ({"position": "parallel-attn"}, 1_127_952, "tapped"),
        ({"position": "sequential-mlp"}, 1_127_952, "tapped"),
        ({"norm": "block"}, 1_119_120, "tapped"),
        ({"activation": "relu", "scale": 0.5}, 1_127_952, "tapped"),
        ({"rho": 8}, 588_264, "tapped"),
        ({"reenter": False}, 1_127_952, "side"),
        ({"reenter": False, "task_path": "side"}, 1_127_952, "side"),
        ({"reenter": False, "extract": "none"}, 1_092_624, "shared"),
    ],
    ids=str,
)
def test_every_choice_on_swin_tiny_with_four_tasks(settings: dict[str, Any], expected: int, execution: str) -> None:
    counted = row("vmt", **settings)
    assert (counted["method_parameters"], counted["execution"]) == (expected, execution)


@pytest.mark.parametrize(
    ("settings", "expected", "percent"),
    [
        ({}, 399_916, 0.363),
        ({"sharing": "stage-tied"}, 399_604, 0.363),
        ({"sharing": "stage-untied"}, 396_360, 0.360),
        ({"rho": 4}, 579_996, 0.527),
    ],
    ids=str,
)
def test_lite_has_the_published_percentage_in_three_forms(
    settings: dict[str, Any], expected: int, percent: float
) -> None:
    counted = row("vmt-lite", **settings)["method_parameters"]
    assert counted == expected
    assert round(100 * counted / FOUR_BACKBONES, 3) == percent


@pytest.mark.parametrize("backbone", STAGES)
@pytest.mark.parametrize("tasks", [1, 4, 16])
def test_the_design_space_follows_its_equations(backbone: str, tasks: int) -> None:
    """W_down and W_up 2 C r, biases r + C, LayerNorm 2C; alpha and beta 2 x width, once a task."""
    stages = STAGES[backbone]
    adapters = sum(depth * (2 * c * (c // 4) + c // 4 + c) for c, depth in stages)
    norms = sum(depth * 2 * c for c, depth in stages)
    at_output = sum(depth * c for c, depth in stages)
    at_bottleneck = sum(depth * (c // 4) for c, depth in stages)
    last = sum(c for c, _ in stages)

    def seen(**settings: object) -> int:
        return row("vmt", backbone, tasks, **settings)["method_parameters"]

    assert seen() == adapters + norms + 2 * tasks * at_output
    assert seen(task_path="side") == seen(task_path="trunk") == seen()
    assert seen(extract="none") == adapters + norms
    assert seen(extract="scale") == adapters + norms + tasks * at_output
    assert seen(extract_at="bottleneck") == adapters + norms + 2 * tasks * at_bottleneck
    assert seen(extract_at="pre-activation", extract="scale") == adapters + norms + tasks * at_bottleneck
    assert seen(extract_from="last") == adapters + norms + 2 * tasks * last
    assert seen(norm="block") == adapters + 2 * tasks * at_output


@pytest.mark.parametrize("backbone", STAGES)
@pytest.mark.parametrize("tasks", [1, 4, 16])
def test_lite_follows_its_equations(backbone: str, tasks: int) -> None:
    stages = STAGES[backbone]

    def seen(**settings: object) -> int:
        return row("vmt-lite", backbone, tasks, **settings)["method_parameters"]

    tied = sum(depth * (c * (c // 6) + c // 6 + c + 1) for c, depth in stages)
    assert seen() == tied + 2 * tasks * sum(depth * c for c, depth in stages)
    stage_tied = sum(c * (c // 2) + c // 2 + c + 1 for c, _ in stages)
    assert seen(sharing="stage-tied") == stage_tied + 2 * tasks * sum(c // 2 for c, _ in stages)
    stage_untied = sum(2 * c * (c // 4) + c // 4 + c for c, _ in stages)
    assert seen(sharing="stage-untied") == stage_untied + 2 * tasks * sum(c // 4 for c, _ in stages)
    norms = sum(depth * 2 * c for c, depth in stages)
    assert seen(sharing="stage-tied", extract="none", norm="own") == stage_tied + norms


@pytest.mark.parametrize(
    ("name", "settings", "parts"),
    [
        ("vmt", {"extract": "none", "task_path": "side"}, ["leaves no k_t", "method.task_path=tap"]),
        ("vmt", {"extract": "none", "decoder_input": "task-only"}, ["leaves no k_t", "method.decoder_input=sum"]),
        ("vmt", {"extract": "none", "extract_at": "bottleneck"}, ["leaves no k_t", "method.extract_at=output"]),
        ("vmt", {"task_path": "side", "extract_from": "last"}, ["from block to block", "method.extract_from=all"]),
        ("vmt", {"task_path": "trunk", "decoder_input": "concat"}, ["the stage output holds", "'sum'"]),
        ("vmt", {"reenter": False, "task_path": "trunk"}, ["enters the trunk again", "method.reenter=true"]),
        ("vmt", {"reenter": False, "extract_from": "last"}, ["decoders alone", "method.extract_from=all"]),
        ("vmt", {"extract_at": "outputs"}, ["method.extract_at", "pre-activation"]),
        ("vmt-lite", {"scale": 2.0}, ["trains s", "method.scale=1.0"]),
        ("vmt-lite", {"sharing": "stage"}, ["method.sharing", "'stage-tied'"]),
        ("vmt-lite", {"sharing": "stage-tied", "extract": "none", "task_path": "trunk"}, ["leaves no k_t"]),
    ],
    ids=str,
)
def test_a_combination_that_says_nothing_is_refused(name: str, settings: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UsageError) as error:
        row(name, **settings)
    for part in parts:
        assert part in str(error.value)
