"""Parameter counts of VPT: the figures of the literature, and p prompts of width C written out."""

import pytest

from petl_bench import plan, plugins
from petl_bench.measure.count.table import parameter_row

SWIN_TINY = "swin_tiny_patch4_window7_224"
WIDTHS = {
    SWIN_TINY: [96] * 2 + [192] * 2 + [384] * 6 + [768] * 2,
    "vit_small_patch16_224": [384] * 12,
    "embedded": [32] + [64] * 2 + [128] * 6 + [256] * 2,
}


def counted(backbone: str, tasks: int, **settings: object) -> int:
    asked = {"method": {"name": "vpt", **settings}, "backbone": {"name": backbone}, "tasks": tasks}
    return parameter_row(asked, [])["method_parameters"]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, 883_200),
        ({"deep": False}, 19_200),
        ({"deep": False, "prompts_at_merge": "carry"}, 19_200),
        ({"scope": "shared"}, 220_800),
        ({"deep": False, "scope": "shared"}, 4_800),
    ],
)
def test_published_counts_on_swin_tiny_with_four_tasks(settings: dict[str, object], expected: int) -> None:
    assert counted(SWIN_TINY, 4, **settings) == expected


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 16])
def test_vpt_follows_its_equation(backbone: str, tasks: int) -> None:
    widths, prompts = WIDTHS[backbone], 7
    assert counted(backbone, tasks, prompts=prompts) == tasks * prompts * sum(widths)
    assert counted(backbone, tasks, prompts=prompts, deep=False) == tasks * prompts * widths[0]
    assert counted(backbone, tasks, prompts=prompts, scope="shared") == prompts * sum(widths)


def test_the_embedded_backbone_has_ten_prompts_and_the_config_says_so() -> None:
    assert counted("embedded", 4) == 4 * 10 * sum(WIDTHS["embedded"])
    asked = {"method": {"name": "vpt"}, "backbone": {"name": "embedded"}}
    assert plan.plan(asked, plugins.vocabulary).method.model_dump()["prompts"] == 10
    assert counted("embedded", 4, prompts=50) == 4 * 50 * sum(WIDTHS["embedded"])
