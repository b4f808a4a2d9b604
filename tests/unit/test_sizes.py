"""Images that are not square, from the setting to the table: shapes, counts, costs, and a run at 32 x 64 pixels."""

from pathlib import Path

import pytest
import timm
import torch
from conftest import resolved
from trees import write_folder

import petl_bench
from petl_bench.backbones.build import build_backbone, wrap_backbone
from petl_bench.cli.main import main
from petl_bench.config import DatasetConfig, height_and_width, in_words, validate_section
from petl_bench.engine.run import run
from petl_bench.errors import UsageError
from petl_bench.identity import content_of
from petl_bench.measure.cost.flops import forward_work
from petl_bench.measure.count.meta import build_on_meta
from petl_bench.records.store import Store

SWIN, VIT = "swin_tiny_patch4_window7_224", "vit_small_patch16_224"
FAMILIES = (
    *(SWIN, VIT, "swinv2_tiny_window8_256", "vit_small_patch16_dinov3.lvd1689m", "pvt_v2_b0", "davit_tiny"),
    *("convnext_atto", "resnet18"),
)


def dataset(size: object) -> DatasetConfig:
    values = {"name": "folder", "image_size": size, "train_images": 9, "test_images": 9}
    return validate_section(DatasetConfig, values, "dataset")


def test_a_size_is_one_number_or_height_and_width() -> None:
    assert dataset(448).size == (448, 448)
    assert dataset([448, 576]).size == (448, 576)
    assert in_words(dataset([448, 576]).image_size) == "448 x 576"
    assert in_words(448) == "448"
    assert height_and_width([3, 4]) == (3, 4)


def test_a_square_is_the_same_run_however_its_size_was_written() -> None:
    def hashed(size: object) -> dict:
        config = resolved("decoders", dataset={"image_size": size}).model_dump(mode="json", exclude={"runtime"})
        return content_of(config, weights_hash="random", data_hash="scenes/1", engine_version=2)

    assert hashed([64, 64]) == hashed(64)
    assert hashed(64)["dataset.image_size"] == 64
    assert hashed([64, 96])["dataset.image_size"] == [64, 96] != hashed([96, 64])["dataset.image_size"]


@pytest.mark.parametrize("wrong", [0, -5, "64x96", [64], [1, 2, 3], [64, 0], 64.0, True, None, {"height": 3}])
def test_what_is_no_size_is_answered_with_both_forms(wrong: object) -> None:
    if wrong == [64]:
        assert dataset(wrong).image_size == 64
        return
    with pytest.raises(UsageError, match=r"dataset\.image_size: .* is no size in pixels: 448 .*\[448, 576\]"):
        dataset(wrong)


