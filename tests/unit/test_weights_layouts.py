"""Layouts of weights that people have, under the names and shapes that their authors wrote: what timm makes of them."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import NamedTuple

import pytest
import timm
import torch
from conftest import resolved
from safetensors.torch import load_file, save_file

from petl_bench.backbones.build import build_backbone, weights_hash
from petl_bench.engine.run import run
from petl_bench.errors import UsageError
from petl_bench.records.store import Store

State = dict[str, torch.Tensor]
SWIN, VIT, MAE = "swin_tiny_patch4_window7_224", "vit_small_patch16_224", "vit_base_patch16_224.mae"
DINOV2, REGISTERS = "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2"


def saved(path: Path, state: State) -> str:
    save_file({name: tensor.clone().contiguous() for name, tensor in state.items()}, path)
    return f"file:{path}"


def with_heads(state: State) -> State:
    """As timm publishes a classifier."""
    return state


def without_head(state: State) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(("head.", "norm."))}


def of_a_trainer(state: State) -> State:
    """Lightning around a compiled network around one for several devices."""
    return {f"model._orig_mod.module.{name}": tensor for name, tensor in state.items()}


def of_a_segmenter(state: State) -> State:
    inside = {f"backbone.{name}": tensor for name, tensor in without_head(state).items()}
    return inside | {
        "decode_head.conv_seg.weight": torch.ones(21, 8, 1, 1),
        "auxiliary_head.conv_seg.bias": torch.ones(21),
    }


def official_swin(state: State) -> State:
    """microsoft/Swin-Transformer: patches are merged at the end of a stage; buffers are in the file."""

    def name_there(name: str) -> str:
        name = re.sub(r"layers\.(\d)\.downsample", lambda at: f"layers.{int(at[1]) - 1}.downsample", name)
        return name.replace("head.fc.", "head.")

    there = {name_there(name): tensor for name, tensor in state.items()}
    assert "layers.0.downsample.reduction.weight" in there
    assert "layers.3.downsample.reduction.weight" not in there
    for stage, depth in enumerate((2, 2, 6, 2)):
        for block in range(depth):
            place = f"layers.{stage}.blocks.{block}"
            there[f"{place}.attn.relative_position_index"] = torch.zeros(49, 49, dtype=torch.int64)
            if block % 2 and stage < 3:
                there[f"{place}.attn_mask"] = torch.zeros((56 // 2**stage // 7) ** 2, 49, 49)
    return there


def official_mae(state: State) -> State:
    """facebookresearch/mae with its decoder: 512 channels, 8 blocks."""
    there = without_head(state) | {"norm.weight": torch.ones(768), "norm.bias": torch.ones(768)}
    decoder = {
        "mask_token": (1, 1, 512),
        "decoder_pos_embed": (1, 197, 512),
        "decoder_embed.weight": (512, 768),
        "decoder_embed.bias": (512,),
        "decoder_norm.weight": (512,),
        "decoder_pred.weight": (768, 512),
        **{f"decoder_blocks.{number}.attn.qkv.weight": (1536, 512) for number in range(8)},
    }
    return there | {name: torch.ones(shape) for name, shape in decoder.items()}


def official_dino(state: State) -> State:
    """facebookresearch/dino: the teacher of a whole checkpoint, with its projection head."""
    inside = {f"module.backbone.{name}": tensor for name, tensor in state.items() if not name.startswith("head.")}
    head = {"mlp.0.weight": (2048, 384), "last_layer.weight_g": (65536, 1), "last_layer.weight_v": (65536, 4)}
    return inside | {f"module.head.{name}": torch.ones(shape) for name, shape in head.items()}


def official_dinov2(state: State) -> State:
    """facebookresearch/dinov2 without registers: 518 pixels in patches of 14."""
    assert state["pos_embed"].shape == (1, 1 + 37 * 37, 384)
    return state | {"mask_token": torch.ones(1, 384)}


def official_dinov2_with_registers(state: State) -> State:
    """There the class token has a position of its own; timm adds it to the token."""
    there = dict(state)
    own = torch.full((1, 1, 384), 0.25)
    there["register_tokens"] = there.pop("reg_token")
    there["cls_token"] = there["cls_token"] - own
    there["pos_embed"] = torch.cat([own, there["pos_embed"]], 1)
    return there | {"mask_token": torch.ones(1, 384)}


def official_convnext(state: State) -> State:
    """facebookresearch/ConvNeXt."""
    there: State = {}
    for name, tensor in state.items():
        name = re.sub(r"^stem\.", "downsample_layers.0.", name)
        name = re.sub(r"stages\.(\d)\.downsample\.", r"downsample_layers.\1.", name)
        name = re.sub(r"stages\.(\d)\.blocks\.(\d+)", r"stages.\1.\2", name)
        name = name.replace("conv_dw", "dwconv").replace("mlp.fc", "pwconv")
        name = name.replace("head.norm", "norm").replace("head.fc", "head")
        there[name] = tensor
    assert {"downsample_layers.3.1.weight", "stages.0.0.dwconv.weight", "stages.3.2.pwconv2.bias"} <= there.keys()
    return there


class Layout(NamedTuple):
    network: str
    size: int
    written: Callable[[State], State]
    said: tuple[str, ...] = ()


LAYOUTS = [
    Layout(SWIN, 224, with_heads),
    Layout(VIT, 224, without_head),
    Layout(VIT, 112, with_heads, ("pos_embed from 1x197x384 to 1x50x384",)),
    Layout(SWIN, 56, with_heads, ("8 tensors were resized by timm", "from 169x12 to 49x12")),
    Layout(VIT, 224, of_a_trainer, ("'model._orig_mod.module.' was taken off",)),
    Layout(SWIN, 224, of_a_segmenter, ("'backbone.' was taken off",)),
    Layout(SWIN, 224, official_swin, ("9 tensors have other names in timm, such as layers.0.downsample.",)),
    Layout(MAE, 224, official_mae),
    Layout(VIT, 224, official_dino, ("'module.backbone.' was taken off",)),
    Layout(DINOV2, 112, official_dinov2, ("from 1x1370x384 to 1x65x384",)),
    Layout(REGISTERS, 112, official_dinov2_with_registers, ("from 1x1370x384 to 1x64x384", "such as register_tokens")),
    Layout("convnext_tiny", 64, official_convnext, ("such as downsample_layers.0.0.",)),
]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: f"{layout.written.__name__}-{layout.size}")
def test_a_layout_gives_what_timm_gives_for_it(layout: Layout, tmp_path: Path) -> None:
    with torch.device("meta"):
        published = timm.create_model(layout.network)
    random = torch.Generator().manual_seed(0)
    state = {
        name: torch.empty(tensor.shape).uniform_(-0.1, 0.1, generator=random)
        for name, tensor in published.state_dict().items()
    }
    weights = saved(tmp_path / "theirs.safetensors", layout.written(state))
    in_timm = saved(tmp_path / "timm.safetensors", state)
    backbone = build_backbone(
        layout.network, weights=weights, image_size=layout.size, seed=0, normalisation="half"
    ).eval()
    family = type(backbone)
    plain = timm.create_model(
        layout.network,
        pretrained=True,
        pretrained_cfg_overlay={"file": in_timm.removeprefix("file:")},
        **({"img_size": layout.size} if family.takes_image_size else {}),
    ).eval()
    image = torch.rand(1, 3, layout.size, layout.size)
    with torch.inference_mode():
        for got, expected in zip(backbone(image), family(plain, (0.5,) * 3, (0.5,) * 3)(image), strict=True):
            torch.testing.assert_close(got, expected)
    told = " / ".join(backbone.mappings)
    assert all(words in told for words in layout.said), told
    assert len(backbone.mappings) == len({line.partition(" such as")[0] for line in backbone.mappings})
    assert bool(backbone.mappings) == bool(layout.said), told


def test_the_tensors_that_are_loaded_identify_weights_whatever_the_file_holds_beside_them(tmp_path: Path) -> None:
    state = {name: tensor.half().float() for name, tensor in timm.create_model(SWIN).state_dict().items()}
    layouts = {
        "whole": state,
        "bare": without_head(state),
        "official": official_swin(state),
        "half": {name: tensor.half() for name, tensor in state.items()},
    }
    files = {name: saved(tmp_path / f"{name}.safetensors", content) for name, content in layouts.items()}
    hashes = {name: weights_hash(SWIN, weights, 224) for name, weights in files.items()}
    assert len(set(hashes.values())) == 1, hashes
    other = state | {"layers.3.blocks.1.mlp.fc2.bias": state["layers.3.blocks.1.mlp.fc2.bias"] + 1e-6}
    assert weights_hash(SWIN, saved(tmp_path / "other.safetensors", other), 224) != hashes["whole"]
    assert weights_hash(SWIN, files["whole"], 56) != hashes["whole"]  # other tables are loaded there


def test_a_run_says_what_was_done_to_its_weights(tmp_path: Path) -> None:
    trunk = build_backbone("embedded", weights="random", image_size=32, seed=0).trunk
    weights = saved(tmp_path / "mine.safetensors", of_a_trainer(trunk.state_dict()))
    config = resolved("decoders", ["saliency"], backbone={"weights": weights}, train={"steps": 1, "batch_size": 2})
    said: list[str] = []
    run(config, Store(tmp_path / "runs"), say=said.append)
    assert said == ["mine.safetensors: 'model._orig_mod.module.' was taken off the names"]


def test_names_of_transformers_are_refused_with_where_to_find_the_same_network(tmp_path: Path) -> None:
    names = {
        "vit.embeddings.cls_token": (1, 1, 384),
        "vit.encoder.layer.0.attention.attention.query.weight": (384, 384),
    }
    weights = saved(tmp_path / "hf.safetensors", {name: torch.ones(shape) for name, shape in names.items()})
    with pytest.raises(UsageError, match="names are those of the library transformers") as told:
        build_backbone(VIT, weights=weights, image_size=32, seed=0, normalisation="half")
    assert "petl-bench list backbones" in str(told.value)


def test_two_networks_in_one_file_are_refused(tmp_path: Path) -> None:
    state = without_head(timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict())
    weights = saved(tmp_path / "two.safetensors", state | {f"module.{name}": tensor for name, tensor in state.items()})
    with pytest.raises(UsageError, match=r"holds two networks: '\S+' and 'module\."):
        build_backbone("vit_tiny_patch16_224", weights=weights, image_size=32, seed=0)


def test_a_pickle_is_refused_with_a_command_that_converts_it_without_running_it(tmp_path: Path, monkeypatch) -> None:
    state = timm.create_model("vit_tiny_patch16_224", img_size=32).state_dict()
    path = tmp_path / "theirs.pth"
    torch.save({"model": state, "epoch": 300}, path)

    def refusal(of: Path) -> str:
        with pytest.raises(UsageError, match="is a pickle, which can run code") as told:
            build_backbone("vit_tiny_patch16_224", weights=f"file:{of}", image_size=32, seed=0)
        return str(told.value).rpartition("Type: ")[2]

    run_python(refusal(path), monkeypatch)
    converted = load_file(path.with_suffix(".safetensors"))
    assert converted.keys() == state.keys()
    build_backbone("vit_tiny_patch16_224", weights=f"file:{path.with_suffix('.safetensors')}", image_size=32, seed=0)

    evil = tmp_path / "evil.pth"
    torch.save(Evil(tmp_path / "ran"), evil)
    with pytest.raises(UnpicklingError):
        run_python(refusal(evil), monkeypatch)
    assert not (tmp_path / "ran").exists()


def run_python(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run ``python -c CODE ARGUMENTS`` in this process."""
    python, option, code, *arguments = shlex.split(command)
    assert (python, option) == ("python", "-c")
    monkeypatch.setattr("sys.argv", [option, *arguments])
    exec(code, {})


class Evil:
    """Its pickle makes a folder when it is read without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        import os

        return os.mkdir, (str(self.path),)
