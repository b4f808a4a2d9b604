"""The walk through a trunk equals timm's own forward, and the committed names equal timm's."""

import pytest
import timm
import torch
from safetensors.torch import save_file

from petl_bench.backbones.build import build_backbone, weights_hash
from petl_bench.backbones.names import backbone_names
from petl_bench.backbones.vit import STRIDES
from petl_bench.errors import UsageError
from petl_bench.testing import tiny_backbone


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
    assert len(weights_hash("embedded", f"file:{path}")) == 64


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


# timm models of the same files that are not plain: other classes, other blocks, or no absolute positions.
NOT_PLAIN = ("distilled", "_18x2_", "_rpn_", "_xp_", "vit_dpwee", "vit_pwee")


def test_committed_names_are_timms() -> None:
    modules = {"swin_transformer": "swin", "vision_transformer": "vit", "deit": "vit"}
    expected = {
        name: family
        for module, family in modules.items()
        for name in timm.list_models(module=module)
        if not any(part in name for part in NOT_PLAIN)
    }
    known = {name: entry for name, entry in backbone_names().items() if name != "embedded"}
    assert {name: entry.family for name, entry in known.items()} == expected
    for name, entry in known.items():
        config = timm.get_pretrained_cfg(name)
        assert config is not None
        assert config.input_size[1] == entry.image_size, name
