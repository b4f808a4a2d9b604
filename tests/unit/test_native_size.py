"""Predictions scored at the native size of each image: padding is cut away, what was resized is resized back."""

from pathlib import Path

import numpy as np
import pytest
import torch
from trees import COLUMNS, ROWS, classes_of, picture_of, write_folder, write_jpg, write_png

from petl_bench.config import DatasetConfig
from petl_bench.data.folder import Folder
from petl_bench.tasks.semseg import SemanticSegmentation


def opened(root: Path, **changes: object) -> Folder:
    config: DatasetConfig = Folder.Config(name="folder", image_size=64, train_images=99, test_images=99)
    return Folder(config.model_copy(update=changes), "test", ("semseg", "depth"), root=root)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Six images, one of the tested ones of another size."""
    root = write_folder(tmp_path)
    write_jpg(root / "images" / "p004.jpg", picture_of(4, (40, 30)))
    write_png(root / "semseg" / "p004.png", classes_of(4, (40, 30)))
    (root / "depth" / "p004.png").unlink()
    return root


@pytest.mark.parametrize("protocol", ["ours", "mtl", "atrc"])
def test_a_perfect_prediction_at_the_input_is_perfect_at_native_size(protocol: str, root: Path) -> None:
    batch = opened(root, protocol=protocol, eval_at="native").batch(range(3))
    logits = torch.nn.functional.one_hot(batch.labels["semseg"].clamp(max=3), 4).movedim(-1, 1).float() * 10
    metric = SemanticSegmentation(4).metric()
    sizes = []
    for prediction, label in batch.scored("semseg", logits):
        assert prediction.shape[-2:] == label.shape[-2:]
        sizes.append(tuple(label.shape))
        metric.update(prediction, label)
    assert sizes == [(1, ROWS, COLUMNS), (1, 40, 30), (1, ROWS, COLUMNS)]
    # Bands of whole pixels at twice the size come back exactly; at other factors an edge pixel may fall to either side.
    assert metric.compute()["pixel_accuracy"] > (99.9 if protocol == "atrc" else 95)
    assert metric.statistics()["confusion"].sum() == 2 * ROWS * COLUMNS + 40 * 30


def test_at_the_input_size_there_is_one_pair_a_batch(root: Path) -> None:
    batch = opened(root).batch(range(3))
    ((prediction, label),) = batch.scored("semseg", torch.zeros(3, 4, 64, 64))
    assert prediction.shape == (3, 4, 64, 64)
    assert label.shape == (3, 64, 64)


def test_labels_at_native_size_are_those_of_the_files(root: Path) -> None:
    dataset = opened(root, eval_at="native")
    batch = dataset.batch([1])
    assert (batch.native[0].labels["semseg"][0].numpy() == classes_of(4, (40, 30))).all()
    assert np.array_equal(batch.native[0].labels["depth"][0].numpy(), np.zeros((40, 30), dtype=np.float32))


def test_the_convention_says_native() -> None:
    assert SemanticSegmentation(4).convention("miou", None, "test:3") == "miou/1@native/test:3"
