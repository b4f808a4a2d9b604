"""Parameter counts: the figures of the literature, and the paper's equations written out again here."""

import pytest
import torch

from petl_bench import plugins
from petl_bench.backbones.build import build_backbone
from petl_bench.backbones.names import find_backbone
from petl_bench.engine.build import build
from petl_bench.ledger import count
from petl_bench.measure.count.table import parameter_row
from petl_bench.plan import plan

SWIN_TINY = "swin_tiny_patch4_window7_224"
WIDTHS = {
    SWIN_TINY: [96] * 2 + [192] * 2 + [384] * 6 + [768] * 2,
    "swin_base_patch4_window7_224": [128] * 2 + [256] * 2 + [512] * 18 + [1024] * 2,
    "vit_small_patch16_224": [384] * 12,
    "vit_base_patch16_224": [768] * 12,
    "embedded": [32] + [64] * 2 + [128] * 6 + [256] * 2,
}
SIZES = {SWIN_TINY: 27_517_818, "vit_small_patch16_224": 21_664_896}


def counted(name: str, backbone: str, tasks: int, **settings: object) -> dict[str, object]:
    asked = {"method": {"name": name, **settings}, "backbone": {"name": backbone}, "tasks": tasks}
    return parameter_row(asked, [])


@pytest.mark.parametrize(
    ("method", "expected"),
    [("vmt", 1_127_952), ("lora", 317_952), ("single", 110_071_272), ("full", 27_517_818), ("decoders", 0)],
)
def test_published_and_derived_counts_on_swin_tiny_with_four_tasks(method: str, expected: int) -> None:
    assert counted(method, SWIN_TINY, 4)["method_parameters"] == expected


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 4, 16])
def test_vmt_follows_its_equation(backbone: str, tasks: int) -> None:
    rho, widths = 4, WIDTHS[backbone]
    down_and_up = sum(2 * c * c // rho for c in widths)
    biases = sum(c // rho + c for c in widths)
    norms = sum(2 * c for c in widths)
    scale_and_shift = sum(2 * c for c in widths)
    expected = down_and_up + biases + norms + tasks * scale_and_shift
    assert counted("vmt", backbone, tasks)["method_parameters"] == expected


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 4, 16])
def test_lora_follows_its_equation(backbone: str, tasks: int) -> None:
    rank = 4
    query_and_value = sum(2 * (rank * c + c * rank) for c in WIDTHS[backbone])
    norm = sum(2 * c for c in WIDTHS[backbone])
    assert counted("lora", backbone, tasks)["method_parameters"] == tasks * (query_and_value + norm)
    assert counted("lora", backbone, tasks, scope="shared")["method_parameters"] == query_and_value + norm
    assert counted("lora", backbone, tasks, norm="none")["method_parameters"] == tasks * query_and_value


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize("tasks", [1, 4])
def test_variants_of_lora_follow_their_equations(backbone: str, tasks: int) -> None:
    """A pair has r (inputs + outputs), the MLP is four times as wide, and a magnitude belongs to every output."""
    r = 8

    def of(sizes: list[tuple[int, int]], magnitudes: bool) -> int:
        return sum(r * (inputs + outputs) + (outputs if magnitudes else 0) for inputs, outputs in sizes)

    def lora(**settings: object) -> object:
        return counted("lora", backbone, tasks, rank=r, norm="none", **settings)["method_parameters"]

    pairs = [(c, c) for c in WIDTHS[backbone] for _ in range(2)]
    every = [size for c in WIDTHS[backbone] for size in [(c, 3 * c), (c, c), (c, 4 * c), (4 * c, c)]]
    assert lora() == lora(start="pissa") == lora(rank_schedule="prefix") == tasks * of(pairs, False)
    assert lora(weight="dora") == tasks * of(pairs, True)
    assert lora(targets="all") == tasks * of(every, False)
    assert lora(targets="all", weight="dora") == tasks * of(every, True)


@pytest.mark.parametrize("backbone", SIZES)
def test_full_and_single_are_one_and_t_trunks(backbone: str) -> None:
    assert counted("full", backbone, 3)["method_parameters"] == SIZES[backbone]
    assert counted("single", backbone, 3)["method_parameters"] == 3 * SIZES[backbone]


def test_segformer_decoders_of_the_published_table() -> None:
    """Width 256 on Swin-T, outputs 21 + 7 + 1 + 3: 2.54 M, so 112.6 M with four backbones."""
    stages = [96, 192, 384, 768]
    one = sum(c * 256 + 256 for c in stages) + 4 * 256 * 256 + 2 * 256
    expected = 4 * one + sum(256 * n + n for n in (21, 7, 1, 3))
    assert round(expected / 1e6, 2) == 2.54
    row = counted("decoders", SWIN_TINY, 4)
    here = 4 * one + sum(256 * n + n for n in (13, 7, 1, 3))
    assert row["decoder_parameters"] == here


def test_tasks_beyond_the_dataset_are_synthetic_and_said_so() -> None:
    row = counted("vmt", SWIN_TINY, 64)
    assert (row["tasks"], row["synthetic_tasks"]) == (64, 48)
    assert counted("vmt", SWIN_TINY, 16)["synthetic_tasks"] == 0


@pytest.mark.parametrize("method", list(plugins.listings("methods")))
def test_meta_device_counts_what_a_real_model_holds(method: str) -> None:
    settings = {"method": {"name": method}, "backbone": {"weights": "random"}, "tasks": 2}
    real = count(build(plan(settings, plugins.vocabulary)))
    row = counted(method, "embedded", 2)
    assert (row["method_parameters"], row["decoder_parameters"]) == (real.method, real.decoder)


def test_a_backbone_on_meta_allocates_nothing() -> None:
    name = "swin_large_patch4_window12_384"
    with torch.device("meta"):
        backbone = build_backbone(name, weights="random", image_size=find_backbone(name).image_size, seed=0)
    assert all(parameter.is_meta for parameter in backbone.parameters())


@pytest.mark.parametrize("backbone", WIDTHS)
@pytest.mark.parametrize(("groups", "tasks", "branches"), [("", 4, 4), ("semseg+normals", 4, 3), ("", 1, 1)])
def test_branched_lora_has_a_pair_for_every_group_behind_the_branching(
    backbone: str, groups: str, tasks: int, branches: int
) -> None:
    """A pair of every linear layer of a block of width C: r (C + 3C), r (C + C), and twice r (C + 4C)."""
    blocks = len(WIDTHS[backbone])
    early = {SWIN_TINY: 4, "swin_base_patch4_window7_224": 4, "embedded": 3}.get(backbone, blocks // 2)
    first, rest = (sum(16 * 16 * c for c in part) for part in (WIDTHS[backbone][:early], WIDTHS[backbone][early:]))
    row = counted("branched-lora", backbone, tasks, groups=groups, rank=16)
    assert row["method_parameters"] == first + branches * rest
    alone = branches - (1 if groups else 0)
    assert row["per_task_parameters"] == alone * rest
