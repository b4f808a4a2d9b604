"""`folder`: one's own data without code. Trees are written in the real formats; expected arrays by hand."""

import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import torch
from trees import COLUMNS, FOLDER, ROWS, classes_of, picture_of, write_folder, write_jpg, write_lines, write_png

from petl_bench.data.base import DataTask
from petl_bench.data.folder import Folder
from petl_bench.errors import UsageError

TASKS = ("semseg", "depth", "bands")


def config(**changes: object) -> Folder.Config:
    return Folder.Config(name="folder", image_size=32, train_images=100, test_images=100).model_copy(update=changes)


def opened(root: Path, split: str = "train", tasks: tuple[str, ...] = TASKS, **changes: object) -> Folder:
    return Folder(config(**changes), split, tasks, root=root)


def test_tasks_are_what_the_file_says_in_its_order(tmp_path: Path) -> None:
    assert Folder.tasks_in(write_folder(tmp_path)) == {
        "semseg": DataTask("semseg", 4),
        "depth": DataTask("depth", 1),
        "bands": DataTask("semseg", 2),
    }


def test_palette_sixteen_bit_and_npz_labels_are_read_as_numbers(tmp_path: Path) -> None:
    sample = opened(write_folder(tmp_path)).native(1)
    bands = [1] * 8 + [2] * 8 + [3] * 8 + [0] * 8  # of image 1: four vertical bands
    assert sample.id == "p001"
    assert (sample.labels["semseg"] == np.array(bands)).all()
    assert sample.labels["semseg"].dtype == np.uint8
    metres = [{0: 1.0, 1: 1.5, 2: 2.0, 3: 2.5}[band] for band in bands]
    np.testing.assert_allclose(sample.labels["depth"], np.broadcast_to(metres, (ROWS, COLUMNS)), rtol=1e-6)
    masks = [{0: 0, 1: 1, 2: 0, 3: 255}[band] for band in bands]  # the file says -1 for no truth
    assert (sample.labels["bands"] == np.array(masks)).all()
    assert np.abs(sample.image.astype(int) - picture_of(1)).mean() < 12  # a JPEG


ENCODINGS = """
[splits]
train = "lists/train.txt"
test = "lists/test.txt"
[images]
folder = "rgb"
[tasks.semseg]
classes = 4
encoding = "mat"
key = "labels"
[tasks.saliency]
encoding = "hdf5"
key = "mask"
[tasks.normals]
encoding = "npy"
y = "down"
[tasks.edges]
ignore = 7
"""


def test_mat_hdf5_npy_and_grey_png_labels_are_read(tmp_path: Path) -> None:
    for folder in ("semseg", "saliency", "normals"):
        (tmp_path / folder).mkdir()
    for index, name in enumerate(("a", "b")):
        write_png(tmp_path / "rgb" / f"{name}.PNG", picture_of(index))
        scipy.io.savemat(tmp_path / "semseg" / f"{name}.mat", {"labels": classes_of(index).astype(np.float64)})
        with h5py.File(tmp_path / "saliency" / f"{name}.h5", "w") as file:
            file["mask"] = classes_of(index) == 2
        normals = np.zeros((ROWS, COLUMNS, 3), dtype=np.float64)
        normals[:, :16] = (0, 6, 8)  # not of unit length, and y points down
        normals[:, 16:20] = np.nan
        np.save(tmp_path / "normals" / f"{name}.npy", normals)
        write_png(tmp_path / "edges" / f"{name}.png", np.where(classes_of(index) == 3, 7, classes_of(index) % 2))
    write_lines(tmp_path / "lists" / "train.txt", ["a", "", "  "], end="\r\n")
    write_lines(tmp_path / "lists" / "test.txt", ["b"])
    (tmp_path / "dataset.toml").write_text(ENCODINGS, encoding="utf-8")
    dataset = opened(tmp_path, tasks=("semseg", "saliency", "normals", "edges"))
    assert dataset.ids == ("a",)
    labels = dataset.native(0).labels
    assert (labels["semseg"] == classes_of(0)).all()
    assert (labels["saliency"] == (classes_of(0) == 2)).all()
    np.testing.assert_allclose(labels["normals"][:, :16], np.broadcast_to((0, -0.6, 0.8), (ROWS, 16, 3)), atol=1e-6)
    assert (labels["normals"][:, 16:] == 0).all()
    assert (labels["edges"] == np.array([{0: 0, 1: 1, 2: 0, 3: 255}[band] for band in classes_of(0)[0]])).all()


