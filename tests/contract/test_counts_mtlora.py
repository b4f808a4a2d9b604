"""Parameter counts of MTLoRA: the figure of the paper, and its sum written out again from the equations."""

import pytest
import torch

from petl_bench import plan, plugins
from petl_bench.engine.build import build_model
from petl_bench.ledger import count
from petl_bench.records.run import Ledger

SWIN_TINY = "swin_tiny_patch4_window7_224"
PASCAL = {"semseg": 21, "human_parts": 7, "saliency": 1, "normals": 3}
WIDTHS = [96] * 2 + [192] * 2 + [384] * 6 + [768] * 2
LAST = [96, 192, 384, 768]


def counted(
    name: str = "mtlora", backbone: str = SWIN_TINY, channels: dict[str, int] = PASCAL, **method: object
) -> Ledger:
    settings = {
        "method": {"name": name, **method},
        "backbone": {"name": backbone},
        "decoder": {"name": "hrnet"},
        "tasks": 1,
    }
    with torch.device("meta"):
        return count(build_model(plan.plan(settings, plugins.vocabulary), channels))


def shared_lora(rank: int) -> int:
    """Return r (in + out) summed over qkv C -> 3C, proj C -> C, fc1 C -> 4C and fc2 4C -> C of every block."""
    return sum(rank * ((c + 3 * c) + (c + c) + (c + 4 * c) + (4 * c + c)) for c in WIDTHS)


def task_lora(rank: int, tasks: int) -> int:
    """Return the same over proj, fc1 and fc2 of the last block of each stage, per task."""
    return tasks * sum(rank * ((c + c) + (c + 4 * c) + (4 * c + c)) for c in LAST)


PATCH_EMBED = 3 * 4 * 4 * 96 + 96
NORMS = 2 * 96 + sum(2 * 2 * c for c in WIDTHS) + sum(2 * 4 * c for c in LAST[:3])
TABLES = sum(13 * 13 * c // 32 for c in WIDTHS)
REDUCTIONS = sum(4 * c * 2 * c for c in LAST[:3])


def test_the_parts_of_the_sum() -> None:
    assert shared_lora(1) == 70_656
    assert task_lora(4, 4) == 276_480
    assert PATCH_EMBED + NORMS + TABLES == 51_258
    assert REDUCTIONS == 1_548_288


@pytest.mark.parametrize("rank", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("taps", ["before-merge", "after-merge"])
def test_the_method_follows_its_equation(rank: int, taps: str) -> None:
    ledger = counted(rank=rank, taps=taps)
    assert ledger.shared == shared_lora(rank) + PATCH_EMBED + NORMS + TABLES + REDUCTIONS
    assert ledger.per_task == task_lora(4, 4)
    assert ledger.effective == ledger.method - rank * (768 + 4 * 768)


@pytest.mark.parametrize(("rank", "total"), [(16, 4_953_146), (32, 6_083_642), (64, 8_344_634)])
def test_the_published_totals_with_decoders_on_pascal_context(rank: int, total: int) -> None:
    """4.95 M, 6.08 M and 8.34 M: what MTLoRA's own decoders read, its own decoders, four tasks."""
    ledger = counted(rank=rank, taps="after-merge")
    assert ledger.decoder == 1_946_624
    assert ledger.trainable == total


def test_mtlora_plus_puts_low_rank_updates_in_place_of_the_trained_reductions() -> None:
    low_rank = 4 * sum(4 * c + 2 * c for c in LAST[:3])
    assert counted(rank=4, reduction="lora").method == counted(rank=4).method - REDUCTIONS + low_rank
    assert counted(rank=4, reduction="lora", taps="after-merge").trainable == 2_573_114


@pytest.mark.parametrize(
    ("setting", "size"),
    [
        ({"train_patch_embed": False}, PATCH_EMBED),
        ({"train_norms": False}, NORMS),
        ({"train_tables": False}, TABLES),
        ({"reduction": "frozen"}, REDUCTIONS),
    ],
)
def test_every_part_that_is_trained_beside_can_be_left_out(setting: dict[str, object], size: int) -> None:
    assert counted().method - counted(**setting).method == size


@pytest.mark.parametrize("tasks", [1, 16])
def test_only_the_lora_of_the_tasks_grows_with_their_number(tasks: int) -> None:
    ledger = counted(channels={f"task{t}": 1 for t in range(tasks)}, task_rank=8)
    assert (ledger.shared, ledger.per_task) == (counted().shared, task_lora(8, tasks))


def test_on_a_plain_vit_neither_tables_nor_reductions_count() -> None:
    """ViT-S/16: twelve blocks of width 384, four of them last in a group."""
    width, rank = 384, 16
    ledger = counted(backbone="vit_small_patch16_224")
    assert ledger.shared == 12 * (rank * 16 * width + 2 * 2 * width) + 3 * 16 * 16 * width + width
    assert ledger.per_task == 4 * 4 * (4 * 12 * width)
