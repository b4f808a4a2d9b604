"""Small data sets in files, written by the tests in the real formats."""

from pathlib import Path

import h5py
import numpy as np
import scipy.io
from PIL import Image

ROWS, COLUMNS = 24, 32
COLOURS = np.array([(200, 40, 40), (40, 200, 40), (40, 40, 200), (200, 200, 40)], dtype=np.uint8)


def write_lines(path: Path, names: list[str], end: str = "\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((end.join(names) + end).encode())


def write_png(path: Path, array: np.ndarray, palette: bool = False) -> None:
    """Write [H, W] of bytes or 16-bit numbers, or [H, W, 3] of colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(array)
    if palette:
        image = image.convert("L").copy()
        image = Image.frombytes("P", image.size, image.tobytes())
        image.putpalette([value for index in range(256) for value in (255 - index, index, index // 2)])
    image.save(path)


def write_jpg(path: Path, array: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, quality=95)


def classes_of(index: int, size: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    """Four vertical bands that wander with the index."""
    columns = (np.arange(size[1]) * 4 // size[1] + index) % 4
    return np.broadcast_to(columns, size).astype(np.uint8)


def picture_of(index: int, size: tuple[int, int] = (ROWS, COLUMNS)) -> np.ndarray:
    return COLOURS[classes_of(index, size)]


FOLDER = """
[splits]
train = "train.txt"
test = "test.txt"

[tasks.semseg]
classes = 4

[tasks.depth]
encoding = "png"
scale = 0.001

[tasks.bands]
kind = "semseg"
classes = 2
encoding = "npz"
key = "bands"
folder = "masks"
ignore = -1
"""


def write_folder(root: Path, images: int = 6) -> Path:
    """Write a `folder` with palette, 16-bit and npz labels; every third image lacks its depth."""
    names = [f"p{index:03d}" for index in range(images)]
    for index, name in enumerate(names):
        write_jpg(root / "images" / f"{name}.jpg", picture_of(index))
        write_png(root / "semseg" / f"{name}.png", classes_of(index), palette=True)
        if index % 3 != 2:
            write_png(root / "depth" / f"{name}.png", 1000 + 500 * classes_of(index).astype(np.uint16))
        (root / "masks").mkdir(exist_ok=True)
        np.savez(
            root / "masks" / f"{name}.npz",
            bands=np.where(classes_of(index) == 3, -1, classes_of(index).astype(np.int16) % 2),
        )
    write_lines(root / "train.txt", names[: images // 2])
    write_lines(root / "test.txt", names[images // 2 :])
    (root / "dataset.toml").write_text(FOLDER, encoding="utf-8")
    return root


def write_parts(path: Path, people: list[dict[str, np.ndarray]], size: tuple[int, int], others: int = 1) -> None:
    """Write an annotation of PASCAL-Part: ``others`` objects that are no people, then people by their parts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    objects = np.zeros((1, others + len(people)), dtype=[(n, object) for n in ("class", "class_ind", "mask", "parts")])
    for place in range(others):
        window = np.zeros((1, 1), dtype=[("part_name", object), ("mask", object)])
        window[0, 0] = ("window_1", np.ones(size, dtype=np.uint8))
        objects[0, place] = ("car", 7, np.ones(size, dtype=np.uint8), window)
    for place, parts in enumerate(people, start=others):
        cells = np.zeros((1, len(parts)), dtype=[("part_name", object), ("mask", object)])
        for number, (name, mask) in enumerate(parts.items()):
            cells[0, number] = (name, mask.astype(np.uint8))
        objects[0, place] = ("person", PERSON, np.ones(size, dtype=np.uint8), cells if parts else np.zeros((0, 0)))
    annotation = np.zeros((1, 1), dtype=[("imname", object), ("objects", object)])
    annotation[0, 0] = (path.stem, objects)
    scipy.io.savemat(path, {"anno": annotation})


PERSON = 15


def box(size: tuple[int, int], top: int, left: int, height: int, width: int) -> np.ndarray:
    mask = np.zeros(size, dtype=bool)
    mask[top : top + height, left : left + width] = True
    return mask


LABEL_MAP = {"sofa": 368, "cow": 98, "wall": 440, "tvmonitor": 427}


def write_pascal(root: Path, names: tuple[str, ...] = ("2008_000001", "2008_000002", "2009_000003")) -> Path:
    """Write a PASCAL_MT: two pictures of train, one of val; the second has nobody in it."""
    size = (ROWS, COLUMNS)
    write_lines(root / "ImageSets" / "Context" / "train.txt", list(names[:2]))
    write_lines(root / "ImageSets" / "Context" / "val.txt", list(names[2:]))
    for index, name in enumerate(names):
        write_jpg(root / "JPEGImages" / f"{name}.jpg", picture_of(index))
        classes = classes_of(index).copy()
        classes[0] = 255
        write_png(root / "semseg" / "VOC12" / f"{name}.png", classes, palette=True)
        person = {"head": box(size, 2, 4, 4, 4), "torso": box(size, 5, 3, 8, 6), "llarm": box(size, 6, 3, 4, 2)}
        write_parts(root / "human_parts" / f"{name}.mat", [] if index == 1 else [person], size)
        write_png(root / "sal_distill" / f"{name}.png", np.where(classes_of(index) == 1, 128, 127).astype(np.uint8))
        normals = np.zeros((*size, 3), dtype=np.uint8)
        normals[:] = (255, 128, 128)
        write_png(root / "normals_distill" / f"{name}.png", normals)
        labels = np.full(size, LABEL_MAP["cow"], dtype=np.uint16)
        labels[:, 16:] = LABEL_MAP["wall"]
        labels[12:, 16:] = LABEL_MAP["tvmonitor"]
        (root / "pascal-context" / "trainval").mkdir(parents=True, exist_ok=True)
        scipy.io.savemat(root / "pascal-context" / "trainval" / f"{name}.mat", {"LabelMap": labels})
    return root


def write_nyud(root: Path, packaging: str, names: tuple[str, ...] = ("0001", "0002", "0003")) -> Path:
    """Write NYU-Depth v2 in packaging A, B, C or D: two pictures of train, one of val; classes from 0 (A, D) or 1."""
    size = (ROWS, COLUMNS)
    vector = np.zeros((*size, 3))
    vector[:, 8:] = (0.6, 0.0, 0.8)
    coloured = np.full((*size, 3), 127, dtype=np.uint8)
    coloured[:, 8:] = (204, 128, 230)  # 2 v / 255 - 1 = (0.6, 0.0039, 0.8039)
    metres = np.full(size, 2.5)
    metres[:4] = 0
    edge = (np.arange(COLUMNS) == 8) & np.ones(size, dtype=bool)
    for index, name in enumerate(names):
        if packaging == "D":
            place, number = root / ("train" if index < 2 else "val"), index if index < 2 else 0
            arrays = {
                "image": picture_of(index) / 255,
                "label": np.where(classes_of(index) == 3, -1.0, classes_of(index)),
                "depth": metres[..., None],
                "normal": vector,
            }
            for folder, array in arrays.items():
                (place / folder).mkdir(parents=True, exist_ok=True)
                np.save(place / folder / f"{number}.npy", array)
            continue
        for folder in ("images", "segmentation", "normals", "depth", "edge"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if packaging == "C":
            write_png(root / "images" / f"{name}.png", picture_of(index))
        else:
            write_jpg(root / "images" / f"{name}.jpg", picture_of(index))
        if packaging == "A":
            scipy.io.savemat(root / "segmentation" / f"{name}.mat", {"segmentation": classes_of(index)})
            write_jpg(root / "normals" / f"{name}.jpg", coloured)
            scipy.io.savemat(root / "depth" / f"{name}.mat", {"depth": metres})
        else:
            write_png(root / "segmentation" / f"{name}.png", classes_of(index))
            np.save(root / "depth" / f"{name}.npy", metres.astype(np.float32))
        if packaging == "B":
            np.save(root / "normals" / f"{name}.npy", vector.astype(np.float32))
            np.save(root / "edge" / f"{name}.npy", edge.astype(np.float32))
        else:
            write_png(root / "edge" / f"{name}.png", edge.astype(np.uint8) * 255)
        if packaging == "C":
            write_png(root / "normals" / f"{name}.png", coloured)
    if packaging != "D":
        write_lines(root / "gt_sets" / "train.txt", list(names[:2]))
        write_lines(root / "gt_sets" / "val.txt", list(names[2:]))
    return root


def write_cityscapes(root: Path, train: int = 3, test: int = 2) -> Path:
    """Write LibMTL's Cityscapes with 10 and more files in mind: numbers are ordered as numbers."""
    size = (16, 32)
    for split, number in (("train", train), ("val", test)):
        for index in range(number):
            disparity = np.full((*size, 1), 0.25)
            disparity[:4] = 0
            arrays = {
                "image": picture_of(index, size) / 255,
                "label": np.where(classes_of(index, size) == 3, -1.0, classes_of(index, size)),
                "depth": disparity,
            }
            for folder, array in arrays.items():
                (root / split / folder).mkdir(parents=True, exist_ok=True)
                np.save(root / split / folder / f"{index}.npy", array)
    return root


def write_hypersim(root: Path) -> Path:
    """Write four frames of two scenes: two of train, one of test, one that is not released; the csv names more."""
    size = (24, 32)
    rows = ["scene_name,camera_name,frame_id,included_in_public_release,exclude_reason,split_partition_name"]
    for scene, frame, released, partition, there in (
        ("ai_001_001", 0, "True", "train", True),
        ("ai_001_001", 7, "True", "train", True),
        ("ai_001_002", 3, "True", "test", True),
        ("ai_001_002", 4, "False", "train", True),
        ("ai_055_001", 9, "True", "train", False),
        ("ai_001_002", 5, "True", "val", True),
    ):
        rows.append(f"{scene},cam_00,{frame},{released},,{partition}")
        if not there:
            continue
        images, number = root / scene / "images", f"frame.{frame:04d}"
        write_jpg(images / "scene_cam_00_final_preview" / f"{number}.tonemap.jpg", picture_of(frame, size))
        normals = np.zeros((*size, 3), dtype=np.float16)
        normals[:, 8:] = (0.6, 0.0, 0.8)
        normals[:, :4] = np.nan
        reflectance = np.full((*size, 3), 0.5, dtype=np.float16)
        reflectance[0] = np.inf
        kinds = {
            "geometry/semantic": np.where(classes_of(frame, size) == 0, np.int16(-1), classes_of(frame, size)),
            "geometry/depth_meters": np.full(size, 4.0, dtype=np.float16),
            "geometry/normal_cam": normals,
            "final/diffuse_reflectance": reflectance,
        }
        for name, array in kinds.items():
            place, kind = name.split("/")
            folder = images / f"scene_cam_00_{place}_hdf5"
            folder.mkdir(parents=True, exist_ok=True)
            with h5py.File(folder / f"{number}.{kind}.hdf5", "w") as file:
                file["dataset"] = array
    write_lines(root / "metadata_images_split_scene_v1.csv", rows)
    return root
