"""`nyud`: four packagings under one name, each written in its own formats; mixtures refused."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from trees import COLUMNS, ROWS, classes_of, picture_of, write_jpg, write_nyud, write_png

from petl_bench.data.nyud import NYUD, packaging_of
from petl_bench.errors import UsageError

SAID = {
    "A": "A (ASTMT)",
    "B": "B (Multi-Task-Learning-PyTorch, MTLoRA)",
    "C": "C (InvPT)",
    "D": "D (LibMTL)",
}


def config(**changes: object) -> NYUD.Config:
    return NYUD.Config(name="nyud", image_size=32, train_images=999, test_images=999).model_copy(update=changes)


def opened(root: Path, split: str = "train", **changes: object) -> NYUD:
    return NYUD(config(**changes), split, tuple(NYUD.tasks_in(root)), root=root)


@pytest.mark.parametrize("letter", SAID)
def test_each_packaging_is_told_by_its_files(letter: str, tmp_path: Path) -> None:
    root = write_nyud(tmp_path, letter)
    assert packaging_of(root) == NYUD.look(root).packaging == SAID[letter]
    assert NYUD.content_hash(config(), root=root, tasks=("depth",)).startswith(f"nyud/1/{letter}/")


@pytest.mark.parametrize("letter", SAID)
def test_every_task_of_each_packaging_is_read(letter: str, tmp_path: Path) -> None:
    root = write_nyud(tmp_path, letter)
    dataset = opened(root)
    assert len(dataset) == 2
    assert len(opened(root, "test")) == 1
    sample = dataset.native(1)
    assert np.abs(sample.image.astype(int) - picture_of(1)).mean() < 12

    raw = classes_of(1).astype(int)
    expected = {
        "A": raw,  # 0 is a class
        "B": np.where(raw == 0, 255, raw - 1),
        "C": np.where(raw == 0, 255, raw - 1),
        "D": np.where(raw == 3, 255, raw),  # -1 in the file
    }[letter]
    assert (sample.labels["semseg"] == expected).all()

    metres = np.full((ROWS, COLUMNS), 2.5, dtype=np.float32)
    metres[:4] = 0
    assert (sample.labels["depth"] == metres).all()

    normals = sample.labels["normals"]
    assert (normals[:, :7] == 0).all()
    y = {"B": 0.0, "D": 0.0}.get(letter, -0.0039)  # y points down in the files, up here
    tolerance = 0.06 if letter == "A" else 0.002  # a JPEG
    np.testing.assert_allclose(normals[:, 10:], np.broadcast_to((0.6, y, 0.8), (ROWS, COLUMNS - 10, 3)), atol=tolerance)

    if letter == "D":
        assert "edges" not in sample.labels
    else:
        assert (sample.labels["edges"] == (np.arange(COLUMNS) == 8)).all()


@pytest.mark.parametrize(("letter", "classes"), [("A", 41), ("B", 40), ("C", 40), ("D", 13)])
def test_the_number_of_classes_follows_from_the_packaging(letter: str, classes: int, tmp_path: Path) -> None:
    tasks = NYUD.tasks_in(write_nyud(tmp_path, letter))
    assert tasks["semseg"].channels == classes
    assert ("edges" in tasks) == (letter != "D")
    assert {name: task.channels for name, task in NYUD.tasks_in(None).items()} == NYUD.tasks


def test_the_network_has_as_many_outputs_as_the_packaging_has_classes(tmp_path: Path) -> None:
    from conftest import resolved

    from petl_bench.engine.build import task_specs

    root = str(write_nyud(tmp_path, "D"))
    run = resolved("decoders", ("semseg", "depth"), dataset={"name": "nyud"}, runtime={"root": root})
    assert task_specs(run)["semseg"].channels == 13


def _normals_of_b_in_c(root: Path) -> None:
    for path in (root / "normals").iterdir():
        path.unlink()
        np.save(path.with_suffix(".npy"), np.ones((ROWS, COLUMNS, 3)))


def _one_image_of_b_in_c(root: Path) -> None:
    (root / "images" / "0001.png").unlink()
    write_jpg(root / "images" / "0001.jpg", picture_of(0))


def _nothing(root: Path) -> None:
    shutil.rmtree(root)
    root.mkdir()


@pytest.mark.parametrize(
    ("spoil", "answer"),
    [
        (_normals_of_b_in_c, "or a mixture: images/\\*.png"),
        (_one_image_of_b_in_c, "several kinds"),
        (_nothing, "none of the known folders"),
    ],
)
def test_mixtures_and_other_things_are_refused(spoil, answer: str, tmp_path: Path) -> None:
    root = write_nyud(tmp_path, "C")
    spoil(root)
    with pytest.raises(UsageError, match=answer):
        NYUD.tasks_in(root)


@pytest.mark.parametrize("letter", ["A", "B", "C"])
def test_a_packaging_is_known_from_the_folders_that_a_run_needs(letter: str, tmp_path: Path) -> None:
    root = write_nyud(tmp_path, letter)
    for folder in ("segmentation", "edge", "depth"):
        shutil.rmtree(root / folder)
    dataset = NYUD(config(), "train", ("normals",), root=root)
    assert dataset.batch([0]).labels["normals"].shape == (1, 3, 32, 32)
    assert packaging_of(root) == SAID[letter]


def test_a_label_of_another_size_is_brought_to_that_of_the_image(tmp_path: Path) -> None:
    root = write_nyud(tmp_path, "C")
    half = np.full((ROWS // 2, COLUMNS // 2), 5, dtype=np.uint8)
    half[:, 8:] = 7
    write_png(root / "segmentation" / "0001.png", half)
    expected = np.full((ROWS, COLUMNS), 4, dtype=np.uint8)
    expected[:, 16:] = 6
    assert (opened(root).native(0).labels["semseg"] == expected).all()


def test_rooms_are_not_turned_in_the_published_protocol(tmp_path: Path) -> None:
    """Its family turns pictures of PASCAL-Context by up to 20 degrees, rooms never; it enlarges rooms in steps."""
    dataset = opened(write_nyud(tmp_path, "C"), protocol="mtl")
    depths = {round(float(d), 4) for d in dataset.augmented([0] * 30, range(30), config()).labels["depth"].unique()}
    assert depths == {0.0, 2.5, round(2.5 / 1.2, 4), round(2.5 / 1.5, 4)}
