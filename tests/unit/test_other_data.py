"""`cityscapes2` and `hypersim` on small trees in the real formats, and the tasks that came with them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trees import classes_of, picture_of, write_cityscapes, write_hypersim

from petl_bench.audit.check import audit
from petl_bench.data.cityscapes2 import Cityscapes2
from petl_bench.data.geometry import Sampling, View, mirror, rotation, warp
from petl_bench.data.hypersim import Hypersim
from petl_bench.data.on_disk import FileConfig
from petl_bench.errors import UsageError
from petl_bench.tasks.albedo import Albedo
from petl_bench.tasks.disparity import Disparity


def config(name: str) -> FileConfig:
    return FileConfig(name=name, image_size=32, train_images=99, test_images=99)


def test_cityscapes_in_the_packaging_of_libmtl(tmp_path: Path) -> None:
    root = write_cityscapes(tmp_path, train=11)
    dataset = Cityscapes2(config("cityscapes2"), "train", ("semseg", "disparity"), root=root)
    assert dataset.ids[:3] == ("train/0", "train/1", "train/2")
    assert dataset.ids[-1] == "train/10"  # after 9, not after 1
    sample = dataset.native(1)
    assert (sample.image == picture_of(1, (16, 32))).all()
    raw = classes_of(1, (16, 32))
    assert (sample.labels["semseg"] == np.where(raw == 3, 255, raw)).all()
    assert (sample.labels["disparity"][:4] == 0).all()
    assert (sample.labels["disparity"][4:] == 0.25).all()
    assert dataset.batch([0, 1]).images.shape == (2, 3, 32, 32)
    with pytest.raises(UsageError, match="has no images"):
        Cityscapes2.look(tmp_path / "train")


def test_what_looks_larger_is_nearer() -> None:
    ones = torch.ones(8, 8)
    view = View(torch.zeros(3, 8, 8), {"a": ones, "b": ones}, {"a": "disparity", "b": "depth"})
    seen = warp(view, rotation(0, 2.0, (3.5, 3.5), (3.5, 3.5)), (8, 8), Sampling())
    assert (seen.labels["a"] == 2).all()
    assert (seen.labels["b"] == 0.5).all()


def test_hypersim_is_read_frame_by_frame(tmp_path: Path) -> None:
    root = write_hypersim(tmp_path)
    dataset = Hypersim(config("hypersim"), "train", tuple(Hypersim.tasks), root=root)
    assert dataset.ids == ("ai_001_001/cam_00/0000", "ai_001_001/cam_00/0007")
    assert Hypersim(config("hypersim"), "test", ("depth",), root=root).ids == ("ai_001_002/cam_00/0003",)
    labels = dataset.native(1).labels
    raw = classes_of(7, (24, 32)).astype(int)
    assert (labels["semseg"] == np.where(raw == 0, 255, raw - 1)).all()
    assert (labels["normals"][:, :8] == 0).all()
    np.testing.assert_allclose(labels["normals"][:, 8:], np.broadcast_to((0.6, 0, 0.8), (24, 24, 3)), atol=1e-3)
    assert (labels["albedo"][0] == 0).all()
    assert (labels["albedo"][1:] == 0.5).all()
    assert audit("hypersim", root).wrong == []


def test_lengths_of_rays_become_distances_to_the_plane_of_the_camera(tmp_path: Path) -> None:
    """A sphere of radius 4 around the camera: straight ahead 4 m, at the middle of the left frame 4 cos 30 degrees."""
    depth = Hypersim(config("hypersim"), "train", ("depth",), root=write_hypersim(tmp_path)).native(0).labels["depth"]
    assert depth[12, 16] == pytest.approx(4.0, abs=0.01)
    focal = 16 / np.tan(np.pi / 6)
    assert depth[12, 0] == pytest.approx(4 / np.sqrt(1 + (15.5**2 + 0.5**2) / focal**2), rel=1e-5)
    assert depth[12, 0] == pytest.approx(4 * np.cos(np.pi / 6), abs=0.04)
    assert depth[0, 0] < depth[12, 0]


def test_a_list_that_lacks_a_column_is_said(tmp_path: Path) -> None:
    root = write_hypersim(tmp_path)
    path = root / "metadata_images_split_scene_v1.csv"
    path.write_text(path.read_text().replace("frame_id", "frame"))
    with pytest.raises(UsageError, match="no column frame_id"):
        Hypersim.look(root)


def test_albedo_is_moved_but_not_turned() -> None:
    colours = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(0))
    view = View(torch.zeros(3, 6, 6), {"albedo": colours}, {"albedo": "albedo"})
    assert torch.equal(mirror(view).labels["albedo"], colours.flip(-1))
    turned = warp(view, rotation(90, 1.0, (2.5, 2.5), (2.5, 2.5)), (6, 6), Sampling()).labels["albedo"]
    assert torch.equal(turned, torch.rot90(colours, dims=(1, 2)))


def test_metrics_of_albedo_and_disparity_by_hand() -> None:
    label = torch.full((1, 3, 2, 2), 0.5)
    label[0, :, 0, 0] = 0  # no truth
    prediction = torch.full((1, 3, 2, 2), 0.5)
    prediction[0, 0, 1, 1] = 0.8
    metric = Albedo(3).metric()
    metric.update(prediction, label)
    assert metric.compute() == pytest.approx({"mean_absolute_error": 0.3 / 9, "rmse": (0.09 / 9) ** 0.5}, rel=1e-6)
    assert float(Albedo(3).loss(prediction, label)) == pytest.approx(0.3 / 9, rel=1e-6)
    assert float(Albedo(3).loss(prediction, torch.zeros_like(label))) == 0

    truth = torch.tensor([[[0.5, 0.25], [0.0, 1.0]]])
    metric = Disparity(1).metric()
    metric.update(torch.tensor([[[[0.4, 0.5], [9.0, 1.0]]]]), truth)
    values = metric.compute()
    assert values["absolute_error"] == pytest.approx((0.1 + 0.25) / 3, rel=1e-6)
    assert values["relative_error"] == pytest.approx((0.2 + 1.0) / 3, rel=1e-6)
