"""A file of weights holds exactly the network; its images are normalised as its weights want; a path is no identity."""

import json
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.data import constants

from petl_bench import plan, plugins
from petl_bench.backbones.build import build_backbone, weights_hash, wrap_backbone
from petl_bench.backbones.names import find_backbone
from petl_bench.errors import UsageError

VIT = "vit_base_patch16_224"


def saved(path: Path, state: dict[str, torch.Tensor]) -> str:
    path.parent.mkdir(exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in state.items()}, path)
    return f"file:{path}"


def embedded(**settings: object):
    return build_backbone("embedded", **{"weights": "random", "image_size": 64, "seed": 0} | settings)


def small_vit(depth: int) -> torch.nn.Module:
    return timm.create_model("vit_tiny_patch16_224", img_size=32, depth=depth, embed_dim=32, num_heads=2)


def normalised(backbone) -> tuple[list[float], list[float]]:
    return backbone.mean.flatten().tolist(), backbone.std.flatten().tolist()


def test_the_file_of_a_deeper_network_is_refused(tmp_path) -> None:
    state = embedded().trunk.state_dict()
    block = "layers.2.blocks.5."
    deeper = {name.replace(block, "layers.2.blocks.6."): tensor for name, tensor in state.items() if block in name}
    weights = saved(tmp_path / "deeper.safetensors", state | {k: v.clone() for k, v in deeper.items()})
    with pytest.raises(UsageError, match=rf"{len(deeper)} tensors more than the network, first 'layers\.2\.blocks\.6"):
        embedded(weights=weights)


def test_the_file_of_swin_s_does_not_pass_for_swin_t(tmp_path) -> None:
    small = timm.create_model("swin_small_patch4_window7_224", img_size=56)
    weights = saved(tmp_path / "swin_s.safetensors", small.state_dict())
    with pytest.raises(UsageError, match="of a larger or another one"):
        build_backbone("swin_tiny_patch4_window7_224", weights=weights, image_size=56, seed=0)


def test_head_and_final_norm_may_be_in_the_file_and_so_may_buffers_that_are_computed(tmp_path) -> None:
    whole = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5)
    weights = saved(tmp_path / "vit.safetensors", whole.state_dict())
    assert {"head.weight", "norm.weight"} <= whole.state_dict().keys()
    backbone = build_backbone("vit_tiny_patch16_224", weights=weights, image_size=32, seed=0)
    torch.testing.assert_close(backbone.trunk.blocks[0].mlp.fc1.weight, whole.blocks[0].mlp.fc1.weight)
    trunk = embedded().trunk
    buffers = {name: buffer.clone() for name, buffer in trunk.named_buffers()}
    assert buffers.keys() - trunk.state_dict().keys()
    embedded(weights=saved(tmp_path / "old.safetensors", trunk.state_dict() | buffers))


def test_one_file_has_one_hash_under_any_path(tmp_path) -> None:
    state = embedded().trunk.state_dict()
    one, two = (saved(tmp_path / name / f"{name}.safetensors", state) for name in ("a", "b"))
    other = saved(tmp_path / "other.safetensors", embedded(seed=1).trunk.state_dict())
    assert weights_hash("embedded", one, 64) == weights_hash("embedded", two, 64) != weights_hash("embedded", other, 64)


def test_a_file_without_a_tag_is_not_normalised_by_guess(tmp_path) -> None:
    path = tmp_path / "mae.safetensors"
    path.touch()
    with pytest.raises(UsageError, match="does not say how its images are normalised") as told:
        build_backbone(VIT, weights=f"file:{path}", image_size=32, seed=0)
    assert "backbone.normalisation=imagenet" in str(told.value)
    assert f"{VIT}.mae" in str(told.value)


def test_a_tag_says_how_images_are_normalised() -> None:
    imagenet = [list(constants.IMAGENET_DEFAULT_MEAN), list(constants.IMAGENET_DEFAULT_STD)]
    for name, (mean, std) in {f"{VIT}.mae": imagenet, VIT: [[0.5] * 3, [0.5] * 3]}.items():
        with torch.device("meta"):
            backbone = build_backbone(name, weights="random", image_size=32, seed=0)
        torch.testing.assert_close(backbone.mean.flatten(), torch.tensor(mean))
        torch.testing.assert_close(backbone.std.flatten(), torch.tensor(std))
    assert weights_hash(f"{VIT}.mae", "pretrained", 224) == f"timm:{VIT}:mae" != weights_hash(VIT, "pretrained", 224)


def test_an_unknown_tag_is_answered_with_the_nearest() -> None:
    with pytest.raises(UsageError, match=rf"Did you mean '{VIT}\.mae'"):
        build_backbone(f"{VIT}.mea", weights="random", image_size=32, seed=0)


def test_normalisation_is_a_setting() -> None:
    def asked(value: object):
        settings = {"method": {"name": "decoders"}, "backbone": {"normalisation": value}}
        return plan.plan(settings, plugins.vocabulary).backbone.normalisation

    assert normalised(embedded(normalisation=asked("half"))) == ([0.5] * 3, [0.5] * 3)
    numbers = {"mean": [0.25, 0.5, 0.75], "std": [0.5, 0.25, 0.125]}
    assert normalised(embedded(normalisation=asked(numbers))) == (numbers["mean"], numbers["std"])
    assert normalised(embedded()) == ([0.5] * 3, [0.25] * 3)
    with pytest.raises(UsageError, match=r"backbone\.normalisation"):
        asked("imagnet")
    with pytest.raises(UsageError, match="Did you mean 'imagenet'"):
        embedded(normalisation="imagnet")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A model of the hub's in the local cache, and no network."""
    commit, folder = "0123456789abcdef0123456789abcdef01234567", tmp_path / "models--somebody--small"
    snapshot = folder / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(commit)
    model = small_vit(depth=4)
    statistics = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 0,
        "pretrained_cfg": statistics | {"input_size": [3, 32, 32], "num_classes": 0},
        "model_args": {"depth": 4, "embed_dim": 32, "num_heads": 2},
    }
    (snapshot / "config.json").write_text(json.dumps(config))
    state = {k: v for k, v in model.state_dict().items() if not k.startswith("head")}
    save_file(state, snapshot / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_OFFLINE", True)
    return "hf-hub:somebody/small", model, commit


def test_a_model_of_the_hub_is_a_backbone_by_name(hub) -> None:
    name, model, commit = hub
    assert find_backbone(name).family == "vit"
    backbone = build_backbone(name, weights="pretrained", image_size=32, seed=0)
    torch.testing.assert_close(backbone.trunk.blocks[3].mlp.fc1.weight, model.blocks[3].mlp.fc1.weight)
    torch.testing.assert_close(backbone.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    assert weights_hash(name, "pretrained", 32) == f"{name}@{commit}"


def test_a_model_of_the_hub_that_cannot_be_had_says_what_to_type(hub) -> None:
    with pytest.raises(UsageError, match="Without a network, type"):
        find_backbone("hf-hub:somebody/else")


def test_a_network_that_is_there_already_is_copied_not_changed() -> None:
    model = timm.create_model("vit_tiny_patch16_224", img_size=32, num_classes=5)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    backbone = wrap_backbone(model)
    assert normalised(backbone) == ([0.5] * 3, [0.5] * 3)
    with torch.no_grad():
        next(backbone.parameters()).zero_()
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert before.keys() == model.state_dict().keys()
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with pytest.raises(UsageError, match="no backbone"):
        wrap_backbone(timm.create_model("test_efficientnet"))
