"""Parameter counts of methods with hyper-networks, written out again from their equations."""

import pytest

from petl_bench.measure.count.table import parameter_row

SWIN_TINY = "swin_tiny_patch4_window7_224"
WIDTHS = {
    SWIN_TINY: [96] * 2 + [192] * 2 + [384] * 6 + [768] * 2,
    "swin_base_patch4_window7_224": [128] * 2 + [256] * 2 + [512] * 18 + [1024] * 2,
    "vit_small_patch16_224": [384] * 12,
    "embedded": [32] + [64] * 2 + [128] * 6 + [256] * 2,
}
EVERYWHERE = pytest.mark.parametrize("backbone", WIDTHS)
TASKS = pytest.mark.parametrize("tasks", [1, 4, 16])


def counted(name: str, backbone: str, tasks: int, **settings: object) -> dict[str, int]:
    asked = {"method": {"name": name, **settings}, "backbone": {"name": backbone}, "tasks": tasks}
    row = parameter_row(asked, [])
    return {owner: row[f"{owner}_parameters"] for owner in ("shared", "per_task", "generator", "method")}


@pytest.mark.parametrize(
    ("method", "settings", "expected"),
    [
        ("hyperformer", {}, 6_958_170),
        ("hyperformer", {"networks": "per-block", "rho": 4, "place": "mlp"}, 71_046_480),
        ("hyperformer", {"networks": "per-block", "rho": 8}, 71_907_600),
        ("polyhistor", {}, 6_400_144),
        ("polyhistor-lite", {}, 410_212),
    ],
)
def test_counts_on_swin_tiny_with_four_tasks(method: str, settings: dict[str, object], expected: int) -> None:
    assert counted(method, SWIN_TINY, 4, **settings)["method"] == expected


def test_reconstructions_meet_the_published_counts_within_half_a_percent() -> None:
    for method, published in (("polyhistor", 6.41e6), ("polyhistor-lite", 0.41e6)):
        assert abs(counted(method, SWIN_TINY, 4)["method"] / published - 1) < 0.005


@EVERYWHERE
@TASKS
@pytest.mark.parametrize("networks", ["per-width", "per-block"])
@pytest.mark.parametrize("place", ["both", "mlp"])
def test_hyperformer_follows_its_equation(backbone: str, tasks: int, networks: str, place: str) -> None:
    widths, rho, embedding, hidden, projected = WIDTHS[backbone], 32, 64, 128, 64
    expected = len(widths) * embedding
    expected += (2 * embedding * hidden + hidden) + (hidden * projected + projected) + 2 * projected
    for width in sorted(set(widths)) if networks == "per-width" else widths:
        inner = width // rho
        for outputs in (inner * width, inner, width * inner, width, width, width):
            expected += (2 if place == "both" else 1) * (projected * outputs + outputs)
    count = counted("hyperformer", backbone, tasks, networks=networks, place=place)
    assert count == {
        "shared": 0,
        "per_task": tasks * embedding,
        "generator": expected,
        "method": tasks * embedding + expected,
    }


@EVERYWHERE
@TASKS
def test_polyhistor_follows_its_equation(backbone: str, tasks: int) -> None:
    widths, rho, embedding, rank = WIDTHS[backbone], 4, 64, 9
    generator = 0
    for width in widths:
        inner = width // rho
        for outputs, inputs in ((inner, width), (width, inner)):
            generator += embedding * (outputs * rank) + embedding * (rank * inputs)
    biases = sum(width // rho + width for width in widths)
    own = tasks * (embedding + sum(2 * width for width in widths))
    count = counted("polyhistor", backbone, tasks)
    assert count == {"shared": biases, "per_task": own, "generator": generator, "method": biases + own + generator}


@EVERYWHERE
@TASKS
def test_polyhistor_lite_follows_its_equation(backbone: str, tasks: int) -> None:
    widths, rho, embedding, rank = WIDTHS[backbone], 4, 64, 2
    smallest = widths[0]
    generator = 0
    for width in widths:
        for outputs, inputs in ((smallest // rho, smallest), (smallest, smallest // rho)):
            generator += embedding * rank * (outputs + inputs) + (width // smallest) ** 2
    biases = sum(width // rho + width for width in widths)
    own = tasks * (embedding + sum(2 * width for width in widths))
    count = counted("polyhistor-lite", backbone, tasks)
    assert count == {"shared": biases, "per_task": own, "generator": generator, "method": biases + own + generator}
