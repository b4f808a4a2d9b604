"""The walk through a trunk equals timm's own forward, and the committed names equal timm's."""

import re
from typing import cast

import pytest
import timm
import torch
from safetensors.torch import save_file

from petl_bench.backbones.build import build_backbone, weights_hash, wrap_backbone
from petl_bench.backbones.names import backbone_names
from petl_bench.backbones.transformer import TransformerBackbone
from petl_bench.backbones.vit import STRIDES, VitBackbone
from petl_bench.errors import UsageError
from petl_bench.testing import tiny_backbone
from petl_bench.testing.subject import IMAGE_SIZES, TINY


def built(name: str, size: int):
    return build_backbone(name, weights="random", image_size=size, seed=0).eval()


@pytest.mark.parametrize(("name", "size"), [("swin_tiny_patch4_window7_224", 64), ("embedded", 64), ("embedded", 48)])
def test_swin_pyramid_is_timms_intermediates(name: str, size: int) -> None:
    backbone, images = built(name, size), torch.rand(2, 3, size, size)
    normalised = (images - backbone.mean) / backbone.std
    expected = backbone.trunk.forward_intermediates(normalised, intermediates_only=True)
    for ours, theirs, stage in zip(backbone(images), expected, backbone.stages, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        assert ours.shape[1:] == (stage.channels, -(-size // stage.stride), -(-size // stage.stride))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "vit_base_patch32_224", "test_vit"])
def test_vit_taps_are_timms_intermediates_at_four_strides(name: str) -> None:
    backbone, images = built(name, 64), torch.rand(1, 3, 64, 64)
    depth = len(backbone.trunk.blocks)
    normalised = (images - backbone.mean) / backbone.std
    indices = [depth * k // 4 - 1 for k in (1, 2, 3, 4)]
    expected = backbone.trunk.forward_intermediates(normalised, indices=indices, intermediates_only=True)
    for level, theirs, stride in zip(backbone(images), expected, STRIDES, strict=True):
        assert level.shape[-2:] == (64 // stride, 64 // stride)
        if theirs.shape == level.shape:
            torch.testing.assert_close(level, theirs, rtol=0, atol=0)
        torch.testing.assert_close(level.mean((2, 3)), theirs.mean((2, 3)), rtol=0.2, atol=0.2)


def test_backbones_are_frozen_by_construction() -> None:
    assert not any(parameter.requires_grad for parameter in tiny_backbone("swin").parameters())


def test_swin_tiny_trunk_has_no_final_norm_or_head() -> None:
    assert built("swin_tiny_patch4_window7_224", 224).num_parameters == 27_517_818


def test_random_weights_belong_to_the_seed() -> None:
    one, two, other = (
        build_backbone("embedded", weights="random", image_size=64, seed=seed).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_weights_from_a_file(tmp_path) -> None:
    source = build_backbone("embedded", weights="random", image_size=64, seed=7)
    path = tmp_path / "weights.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in source.trunk.state_dict().items()}, path)
    loaded = build_backbone("embedded", weights=f"file:{path}", image_size=64, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(source.parameters(), loaded.parameters(), strict=True))
    assert len(weights_hash("embedded", f"file:{path}", 64)) == 64


def test_weights_that_do_not_fit_are_refused(tmp_path) -> None:
    path = tmp_path / "weights.safetensors"
    save_file({"patch_embed.proj.weight": torch.zeros(1)}, path)
    with pytest.raises(UsageError, match="does not fit"):
        build_backbone("embedded", weights=f"file:{path}", image_size=64, seed=0)
    path.write_bytes(b"not safetensors")
    with pytest.raises(UsageError, match="cannot be read"):
        build_backbone("embedded", weights=f"file:{path}", image_size=64, seed=0)
    with pytest.raises(UsageError, match="allowed are random, pretrained"):
        build_backbone("embedded", weights="imagenet", image_size=64, seed=0)


def test_weights_that_cannot_be_downloaded_say_what_to_type(monkeypatch) -> None:
    def no_network(*arguments: object, pretrained: bool, **settings: object) -> None:
        raise ConnectionError("no network")

    monkeypatch.setattr("timm.create_model", no_network)
    with pytest.raises(UsageError, match="no network") as told:
        build_backbone("vit_tiny_patch16_224", weights="pretrained", image_size=64, seed=0)
    assert "backbone.weights=random" in str(told.value)
    assert "image_size" not in str(told.value)


def test_an_image_size_that_does_not_fit_names_the_native_one() -> None:
    with pytest.raises(UsageError, match=r"sizes that fit: 96, 112; its native size is 224"):
        build_backbone("vit_tiny_patch16_224", weights="random", image_size=100, seed=0)


def test_embedded_weights_are_shipped_and_load() -> None:
    backbone = build_backbone("embedded", weights="pretrained", image_size=64, seed=0)
    assert all(bool(torch.isfinite(parameter).all()) for parameter in backbone.parameters())
    assert 2_000_000 < backbone.num_parameters < 5_000_000
    random = build_backbone("embedded", weights="random", image_size=64, seed=0)
    assert not torch.equal(next(backbone.parameters()), next(random.parameters()))


# timm's modules of every family, and the models in them that are of other classes, have other blocks or positions,
# or do not take images of their own native size.
MODULES = {
    "swin_transformer": "swin",
    "swin_transformer_v2": "swinv2",
    "vision_transformer": "vit",
    "deit": "vit",
    "eva": "eva",
    "pvt_v2": "pvtv2",
    "davit": "davit",
    "convnext": "convnext",
    "resnet": "resnet",
}
NOT_PLAIN = ("distilled", "_18x2_", "_rpn_", "_xp_", "vit_dpwee", "vit_pwee", "_rope_mixed_", "eva02_enormous")
NOT_PLAIN += ("so400m_patch14_siglip_384", "so400m_patch14_siglip_gap_384", "_gn", "resnet10t", "resnet14t")
PLAIN_RESNET = re.compile(r"(wide_)?resne[x]?t\d+[cdst]?(_\w+)?")


def test_committed_names_are_timms() -> None:
    expected = {
        name: family
        for module, family in MODULES.items()
        for name in timm.list_models(module=module)
        if not any(part in name for part in NOT_PLAIN) and (family != "resnet" or PLAIN_RESNET.fullmatch(name))
    }
    known = {name: entry for name, entry in backbone_names().items() if name != "embedded"}
    assert {name: entry.family for name, entry in known.items()} == expected
    for name, entry in known.items():
        config = timm.get_pretrained_cfg(name)
        assert config is not None
        assert config.input_size[1] == entry.image_size, name


@pytest.mark.parametrize("network", TINY)
def test_the_walk_of_every_family_is_timms_forward(network: str) -> None:
    backbone, size = tiny_backbone(network).eval(), IMAGE_SIZES[network]
    images = torch.rand(2, 3, size, size)
    normalised = (images - backbone.mean) / backbone.std
    last = [number for number, block in enumerate(backbone.blocks) if block.is_last_in_stage]
    flat = isinstance(backbone, VitBackbone)
    indices = last if flat else [1, 2, 3, 4] if network == "resnet" else [0, 1, 2, 3]
    expected = backbone.trunk.forward_intermediates(normalised, indices=indices, intermediates_only=True)
    streams = backbone.walk(images).streams
    ours = [s[:, backbone.trunk.num_prefix_tokens :].mT for s in streams] if flat else backbone(images)
    for level, theirs, stage in zip(ours, expected, backbone.stages, strict=True):
        torch.testing.assert_close(level.reshape(theirs.shape), theirs, rtol=1e-5, atol=1e-5)
        assert theirs.shape[1] == stage.channels
        if not flat:
            assert level.shape[2:] == (size // stage.stride, size // stage.stride)


HALVES = [n for n in TINY if not tiny_backbone(n).missing(["attention-halves"])]


@pytest.mark.parametrize("network", HALVES)
def test_two_halves_are_a_block(network: str) -> None:
    backbone = cast(TransformerBackbone, tiny_backbone(network).eval())
    size = IMAGE_SIZES[network]
    x = backbone.stem(torch.rand(2, 3, size, size))
    for block in backbone.blocks:
        x = backbone.enter_stage(x, block.stage) if block.index == 0 else x
        module = backbone.block_module(block)
        middle = backbone.attention_half(module, x)
        out = backbone.run(module, x)
        torch.testing.assert_close(middle + backbone.mlp_half(module, middle), out, rtol=1e-5, atol=1e-5)
        if not backbone.missing(["attention-values"]):
            values, _ = backbone.attend(module, backbone.attention_input(module, x))
            taken_apart = x + backbone.attention_branch(module, values)
            torch.testing.assert_close(taken_apart, middle, rtol=1e-5, atol=1e-5)
        assert isinstance(out, torch.Tensor)
        x = backbone.leave_stage(out, block.stage) if block.is_last_in_stage else out


def test_a_network_for_images_of_any_size_is_kept_to_the_one_it_was_created_for() -> None:
    network = timm.create_model("vit_small_patch16_dinov3", img_size=64, depth=4).eval()
    assert network.dynamic_img_size
    images = torch.rand(1, 3, 64, 64)
    backbone = wrap_backbone(network).eval()
    expected = network.forward_intermediates(
        (images - backbone.mean) / backbone.std, indices=4, intermediates_only=True
    )
    taken = [s[:, 5:].mT.reshape(e.shape) for s, e in zip(backbone.walk(images).streams, expected, strict=True)]
    torch.testing.assert_close(taken, expected)
    assert network.dynamic_img_size


def test_a_network_with_other_blocks_is_refused() -> None:
    with pytest.raises(UsageError, match="ParallelScalingBlock"):
        wrap_backbone(timm.create_model("vit_base_patch16_xp_224", img_size=32, depth=1))
