"""Parameter counts of the methods that train biases, scales and shifts, from the shapes of the networks."""

from dataclasses import dataclass

import pytest

from petl_bench.measure.count.table import parameter_row


@dataclass(frozen=True)
class Swin:
    widths: tuple[int, ...]
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    window: int

    @property
    def outputs(self) -> int:
        """Block: norms C + C, qkv 3C, proj C, fc1 4C, fc2 C; the stem's convolution and norm; the merging norms 4C."""
        blocks = sum(11 * c * depth for c, depth in zip(self.widths, self.depths, strict=True))
        return blocks + 2 * self.widths[0] + sum(4 * c for c in self.widths[:-1])

    @property
    def reductions(self) -> int:
        """The reductions of patch merging have 2C outputs and no bias."""
        return sum(2 * c for c in self.widths[:-1])

    @property
    def tables(self) -> int:
        return (2 * self.window - 1) ** 2 * sum(h * depth for h, depth in zip(self.heads, self.depths, strict=True))


SWINS = {
    "swin_tiny_patch4_window7_224": Swin((96, 192, 384, 768), (2, 2, 6, 2), (3, 6, 12, 24), 7),
    "swin_base_patch4_window12_384": Swin((128, 256, 512, 1024), (2, 2, 18, 2), (4, 8, 16, 32), 12),
    "embedded": Swin((32, 64, 128, 256), (1, 2, 6, 2), (1, 2, 4, 8), 4),
}
VITS = {"vit_small_patch16_224": (384, 12), "vit_base_patch16_224": (768, 12)}
SWIN_TINY = "swin_tiny_patch4_window7_224"


def counted(name: str, backbone: str, tasks: int, **settings: object) -> int:
    asked = {"method": {"name": name, **settings}, "backbone": {"name": backbone}, "tasks": tasks}
    return parameter_row(asked, [])["method_parameters"]


@pytest.mark.parametrize(
    ("method", "expected", "published_millions"),
    [("bitfit", 299_112, 0.30), ("relative-bias", 93_288, 0.09), ("ssf", 422_400, None)],
)
def test_swin_tiny_with_four_tasks(method: str, expected: int, published_millions: float | None) -> None:
    assert counted(method, SWIN_TINY, 4) == expected
    assert published_millions in (None, round(expected / 1e6, 2))


@pytest.mark.parametrize("backbone", SWINS)
def test_swin_follows_the_equations(backbone: str) -> None:
    swin = SWINS[backbone]
    one = {
        "bitfit": swin.outputs + swin.tables,
        "relative-bias": swin.tables,
        "ssf": 2 * (swin.outputs + swin.reductions),
    }
    for method, count in one.items():
        assert counted(method, backbone, 3) == 3 * count
        assert counted(method, backbone, 3, scope="shared") == count


@pytest.mark.parametrize("backbone", VITS)
def test_plain_vit_follows_the_equations(backbone: str) -> None:
    """Eleven widths a block and the patch embedding; no tables."""
    width, depth = VITS[backbone]
    outputs = 11 * width * depth + width
    for method, count in {"bitfit": outputs, "ssf": 2 * outputs}.items():
        assert counted(method, backbone, 3) == 3 * count
        assert counted(method, backbone, 3, scope="shared") == count


def test_a_layer_without_a_bias_gets_none_from_bitfit_and_a_shift_from_ssf() -> None:
    """CLIP's patch embedding has no bias, and a norm stands behind it."""
    blocks = 11 * 768 * 12
    assert counted("bitfit", "vit_base_patch16_clip_224", 2) == 2 * (blocks + 768)
    assert counted("ssf", "vit_base_patch16_clip_224", 2) == 2 * 2 * (blocks + 768 + 768)