def test_normals_in_a_png_are_unit_vectors_and_black_is_none(tmp_path: Path) -> None:
    text = '[splits]\ntrain = "train.txt"\ntest = "test.txt"\n[tasks.normals]\n'
    colours = np.zeros((ROWS, COLUMNS, 3), dtype=np.uint8)
    colours[:, 8:] = (128, 128, 255)
    for name in ("a", "b"):
        write_jpg(tmp_path / "images" / f"{name}.jpg", picture_of(0))
        write_png(tmp_path / "normals" / f"{name}.png", colours)
        write_lines(tmp_path / f"{ {'a': 'train', 'b': 'test'}[name] }.txt", [name])
    (tmp_path / "dataset.toml").write_text(text, encoding="utf-8")
    normals = opened(tmp_path, tasks=("normals",)).native(0).labels["normals"]
    assert (normals[:, :8] == 0).all()
    x = 2 * 128 / 255 - 1
    expected = np.array([x, x, 1.0]) / np.sqrt(2 * x * x + 1)
    np.testing.assert_allclose(normals[:, 8:], np.broadcast_to(expected, (ROWS, COLUMNS - 8, 3)), atol=1e-6)


def test_a_missing_label_is_without_truth_and_the_images_stay_the_same(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    dataset = opened(root)
    assert (dataset.native(2).labels["depth"] == 0).all()
    assert opened(root, tasks=("depth",)).ids == dataset.ids == ("p000", "p001", "p002")


def test_files_of_a_task_that_is_switched_off_are_not_needed(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    before = Folder.content_hash(config(), root=root, tasks=("semseg",))
    shutil.rmtree(root / "masks")
    assert len(opened(root, tasks=("semseg",)).batch([0, 1]).images) == 2
    assert Folder.content_hash(config(), root=root, tasks=("semseg",)) == before
    with pytest.raises(UsageError, match="Not one of 3 images has a label of 'bands'"):
        opened(root)


def test_the_digest_is_of_the_content_and_not_of_the_place(tmp_path: Path) -> None:
    root = write_folder(tmp_path / "here")
    shutil.copytree(root, tmp_path / "there")
    known = Folder.content_hash(config(), root=root, tasks=TASKS)
    assert Folder.content_hash(config(), root=tmp_path / "there", tasks=TASKS) == known
    assert str(tmp_path) not in known
    write_png(tmp_path / "there" / "semseg" / "p000.png", classes_of(3), palette=True)
    assert Folder.content_hash(config(), root=tmp_path / "there", tasks=TASKS) != known
    assert Folder.content_hash(config(), root=tmp_path / "there", tasks=("depth",)) == Folder.content_hash(
        config(), root=root, tasks=("depth",)
    )
    (root / "depth" / "p000.png").unlink()
    assert Folder.content_hash(config(), root=root, tasks=TASKS) != known


def test_nothing_is_written_into_a_folder_that_may_only_be_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]}
    for path in before:
        path.chmod(0o555 if path.is_dir() else 0o444)
    dataset = opened(root)
    dataset.batch(range(3))
    dataset.augmented([0], [1], config())
    Folder.content_hash(config(), root=root, tasks=TASKS)
    assert {path: path.stat().st_mtime_ns for path in [root, *root.rglob("*")]} == before
    for path in before:
        path.chmod(0o755)


def test_images_to_tune_on_are_taken_from_train_and_never_from_test(tmp_path: Path) -> None:
    root = write_folder(tmp_path, images=12)
    train, val, test = (opened(root, split, val_images=2).ids for split in ("train", "val", "test"))
    assert val == ("p000", "p003")
    assert train == ("p001", "p002", "p004", "p005")
    assert set(test).isdisjoint({*train, *val})
    with pytest.raises(UsageError, match=r"dataset\.val_images"):
        opened(root, "val")


