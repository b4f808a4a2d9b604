"""VPT equals its definition, written out: on Swin one image, window and head at a time, on ViT by concatenation.

Both run in frozen trunks of their own with the same weights and prompts.
"""

import math
from typing import TypeVar

import pytest
import torch
from conftest import resolved
from timm.models.swin_transformer import SwinTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from methods._prompts import PromptedBlock, Prompts
from methods.vpt import VPT
from petl_bench import draws
from petl_bench.backbones.base import Backbone
from petl_bench.backbones.build import build_backbone
from petl_bench.backbones.swin import SwinBackbone
from petl_bench.backbones.transformer import keys_and_values
from petl_bench.errors import UsageError
from petl_bench.testing import TASKS, tiny_backbone

B = TypeVar("B", bound=Backbone)
SETTINGS = {
    "deep": {},
    "drop": {"deep": False, "prompts_at_merge": "drop"},
    "carry": {"deep": False, "prompts_at_merge": "carry"},
}
# Image and window: maps that fit the windows, maps that are padded, and maps that are shifted along one axis alone.
SHAPES = [((64, 64), (4, 4)), ((56, 40), (4, 3)), ((32, 56), (4, 4))]


def swin(image: tuple[int, int], window: tuple[int, int], **settings: bool) -> SwinBackbone:
    with draws.seeded(0, "swin"):
        trunk = SwinTransformer(
            img_size=image,
            window_size=window,
            embed_dim=16,
            depths=(2, 2, 2, 2),
            num_heads=(1, 2, 2, 4),
            drop_path_rate=0.0,
            **settings,
        )
    return lively(SwinBackbone(trunk, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


def lively(backbone: B) -> B:
    """Draw weights and biases so large that what a block adds counts beside the stream: no part may be left out."""
    with torch.no_grad():
        for name, parameter in backbone.named_parameters():
            if parameter.dim() > 1 or name.endswith("bias"):
                fan_in = parameter[0].numel() if name.endswith("weight") else 1
                parameter.normal_(0, 0.5 * fan_in**-0.5, generator=draws.generator(0, name))
    return backbone.eval()


def vpt(backbone: Backbone, setting: str, tasks: tuple[str, ...] = TASKS[:2]) -> VPT:
    """Return VPT with three large random prompts, other ones for every task."""
    method = VPT(backbone, tasks, VPT.Config(name="vpt", prompts=3, **SETTINGS[setting]), 0).eval()
    with torch.no_grad():
        for path, layer in method.named_modules():
            if isinstance(layer, Prompts):
                layer.tokens.normal_(generator=draws.generator(1, path))
    return method


def prompts_of(method: VPT, t: int) -> list[Tensor]:
    return [layer.tokens[t] for layer in method.modules() if isinstance(layer, Prompts)]


def images(height: int, width: int) -> Tensor:
    return torch.rand(2, 3, height, width, generator=draws.generator(0, "images"))


def region(place: int, size: int, window: int, shift: int) -> int:
    """Number the parts of one axis that are no neighbours in the image once it is shifted."""
    if shift == 0 or place < size - window:
        return 0
    return 1 if place < size - shift else 2


def slow_attention(block, x: Tensor, prompts: Tensor) -> tuple[Tensor, Tensor]:
    """Attend in one image [H, W, C] and its prompts [p, C], both normalised, window by window and head by head."""
    height, width, channels = x.shape
    (rows, columns), (down, right) = block.window_size, block.shift_size
    padded_height, padded_width = math.ceil(height / rows) * rows, math.ceil(width / columns) * columns
    shifted = torch.zeros(padded_height, padded_width, channels)
    for i in range(height):
        for j in range(width):
            shifted[i, j] = x[(i + down) % height, (j + right) % width]
    result, of_prompts = torch.zeros_like(shifted), []
    for top in range(0, padded_height, rows):
        for left in range(0, padded_width, columns):
            places = [(top + i, left + j) for i in range(rows) for j in range(columns)]
            tokens = torch.stack([shifted[place] for place in places] + list(prompts))
            query, key, value = (tokens @ block.attn.qkv.weight.T + block.attn.qkv.bias).chunk(3, 1)
            heads = []
            for head in range(block.attn.num_heads):
                part = slice(head * channels // block.attn.num_heads, (head + 1) * channels // block.attn.num_heads)
                scores = query[:, part] @ key[:, part].T / math.sqrt(part.stop - part.start)
                for a, (ya, xa) in enumerate(places):
                    for b, (yb, xb) in enumerate(places):
                        entry = (ya - yb + rows - 1) * (2 * columns - 1) + xa - xb + columns - 1
                        scores[a, b] += block.attn.relative_position_bias_table[entry, head]
                        of_a = region(ya, padded_height, rows, down), region(xa, padded_width, columns, right)
                        of_b = region(yb, padded_height, rows, down), region(xb, padded_width, columns, right)
                        scores[a, b] -= 0 if of_a == of_b else 100
                heads.append(scores.softmax(1) @ value[:, part])
            out = torch.cat(heads, 1) @ block.attn.proj.weight.T + block.attn.proj.bias
            for place, token in zip(places, out, strict=False):
                result[place] = token
            of_prompts.append(out[len(places) :])
    back = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            back[(i + down) % height, (j + right) % width] = result[i, j]
    return back, torch.stack(of_prompts).mean(0)


def slow_swin(backbone: SwinBackbone, image: Tensor, prompts: list[Tensor], setting: str) -> list[Tensor]:
    """Run one image [3, H, W] through a frozen Swin with prompts: the map [C, H, W] of every stage."""
    x = backbone.stem((image[None] - backbone.mean) / backbone.std)[0]
    carried, maps = None, []
    for number, place in enumerate(backbone.blocks):
        block, merging = backbone.block_module(place), backbone.trunk.layers[place.stage].downsample
        if place.index == 0 and place.stage > 0:
            x = merging(x[None])[0]
            if setting == "carry":
                four = torch.cat([carried, carried, carried, carried], 1)
                normal = F.layer_norm(four, four.shape[1:], merging.norm.weight, merging.norm.bias, merging.norm.eps)
                carried = normal @ merging.reduction.weight.T
            else:
                carried = None
        entering = prompts[number] if setting == "deep" else prompts[0] if number == 0 else carried
        if entering is None:
            x = block(x[None])[0]
        else:
            tokens, own = slow_attention(block, block.norm1(x), block.norm1(entering))
            x, carried = x + tokens, entering + own
            x, carried = x + block.mlp(block.norm2(x)), carried + block.mlp(block.norm2(carried))
        if place.is_last_in_stage:
            maps.append(x.permute(2, 0, 1))
    return maps


def slow_vit(backbone: Backbone, image: Tensor, prompts: list[Tensor], setting: str) -> list[Tensor]:
    """Run one image [3, H, W] through timm's own blocks on concatenated tokens: the map of every tap."""
    x = backbone.stem((image[None] - backbone.mean) / backbone.std)
    number_of_tokens, maps = x.shape[1], []
    for number, place in enumerate(backbone.blocks):
        if setting == "deep":
            x = torch.cat([x[:, :number_of_tokens], prompts[number][None]], 1)
        elif number == 0:
            x = torch.cat([x, prompts[0][None]], 1)
        x = backbone.block_module(place)(x)
        if place.is_last_in_stage:
            maps.append(backbone.to_map(x[:, :number_of_tokens], place.stage)[0])
    return maps


def assert_equal_and_adapted(method: VPT, plain: Backbone, batch: Tensor, slow, setting: str) -> None:
    features, untouched = method(batch), plain(batch)
    for t, task in enumerate(method.tasks):
        for i, image in enumerate(batch):
            expected = slow(plain, image, prompts_of(method, t), setting)
            for level, theirs in zip(features.for_task(task), expected, strict=True):
                torch.testing.assert_close(level[i], theirs, rtol=0, atol=1e-5)
    first, second = (features.for_task(task) for task in method.tasks)
    for one, two, frozen in zip(first, second, untouched, strict=True):
        assert (one - two).abs().max() > 1e-3
        assert (one - frozen).abs().max() > 1e-3


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(("image", "window"), SHAPES)
def test_swin_features_equal_a_loop_over_windows_and_heads(image, window, setting: str) -> None:
    method = vpt(swin(image, window), setting)
    assert_equal_and_adapted(method, swin(image, window), images(*image), slow_swin, setting)


@torch.no_grad()
@pytest.mark.parametrize("setting", SETTINGS)
def test_vit_features_equal_timms_blocks_on_concatenated_tokens(setting: str) -> None:
    method = vpt(lively(tiny_backbone("vit")), setting)
    assert_equal_and_adapted(method, lively(tiny_backbone("vit")), images(32, 32), slow_vit, setting)


@torch.no_grad()
@pytest.mark.parametrize("partition", [{}, {"always_partition": True}, {"strict_img_size": False}])
@pytest.mark.parametrize(("image", "window"), SHAPES)
def test_attending_without_prompts_is_timms_own_attention(image, window, partition) -> None:
    backbone = swin(image, window, **partition)
    for number, place in enumerate(backbone.blocks):
        block = backbone.block_module(place)
        height, width = block.input_resolution
        x = torch.randn(2, height, width, place.width, generator=draws.generator(0, str(number)))
        values, own = backbone.attend(block, x)
        torch.testing.assert_close(backbone.attention_branch(block, values), block._attn(x), rtol=0, atol=1e-5)
        assert own is None


@torch.no_grad()
def test_shallow_prompts_end_with_the_first_stage_unless_they_are_carried() -> None:
    image, window = SHAPES[0]
    drop, carry = (vpt(swin(image, window), setting) for setting in ("drop", "carry"))
    reached = [
        [isinstance(m.backbone.block_module(b), PromptedBlock) for b in m.backbone.blocks] for m in (drop, carry)
    ]
    assert reached == [[True] * 2 + [False] * 6, [True] * 8]
    one, two = (method(images(*image)).for_task(TASKS[0]) for method in (drop, carry))
    assert torch.equal(one[0], two[0])
    assert all((a - b).abs().max() > 1e-3 for a, b in zip(one[1:], two[1:], strict=True))


@pytest.mark.parametrize(("setting", "passes"), [("deep", [1] * 8), ("drop", [2] + [1] * 7), ("carry", [2] * 7 + [1])])
def test_prompts_that_nobody_reads_pass_no_mlp(setting: str, passes: list[int]) -> None:
    method, seen = vpt(swin(*SHAPES[0]), setting), [0] * 8
    for number, place in enumerate(method.backbone.blocks):
        block = method.backbone.block_module(place)
        inner = block.block if isinstance(block, PromptedBlock) else block

        def count(*_: object, number: int = number) -> None:
            seen[number] += 1

        inner.get_submodule("mlp").register_forward_hook(count)
    method(images(64, 64))
    assert seen == passes


def test_prompts_start_uniform_within_the_bound_of_the_released_code() -> None:
    method = VPT(tiny_backbone("swin"), TASKS, VPT.Config(name="vpt"), 0)
    bound = math.sqrt(6 / (3 * 4 * 4 + 16))
    for layer in method.modules():
        if isinstance(layer, Prompts):
            assert 0.97 * bound < layer.tokens.abs().max() <= bound
            assert abs(layer.tokens.mean()) < 0.05 * bound
            assert not torch.equal(layer.tokens[0], layer.tokens[1])


def test_carrying_deep_prompts_is_refused_and_says_what_to_type() -> None:
    with pytest.raises(
        UsageError, match=r"^method: prompts_at_merge = \"carry\" has no effect on deep.*method.deep=false"
    ):
        resolved("vpt", method={"prompts_at_merge": "carry"})
    assert resolved("vpt", method={"prompts_at_merge": "carry", "deep": False}).method


def test_an_attention_of_another_kind_is_refused() -> None:
    backbone = build_backbone("vit_dwee_patch16_reg1_gap_256", weights="random", image_size=64, seed=0)
    with pytest.raises(UsageError, match="needs attention whose values can be read"):
        vpt(backbone, "deep")


def test_a_prompt_gets_the_keys_and_values_of_a_projection_that_is_wrapped_too() -> None:
    plain = nn.Linear(6, 18)
    tokens = torch.randn(2, 3, 6)
    expected = (tokens @ plain.weight.T + plain.bias)[..., 6:]
    for projection in (plain, nn.Sequential(plain, nn.Identity())):
        torch.testing.assert_close(keys_and_values(projection, tokens), expected)
