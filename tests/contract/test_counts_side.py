"""Parameter counts of the side network: its equations written out again."""

import pytest

from petl_bench.measure.count.table import parameter_row

STAGES = {
    "swin_tiny_patch4_window7_224": [(96, 2), (192, 2), (384, 6), (768, 2)],
    "vit_small_patch16_224": [(384, 3)] * 4,
    "embedded": [(32, 1), (64, 2), (128, 6), (256, 2)],
}


def counted(backbone: str, tasks: int, **settings: object) -> dict[str, object]:
    return parameter_row(
        {"method": {"name": "side", **settings}, "backbone": {"name": backbone}, "tasks": tasks}, list(settings)
    )


def linear(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


@pytest.mark.parametrize("backbone", STAGES)
@pytest.mark.parametrize("tasks", [1, 4, 16])
@pytest.mark.parametrize("rho", [4, 8])
def test_the_side_network_follows_its_equations(backbone: str, tasks: int, rho: int) -> None:
    """A rung: two norms, a gate but the first, C -> r, r -> r, r -> r. A stage: r -> C. A task: its alpha and beta."""
    expected = 0
    for width, depth in STAGES[backbone]:
        r = width // rho
        expected += depth - 1 + depth * (2 * width + 2 * r + linear(width, r) + 2 * linear(r, r))
        expected += linear(r, width) + tasks * 2 * width
    assert counted(backbone, tasks, rho=rho)["method_parameters"] == expected


def test_on_swin_tiny_with_four_tasks() -> None:
    row = counted("swin_tiny_patch4_window7_224", 4)
    assert (row["method_parameters"], row["execution"]) == (1_031_864, "side")