@pytest.mark.parametrize("size", [(448, 576), (480, 640)])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_takes_the_sizes_of_indoor_pictures(name: str, size: tuple[int, int]) -> None:
    with torch.device("meta"):
        backbone = build_backbone(name, weights="random", image_size=size, seed=0).to("meta")
        levels = backbone(torch.empty(1, 3, *size))
    for stage, level in zip(backbone.stages, levels, strict=True):
        assert level.shape == (1, stage.channels, size[0] // stage.stride, size[1] // stage.stride)


def test_only_positions_count_more_in_a_larger_image() -> None:
    def counted(name: str, size: object) -> int:
        with torch.device("meta"):
            return build_backbone(name, weights="random", image_size=size, seed=0).num_parameters

    for size in ((448, 576), (480, 640)):
        assert counted(SWIN, size) == 27_517_818  # its windows are as large as at 224
        patches = (size[0] // 16) * (size[1] // 16)
        assert counted(VIT, size) - counted(VIT, 224) == 384 * (patches - 14 * 14)


def test_a_size_that_does_not_fit_is_answered_with_ones_that_do() -> None:
    with pytest.raises(UsageError, match="448 x 572 pixels do not fit") as told:
        build_backbone(VIT, weights="random", image_size=(448, 572), seed=0)
    assert "fit: 448 x 560, 448 x 576;" in str(told.value)
    assert str(told.value).endswith("--set dataset.image_size=[448,576]")
    with pytest.raises(UsageError, match=r"fit: 32 x 64, 64 x 96;"):
        build_backbone("resnet18", weights="random", image_size=(33, 90), seed=0)


SMALL = {
    "swin": (SWIN, {"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 1, 2, 2), "window_size": 4}),
    "vit": ("vit_tiny_patch16_224", {"embed_dim": 32, "depth": 4, "num_heads": 2}),
}


@pytest.mark.parametrize("family", SMALL)
def test_maps_of_a_wide_image_are_timms(family: str) -> None:
    name, arguments = SMALL[family]
    size = {"swin": (64, 96), "vit": (32, 64)}[family]  # windows of 4 do not tile 4 x 6 patches
    model = timm.create_model(name, img_size=size, **arguments).eval()
    backbone = wrap_backbone(model).eval()
    image = torch.rand(2, 3, *size)
    with torch.inference_mode():
        normalised = (image - backbone.mean) / backbone.std
        theirs = model.forward_intermediates(normalised, indices=4, intermediates_only=True)
        ours = backbone(image)
        if family == "swin":
            for one, other in zip(ours, theirs, strict=True):
                torch.testing.assert_close(one, other)
        else:  # the third level has the stride of the patches, and the fourth is pooled by two
            torch.testing.assert_close(ours[2], theirs[2])
            torch.testing.assert_close(ours[3], torch.nn.functional.avg_pool2d(theirs[3], 2))


@pytest.mark.parametrize("method", ["decoders", "vmt"])
@pytest.mark.parametrize(("name", "size"), [(SWIN, [224, 448]), (VIT, [224, 320])])
def test_closed_forms_of_costs_hold_for_wide_images(method: str, name: str, size: list[int]) -> None:
    asked = {"backbone": {"name": name}, "method": {"name": method}, "dataset": {"image_size": size}, "tasks": 4}
    built = build_on_meta(asked).model.to("meta").method.eval()
    with torch.device("meta"):
        geometry = build_backbone(name, weights="random", image_size=(size[0], size[1]), seed=0).geometry()
    assert geometry is not None
    assert built.expected_macs(geometry) == forward_work(built, torch.empty(1, 3, *size, device="meta")).macs


@pytest.mark.parametrize(
    ("backbone", "method", "eval_at"),
    [("embedded", "vmt", "native"), ("vit_tiny_patch16_224", "lora", "native"), ("embedded", "decoders", "input")],
)
def test_a_run_on_wide_images_from_files_to_a_table(backbone: str, method: str, eval_at: str, tmp_path: Path) -> None:
    settings = {"name": "folder", "image_size": [32, 64], "eval_at": eval_at}
    config = resolved(
        method,
        ("semseg", "depth"),
        backbone={"name": backbone},
        dataset=settings,
        train={"steps": 2, "batch_size": 2},
        runtime={"root": str(write_folder(tmp_path / "data"))},
    )
    outcome = run(config, Store(tmp_path / "runs"))
    record = outcome.record
    assert record.status == "finished", record.error
    assert record.config["dataset"]["image_size"] == [32, 64]
    where = {"native": "native", "input": "32x64"}[eval_at]
    assert f"@{where}/" in record.metrics["semseg"].chosen.convention
    again = run(config, Store(tmp_path / "runs"))
    assert again.found
    model = petl_bench.load(outcome.folder / "trainable.safetensors").eval()
    assert model(torch.rand(1, 3, 32, 64))["semseg"].shape == (1, 4, 32, 64)
    with pytest.raises(SystemExit):
        main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "report")])
    assert "32 x 64" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


def test_scenes_say_that_they_are_square(tmp_path: Path) -> None:
    config = resolved("decoders", dataset={"image_size": [32, 64]})
    with pytest.raises(UsageError, match=r"32 x 64: scenes are drawn as squares\.\nType: --set dataset\.image_size=64"):
        run(config, Store(tmp_path))