MISTAKES = {
    "no file at all": (None, "has no dataset.toml"),
    "no TOML": ("[splits", "not valid TOML"),
    "no tasks": ('[splits]\ntrain = "train.txt"\ntest = "test.txt"', "no task is declared"),
    "no splits": ("[tasks.semseg]\nclasses = 4", "'splits' is missing"),
    "a split too few": ('[splits]\ntrain = "train.txt"\n[tasks.semseg]\nclasses = 4', "'splits.test' is missing"),
    "a key that is misspelt": (FOLDER.replace("classes = 4", "n_classes = 4"), "Did you mean 'tasks.semseg.classes'"),
    "a section that is misspelt": (FOLDER + '[image]\nfolder = "x"', "Unknown key 'image'"),
    "no classes": (FOLDER.replace("classes = 4", ""), r"\[tasks.semseg\] needs classes = N"),
    "one class": (FOLDER.replace("classes = 4", "classes = 1"), "greater than or equal to 2"),
    "classes as text": (FOLDER.replace("classes = 4", 'classes = "4"'), "valid integer"),
    "no kind": (FOLDER.replace('kind = "semseg"', ""), r"\[tasks.bands\] is no task by name"),
    "an unknown kind": (FOLDER.replace('kind = "semseg"', 'kind = "semsegs"'), "Did you mean 'semseg'"),
    "an unknown encoding": (FOLDER.replace('"npz"', '"exr"'), "'png', 'npy', 'npz', 'mat' or 'hdf5'"),
    "no key": (FOLDER.replace('key = "bands"', ""), "needs key"),
    "another key": (FOLDER.replace('key = "bands"', 'key = "band"'), "has no 'band'; it has 'bands'"),
    "a key for nothing": (FOLDER.replace("classes = 4", 'classes = 4\nkey = "x"'), "means nothing for encoding"),
    "a scale of classes": (FOLDER.replace("classes = 4", "classes = 4\nscale = 0.5"), "means nothing for semseg"),
    "classes of depth": (FOLDER.replace("scale = 0.001", "classes = 3"), "means nothing for depth"),
    "a scale of zero": (FOLDER.replace("scale = 0.001", "scale = 0"), "greater than 0"),
    "a name of several words": (FOLDER.replace("[tasks.bands]", '[tasks."my bands"]'), "one word"),
    "too few classes": (FOLDER.replace("classes = 4", "classes = 3"), "holds 3; as semseg with 3 output channels"),
    "negative numbers": (FOLDER.replace("ignore = -1", ""), "ignore = -1"),
    "a list that is not there": (FOLDER.replace('"train.txt"', '"trian.txt"'), "trian.txt' cannot be read"),
    "one list twice": (FOLDER.replace('"test.txt"', '"train.txt"'), "in both train and test"),
    "another folder of pictures": (FOLDER + '[images]\nfolder = "rgb"', "3 of 3 images are missing"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_in_the_file_has_its_own_answer(mistake: str, tmp_path: Path) -> None:
    text, answer = MISTAKES[mistake]
    root = write_folder(tmp_path)
    (root / "dataset.toml").unlink()
    if text is not None:
        (root / "dataset.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError, match=answer):
        opened(root, tasks=tuple(Folder.tasks_in(root))).batch(range(3))


def _truncated(root: Path) -> None:
    path = root / "semseg" / "p001.png"
    path.write_bytes(path.read_bytes()[:60])


def _small(root: Path) -> None:
    write_png(root / "semseg" / "p001.png", classes_of(1, (12, 16)))


def _coloured(root: Path) -> None:
    write_png(root / "semseg" / "p001.png", picture_of(1))


def _twins(root: Path) -> None:
    write_png(root / "images" / "p001.png", picture_of(1))


def _pickled(root: Path) -> None:
    np.savez(root / "masks" / "p001.npz", bands=np.array([object()], dtype=object))


DAMAGE = {
    _truncated: "p001.png' cannot be read",
    _small: "is 12 x 16 pixels, its image 24 x 32",
    _coloured: "holds colours",
    _twins: "two files for 'p001'",
    _pickled: "allow_pickle",
}


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_a_file_that_is_wrong_is_named(damage, tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    damage(root)
    with pytest.raises(UsageError, match=DAMAGE[damage]):
        opened(root).batch(range(3))


def test_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    root = write_folder(tmp_path)
    for path in [*root.glob("images/*.jpg"), *root.glob("semseg/*.png")]:
        path.rename(path.with_suffix(path.suffix.upper()))
    assert len(opened(root, tasks=("semseg",)).batch(range(3)).images) == 3


@pytest.mark.parametrize("protocol", ["ours", "mtl", "atrc"])
def test_a_training_picture_is_a_function_of_its_key(protocol: str, tmp_path: Path) -> None:
    dataset = opened(write_folder(tmp_path), protocol=protocol)
    first = dataset.augmented([0, 1, 2], [11, 12, 13], config())
    again = dataset.augmented([2, 0], [13, 11], config())
    assert torch.equal(first.images[[2, 0]], again.images)
    assert all(torch.equal(first.labels[task][[2, 0]], again.labels[task]) for task in TASKS)
    assert not torch.equal(dataset.augmented([0], [14], config()).images, first.images[:1])
    assert first.images.shape == (3, 3, 32, 32)
    assert 0 <= float(first.images.min()) <= float(first.images.max()) <= 1


def test_a_folder_without_a_name_is_answered_with_what_to_type() -> None:
    with pytest.raises(UsageError, match="petl-bench data guide folder"):
        Folder.tasks_in(None)
    with pytest.raises(UsageError, match="is not a folder"):
        Folder.tasks_in(Path("/nowhere/at/all"))
