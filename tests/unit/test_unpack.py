"""Parquet files in the hub's layout become a `folder`."""

from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from trees import classes_of, picture_of

from petl_bench.audit.check import audit
from petl_bench.audit.unpack import unpack
from petl_bench.data.folder import Folder
from petl_bench.errors import UsageError

SIZE = (12, 16)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PETL_BENCH_CACHE", str(tmp_path / "cache"))


def write_parquet(folder: Path, *, as_arrays: bool) -> Path:
    """Write two rows of train and one of val: arrays with channels first (as one NYU-v2 of the hub), or pictures."""
    (folder / "data").mkdir(parents=True)
    for split, numbers in (("train", (0, 1)), ("val", (2,))):
        normal = np.zeros((3, *SIZE), dtype=np.float32)
        normal[2] = 1
        columns = {
            "image": [
                picture_of(n, SIZE).transpose(2, 0, 1) / np.float32(255)
                if as_arrays
                else Image.fromarray(picture_of(n, SIZE))
                for n in numbers
            ],
            "segmentation": [np.where(classes_of(n, SIZE) == 3, -1, classes_of(n, SIZE).astype(int)) for n in numbers],
            "depth": [np.full((1, *SIZE), 1.5 + n, dtype=np.float32) for n in numbers],
            "normal": [normal for _ in numbers],
            "noise": [0 for _ in numbers],
        }
        features = datasets.Features(
            {
                "image": datasets.Array3D((3, *SIZE), "float32") if as_arrays else datasets.Image(),
                "segmentation": datasets.Array2D(SIZE, "int64"),
                "depth": datasets.Array3D((1, *SIZE), "float32"),
                "normal": datasets.Array3D((3, *SIZE), "float32"),
                "noise": datasets.Value("int64"),
            }
        )
        rows = datasets.Dataset.from_dict(columns, features=features)
        rows.to_parquet(folder / "data" / f"{split}-00000-of-00001.parquet")
    return folder


@pytest.mark.parametrize("as_arrays", [True, False])
def test_rows_become_files_that_are_read_as_they_were(as_arrays: bool, tmp_path: Path) -> None:
    source = write_parquet(tmp_path / "hub", as_arrays=as_arrays)
    before = sorted(path for path in source.rglob("*"))
    said = unpack(source, tmp_path / "mine")
    assert said == "segmentation as semseg, depth as depth, normal as normals"
    assert sorted(path for path in source.rglob("*")) == before  # nothing is written there
    assert {name: task.channels for name, task in Folder.tasks_in(tmp_path / "mine").items()} == {
        "semseg": 3,
        "depth": 1,
        "normals": 3,
    }
    config = Folder.Config(name="folder", image_size=32, train_images=9, test_images=9)
    sample = Folder(config, "train", ("semseg", "depth", "normals"), root=tmp_path / "mine").native(1)
    assert (sample.image == picture_of(1, SIZE)).all()
    assert (sample.labels["semseg"] == np.where(classes_of(1, SIZE) == 3, 255, classes_of(1, SIZE))).all()
    assert (sample.labels["depth"] == 2.5).all()
    assert (sample.labels["normals"] == (0, 0, 1)).all()
    assert audit("folder", tmp_path / "mine").wrong == []


def test_what_is_no_data_set_in_parquet_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no parquet files of train and test"):
        unpack(tmp_path, tmp_path / "mine")
    source = write_parquet(tmp_path / "hub", as_arrays=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("")
    with pytest.raises(UsageError, match="is not empty"):
        unpack(source, tmp_path / "mine")
