"""Parameter counts of TADFormer: the figures of the paper and of the released code, and their sum written out again."""

import pytest
from test_counts_mtlora import LAST, NORMS, PATCH_EMBED, TABLES, WIDTHS, counted, shared_lora

DECODERS = 1_946_624


def filters(kind: str, rank: int, tasks: int = 4) -> int:
    """Return the filters of proj, fc1 and fc2 in the four last blocks: a convolution r -> 9r and a gain and an offset
    for each of 9r taps, or 9 taps and a bias a channel and task."""
    one = {"dynamic": rank * 9 * rank + 9 * rank + 2 * 9 * rank, "static": tasks * rank * (9 + 1), "none": 0}[kind]
    return 4 * 3 * one


PROMPTS = 4 * 96
WIDENING = sum(c * 2 * c for c in LAST[:3])
PROMPT_NORMS = sum(2 * c for c in WIDTHS)
GATES = 4


def test_the_parts_of_the_sum() -> None:
    assert shared_lora(1) == 70_656
    assert (PROMPTS, WIDENING, PROMPT_NORMS) == (384, 387_072, 8_832)
    assert PATCH_EMBED + NORMS + TABLES == 51_258


@pytest.mark.parametrize("kind", ["dynamic", "static", "none"])
@pytest.mark.parametrize("rank", [4, 16, 32, 64])
def test_the_method_follows_its_equation(rank: int, kind: str) -> None:
    ledger = counted("tadformer", rank=rank, filter=kind)
    expected = shared_lora(rank) + filters(kind, rank) + PROMPTS + WIDENING + PROMPT_NORMS + GATES
    assert ledger.method == expected + PATCH_EMBED + NORMS + TABLES
    assert ledger.per_task == PROMPTS + (filters(kind, rank) if kind == "static" else 0)
    assert ledger.effective == ledger.method - sum(2 * c for c in [96, 192, *[384] * 5, 768])


@pytest.mark.parametrize(
    ("kind", "rank", "total"),
    [
        ("dynamic", 16, 3_557_502),
        ("dynamic", 32, 4_776_126),
        ("dynamic", 64, 7_379_262),
        ("static", 16, 3_532_350),
        ("static", 32, 4_670_526),
        ("static", 64, 6_946_878),
    ],
)
def test_the_published_totals_with_decoders_on_pascal_context(kind: str, rank: int, total: int) -> None:
    """3.56 M, 4.78 M and 7.38 M with the filter of the paper; the released code holds other numbers."""
    ledger = counted("tadformer", rank=rank, filter=kind, taps="after-merge")
    assert ledger.decoder == DECODERS
    assert ledger.trainable == total


@pytest.mark.parametrize("tasks", [1, 16])
def test_prompts_and_static_filters_grow_with_the_number_of_tasks(tasks: int) -> None:
    channels = {f"task{t}": 1 for t in range(tasks)}
    ledger = counted("tadformer", channels=channels, filter="static", rank=8)
    assert ledger.per_task == tasks * 96 + filters("static", 8, tasks)
    assert ledger.shared == counted("tadformer", filter="static", rank=8).shared
