"""Miniatures of data sets in their real layouts, drawn by ``scenes``: so that every protocol runs end to end anywhere.

They say nothing about the data sets whose layout they have.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from petl_bench.data import scenes
from petl_bench.data.pascal_context import PARTS, PERSON, SHARED_WITH_NYU
from petl_bench.errors import UsageError, unknown_name

Labels = Mapping[str, np.ndarray]


def write_demo(name: str, root: Path, *, images: int = 12, size: int = 128) -> None:
    """Write a miniature: two thirds of the images to train on, the others to test on, each 3/4 as high as wide.

    Args:
        name: The data set.
        root: A folder that is empty or not there.
        images: How many.
        size: Width of an image in pixels.

    Raises:
        UsageError: There is no such miniature, or the folder holds something.
    """
    if name not in WRITERS:
        raise unknown_name("miniature", name, WRITERS, command=f"petl-bench data demo pascal-context {root}")
    if images < 3:
        raise UsageError(f"--images {images}: 3 or more are expected, to train and to test on.")
    require_empty(root, f"demo {name}")
    names = [f"2008_{index:06d}" for index in range(1, images + 1)]
    train = names[: max(1, 2 * images // 3)]
    write, finish = WRITERS[name]
    for index, one in enumerate(names):
        split, place = ("train", index) if index < len(train) else ("test", index - len(train))
        picture = scenes.render("target", split, place, size)
        rows = slice(size // 8, size // 8 + 3 * size // 4)
        write(root, one, picture.image[rows], {task: label[rows] for task, label in picture.labels.items()})
    finish(root, train, names[len(train) :])


def require_empty(root: Path, command: str) -> None:
    """Raise UsageError unless a folder is empty or not there."""
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        raise UsageError(
            f"{str(root)!r} is not empty, and nothing is overwritten.\nType: petl-bench data {command} NEW"
        )


def _png(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def _list(path: Path, names: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names), encoding="utf-8")


def _jpg(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, quality=95)


def _bytes_of_normals(normals: np.ndarray, y: int) -> np.ndarray:
    vectors = normals.astype(np.float32) * np.array([1, y, 1], dtype=np.float32)
    return ((vectors + 1) * 127.5).round().clip(0, 255).astype(np.uint8)


def _pascal(root: Path, name: str, image: np.ndarray, labels: Labels) -> None:
    from scipy.io import savemat

    _jpg(root / "JPEGImages" / f"{name}.jpg", image)
    _png(root / "semseg" / "VOC12" / f"{name}.png", labels["semseg"].astype(np.uint8))
    _png(root / "sal_distill" / f"{name}.png", labels["saliency"].astype(np.uint8) * 255)
    _png(root / "normals_distill" / f"{name}.png", _bytes_of_normals(labels["normals"], -1))
    classes = np.array(SHARED_WITH_NYU, dtype=np.uint16)[labels["semseg"]]
    for folder in ("pascal-context/trainval", "human_parts"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    savemat(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": classes})
    savemat(root / "human_parts" / f"{name}.mat", {"anno": _annotation(name, labels["human_parts"])})


def _annotation(name: str, parts: np.ndarray) -> np.ndarray:
    """Return parts [H, W] as the structures of PASCAL-Part: one object, a person if there is one."""
    there = [group for group in PARTS if (parts == group).any()]
    cells = np.zeros((1, len(there)), dtype=[("part_name", object), ("mask", object)])
    for place, group in enumerate(there):
        cells[0, place] = (PARTS[group][0], (parts == group).astype(np.uint8))
    objects = np.zeros((1, 1), dtype=[(field, object) for field in ("class", "class_ind", "mask", "parts")])
    mask = (parts > 0).astype(np.uint8)
    objects[0, 0] = ("person", PERSON, mask, cells) if there else ("sofa", 18, mask, np.zeros((0, 0)))
    annotation = np.zeros((1, 1), dtype=[("imname", object), ("objects", object)])
    annotation[0, 0] = (name, objects)
    return annotation


def _pascal_lists(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    _list(root / "ImageSets" / "Context" / "train.txt", train)
    _list(root / "ImageSets" / "Context" / "val.txt", test)


def _nyud(root: Path, name: str, image: np.ndarray, labels: Labels) -> None:
    _png(root / "images" / f"{name}.png", image)
    _png(root / "segmentation" / f"{name}.png", (labels["semseg"] + 1).astype(np.uint8))
    _png(root / "normals" / f"{name}.png", _bytes_of_normals(labels["normals"], -1))
    _png(root / "edge" / f"{name}.png", labels["edges"].astype(np.uint8) * 255)
    (root / "depth").mkdir(exist_ok=True)
    np.save(root / "depth" / f"{name}.npy", labels["depth"].astype(np.float32))


def _nyud_lists(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    _list(root / "gt_sets" / "train.txt", train)
    _list(root / "gt_sets" / "val.txt", test)


DECLARATION = f"""[splits]
train = "train.txt"
test = "test.txt"

[tasks.semseg]
classes = 13

[tasks.parts]
kind = "human_parts"
classes = {len(scenes.PART_NAMES)}

[tasks.saliency]

[tasks.normals]
encoding = "npy"

[tasks.depth]
scale = 0.001
"""


def _folder(root: Path, name: str, image: np.ndarray, labels: Labels) -> None:
    _jpg(root / "images" / f"{name}.jpg", image)
    _png(root / "semseg" / f"{name}.png", labels["semseg"].astype(np.uint8))
    _png(root / "parts" / f"{name}.png", labels["human_parts"].astype(np.uint8))
    _png(root / "saliency" / f"{name}.png", labels["saliency"].astype(np.uint8))
    _png(root / "depth" / f"{name}.png", (labels["depth"].astype(np.float32) * 1000).round().astype(np.uint16))
    (root / "normals").mkdir(exist_ok=True)
    np.save(root / "normals" / f"{name}.npy", labels["normals"].astype(np.float32))


def _folder_lists(root: Path, train: Sequence[str], test: Sequence[str]) -> None:
    _list(root / "train.txt", train)
    _list(root / "test.txt", test)
    (root / "dataset.toml").write_text(DECLARATION, encoding="utf-8")


WriteImage = Callable[[Path, str, np.ndarray, Labels], None]
WriteLists = Callable[[Path, Sequence[str], Sequence[str]], None]
WRITERS: dict[str, tuple[WriteImage, WriteLists]] = {
    "pascal-context": (_pascal, _pascal_lists),
    "nyud": (_nyud, _nyud_lists),
    "folder": (_folder, _folder_lists),
}
