"""Small data sets in files, written by the tests in the real formats."""

from pathlib import Path

import numpy as np
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
