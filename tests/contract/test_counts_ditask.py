"""Parameter counts of DiTASK: the figure of the paper, and its sum written out again from the equations."""

import pytest
from test_counts_mtlora import NORMS, PASCAL, PATCH_EMBED, REDUCTIONS, TABLES, counted

BLOCKS, LAST_BLOCKS = 12, 4


def flows(cells: int, task_cells: int, tasks: int = 4) -> tuple[int, int]:
    """Return N - 1 for qkv, proj, fc1 and fc2 of every block, and a task's for the last three of the last blocks."""
    return BLOCKS * 4 * (cells - 1), tasks * LAST_BLOCKS * 3 * (task_cells - 1)


def test_the_parts_of_the_sum() -> None:
    assert sum(flows(64, 4)) == 3_168
    assert sum(flows(64, 64)) == 6_048
    assert PATCH_EMBED + NORMS + TABLES == 51_258


@pytest.mark.parametrize(
    ("settings", "total"),
    [
        ({}, 1_602_714),
        ({"task_cells": 64}, 1_605_594),
        ({"train_merging": False}, 54_426),
        ({"train_merging": False, "task_cells": 64}, 57_306),
    ],
    ids=str,
)
def test_the_published_total_is_reached_with_patch_merging_and_without_decoders(
    settings: dict[str, object], total: int
) -> None:
    """1.61 M; 97 % of it is patch merging."""
    assert counted("ditask", **settings).method == total


@pytest.mark.parametrize(("cells", "task_cells"), [(2, 2), (64, 4), (16, 8)])
@pytest.mark.parametrize("tasks", [1, 16])
def test_the_method_follows_its_equation(cells: int, task_cells: int, tasks: int) -> None:
    channels = {f"task{t}": 1 for t in range(tasks)}
    ledger = counted("ditask", channels=channels, cells=cells, task_cells=task_cells)
    shared, per_task = flows(cells, task_cells, tasks)
    assert ledger.shared == shared + PATCH_EMBED + NORMS + TABLES + REDUCTIONS
    assert ledger.per_task == per_task
    assert ledger.effective == ledger.method - 3 * (cells - 1)


def test_on_a_plain_vit_neither_tables_nor_reductions_count() -> None:
    """ViT-S/16: twelve blocks of width 384, four of them last in a group."""
    ledger = counted("ditask", "vit_small_patch16_224", PASCAL)
    assert (ledger.shared, ledger.per_task) == (
        flows(64, 4)[0] + 12 * 4 * 384 + (3 * 16 * 16 + 1) * 384,
        flows(64, 4)[1],
    )
