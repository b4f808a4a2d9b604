"""SSF against its equations in numpy; per-task biases and tables against one trunk per task that holds them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import erf
from torch import nn

from methods._affine import PerTaskShift, PerTaskTable
from methods.bitfit import BitFit
from methods.relative_bias import RelativeBias
from methods.ssf import SSF, PerTaskScaleShift
from petl_bench.backbones.base import Backbone
from petl_bench.errors import UsageError
from petl_bench.method import Method
from petl_bench.testing import TASKS, Subject, disturb, tiny_backbone

Affine = Callable[[str, np.ndarray], np.ndarray]


def built(method: type[Method], family: str, **settings: object) -> Method:
    return disturb(Subject(method, method.Config(name=method.name, **settings), family).build()).method


def array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().double().numpy()


def ssf_of(trunk: Any, t: int) -> Affine:
    """Return gamma_t * x + beta_t after the operation at a path."""

    def apply(path: str, x: np.ndarray) -> np.ndarray:
        layer = trunk.get_submodule(path)
        return array(layer.gamma)[t] * x + array(layer.beta)[t]

    return apply


def linear(x: np.ndarray, module: Any) -> np.ndarray:
    return x @ array(module.weight).T + (0.0 if module.bias is None else array(module.bias))


def layer_norm(x: np.ndarray, module: Any) -> np.ndarray:
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + module.eps) * array(module.weight) + array(module.bias)


def patch_embedding(images: np.ndarray, trunk: Any, affine: Affine) -> np.ndarray:
    """Embed patches of images [B, 3, H, W]: one matrix product, scaled and shifted; tokens [B, N, C]."""
    proj = trunk.patch_embed.proj
    batch, channels, height, width = images.shape
    size = proj.kernel_size[0]
    grid = images.reshape(batch, channels, height // size, size, width // size, size).transpose(0, 2, 4, 1, 3, 5)
    patches = grid.reshape(batch, -1, channels * size * size)
    weight = array(proj.weight).reshape(len(proj.weight), -1)
    return affine("patch_embed.proj", patches @ weight.T + array(proj.bias))


def vit_block(x: np.ndarray, block: Any, path: str, affine: Affine) -> np.ndarray:
    """Run a pre-norm transformer block on tokens [B, N, C], with an affine map after each of its six operations."""
    batch, tokens, width = x.shape
    normed = affine(f"{path}.norm1", layer_norm(x, block.norm1))
    qkv = affine(f"{path}.attn.qkv", linear(normed, block.attn.qkv))
    heads = block.attn.num_heads
    query, key, value = qkv.reshape(batch, tokens, 3, heads, width // heads).transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(width // heads)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    context = (weights / weights.sum(-1, keepdims=True)) @ value
    context = context.transpose(0, 2, 1, 3).reshape(batch, tokens, width)
    x = x + affine(f"{path}.attn.proj", linear(context, block.attn.proj))
    hidden = affine(f"{path}.mlp.fc1", linear(affine(f"{path}.norm2", layer_norm(x, block.norm2)), block.mlp.fc1))
    hidden = hidden * (1 + erf(hidden / np.sqrt(2))) / 2
    return x + affine(f"{path}.mlp.fc2", linear(hidden, block.mlp.fc2))


def test_ssf_of_a_vit_is_its_equations() -> None:
    """From the image to the end of the second block, for every task."""
    method, plain = built(SSF, "vit").double(), tiny_backbone("vit").double().trunk
    images = Subject(SSF, method.config, "vit").images().double()
    trunk: Any = method.backbone.trunk
    with torch.no_grad():
        normalised = (images - method.backbone.mean) / method.backbone.std
        stem = method.backbone.stem(normalised.repeat(len(TASKS), 1, 1, 1))
        ours = array(trunk.blocks[1](trunk.blocks[0](stem))).reshape(len(TASKS), len(images), -1, plain.embed_dim)
    outputs = []
    for t in range(len(TASKS)):
        affine = ssf_of(trunk, t)
        tokens = patch_embedding(array(normalised), plain, affine)
        prefix = np.broadcast_to(array(plain.cls_token), (len(images), 1, plain.embed_dim))
        x = np.concatenate([prefix, tokens], 1) + array(plain.pos_embed)
        for number in range(2):
            x = vit_block(x, plain.blocks[number], f"blocks.{number}", affine)
        np.testing.assert_allclose(ours[t], x, rtol=0, atol=1e-10)
        outputs.append(x)
    assert np.abs(outputs[0] - outputs[1]).max() > 1e-2


def test_ssf_of_patch_merging_is_its_equations() -> None:
    """Swin's patch merging: both its norm and its reduction, which has no bias, are scaled and shifted."""
    method, plain = built(SSF, "swin").double(), tiny_backbone("swin").double().trunk
    tokens = torch.randn(len(TASKS) * 2, 4, 6, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    path = "layers.1.downsample"
    with torch.no_grad():
        ours = array(method.backbone.enter_stage(tokens, 1)).reshape(len(TASKS), 2, 2, 3, 32)
    x = array(tokens).reshape(len(TASKS), 2, 4, 6, 16)
    corners = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
    merged = np.concatenate(corners, -1)
    merging = plain.layers[1].downsample
    for t in range(len(TASKS)):
        affine = ssf_of(method.backbone.trunk, t)
        normed = affine(f"{path}.norm", layer_norm(merged[t], merging.norm))
        expected = affine(f"{path}.reduction", linear(normed, merging.reduction))
        np.testing.assert_allclose(ours[t], expected, rtol=0, atol=1e-10)
        assert np.abs(ours[t] - linear(layer_norm(merged[t], merging.norm), merging.reduction)).max() > 1e-2


def test_ssf_starts_around_one_and_zero_with_draws_of_its_own_per_task() -> None:
    method = Subject(SSF, SSF.Config(name="ssf"), "swin").build().method
    layers = [layer for layer in method.modules() if isinstance(layer, PerTaskScaleShift)]
    for t in range(len(TASKS)):
        gamma, beta = (torch.cat([getattr(layer, name)[t] for layer in layers]) for name in ("gamma", "beta"))
        assert abs(gamma.mean().item() - 1) < 2e-3
        assert abs(beta.mean().item()) < 2e-3
        assert 0.019 < gamma.std().item() < 0.021
        assert 0.019 < beta.std().item() < 0.021
    assert all(not torch.equal(layer.gamma[0], layer.gamma[1]) for layer in layers)


def with_biases_of(method: Method, t: int) -> Backbone:
    """Return a plain backbone into which the differences of task number ``t`` were written, name by name."""
    plain = tiny_backbone(method.backbone.family)
    with torch.no_grad():
        for path, layer in method.backbone.trunk.named_modules():
            if isinstance(layer, PerTaskShift):
                plain.trunk.get_submodule(path.replace("attn.attention", "attn")).bias.add_(layer.beta[t])
            if isinstance(layer, PerTaskTable):
                attention = plain.trunk.get_submodule(path.removesuffix(".tables"))
                attention.relative_position_bias_table.add_(layer.delta[t])
    return plain


@pytest.mark.parametrize(("method", "family"), [(BitFit, "swin"), (BitFit, "vit"), (RelativeBias, "swin")])
def test_rows_of_biases_equal_one_trunk_per_task_that_holds_them(method: type[Method], family: str) -> None:
    adapted = built(method, family)
    images = Subject(method, adapted.config, family).images(3)
    with torch.no_grad():
        features = adapted(images)
        for t, task in enumerate(TASKS):
            alone = with_biases_of(adapted, t)(images)
            other = with_biases_of(adapted, (t + 1) % len(TASKS))(images)
            for ours, theirs in zip(features.for_task(task), alone, strict=True):
                torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
            assert max((a - b).abs().max() for a, b in zip(features.for_task(task), other, strict=True)) > 1e-3


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_shared_bitfit_trains_the_biases_of_a_fresh_trunk_and_nothing_else(family: str) -> None:
    method = built(BitFit, family, scope="shared")
    plain = tiny_backbone(family).trunk
    ends = ("bias", "bias_table")
    assert {name for name, parameter in method.backbone.trunk.named_parameters() if parameter.requires_grad} == {
        name for name, _ in plain.named_parameters() if name.endswith(ends)
    }


@pytest.mark.parametrize("family", ["swin", "vit"])
def test_the_softmax_cancels_the_keys_bias_and_no_other(family: str) -> None:
    method = built(BitFit, family).double()
    images = Subject(BitFit, method.config, family).images().double()
    layers = [layer for path, layer in method.backbone.trunk.named_modules() if path.endswith(".qkv")]
    moved: list[float] = []
    with torch.no_grad():
        before = method(images).for_task(TASKS[0])
        for third in range(3):
            for layer in layers:
                assert isinstance(layer, PerTaskShift)
                layer.beta.unflatten(1, (3, -1))[:, third] += 1.0
            after = method(images).for_task(TASKS[0])
            moved.append(max((a - b).abs().max().item() for a, b in zip(before, after, strict=True)))
            before = after
    assert moved[1] < 1e-12
    assert min(moved[0], moved[2]) > 1e-6


def test_biases_fork_at_the_patch_embedding_and_tables_at_the_first_block() -> None:
    assert [built(method, "swin").fork_at for method in (BitFit, SSF, RelativeBias)] == [-1, -1, 0]
    assert built(BitFit, "vit").fork_at == -1


def test_relative_bias_is_refused_on_a_plain_vit() -> None:
    with pytest.raises(
        UsageError, match="'relative-bias' needs relative-position tables, which this network of the family vit"
    ):
        Subject(RelativeBias, RelativeBias.Config(name="relative-bias"), "vit").build()


class Rows(nn.Module):
    def __init__(self, rows: torch.Tensor) -> None:
        super().__init__()
        self.rows = rows

    def forward(self) -> torch.Tensor:
        return self.rows


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("num_rows", [1, 3])
def test_attention_with_tables_per_task_equals_timms_with_each_table(num_rows: int, shifted: bool, fused: bool) -> None:
    """Two heads, several images and windows, with and without the mask of shifted windows, for both of timm's paths."""
    backbone = tiny_backbone("swin").double()
    block: Any = backbone.trunk.layers[1].blocks[1]
    attention, mask = block.attn, block.attn_mask if shifted else None
    assert block.attn_mask.unique().numel() == 2
    random = torch.Generator().manual_seed(0)
    rows = torch.randn(num_rows, *attention.relative_position_bias_table.shape, dtype=torch.float64, generator=random)
    windows = torch.randn(3, 2 * len(block.attn_mask), 16, 32, dtype=torch.float64, generator=random)  # 3 x 2 images
    with torch.no_grad():
        ours = backbone.position_attention(attention, Rows(rows))(windows.flatten(0, 1), mask).view_as(windows)
        table = attention.relative_position_bias_table.clone()
        attention.fused_attn = fused
        for t in range(3):
            plain = attention(windows[t], mask)
            attention.relative_position_bias_table.copy_(table + rows[t % num_rows])
            torch.testing.assert_close(ours[t], attention(windows[t], mask), rtol=0, atol=1e-10)
            assert (ours[t] - plain).abs().max() > 1e-3
            attention.relative_position_bias_table.copy_(table)
