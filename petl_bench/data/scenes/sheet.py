"""Contact sheets of pictures with all their labels, as PNG files."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from petl_bench.data.scenes.render import Picture

_COLOURS = np.array(
    [
        [190, 190, 190], [120, 90, 60], [240, 240, 240], [200, 120, 40], [230, 200, 60], [110, 60, 120],
        [255, 250, 120], [40, 150, 60], [70, 100, 200], [230, 60, 60], [160, 130, 90], [60, 200, 210], [250, 120, 180],
    ],
    dtype=np.uint8,
)  # fmt: skip


def contact_sheet(pictures: list[Picture], zoom: int) -> NDArray[np.uint8]:
    """The names, then one row a picture: the image and every label, each pixel ``zoom`` pixels wide."""
    rows = [np.concatenate([p.image, *(_view(n, a) for n, a in p.labels.items())], axis=1) for p in pictures]
    sheet = np.concatenate(rows, axis=0).repeat(zoom, axis=0).repeat(zoom, axis=1)
    names, width = ("image", *pictures[0].labels), pictures[0].image.shape[1] * zoom
    heading = Image.new("RGB", (sheet.shape[1], _HEADING), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(heading).text((column * width + 2, 1), name, fill="black")
    return np.concatenate([np.asarray(heading), sheet], axis=0)


_HEADING = 14
"""Height of the names in pixels."""
_RANGES = {"normals": (-1.0, 1.0), "depth": (0.0, 6.0), "shading": (0.0, 2.0), "height": (-2.0, 2.0)}
"""What is black and what is white, of numbers that are not between 0 and 1."""
_CLASSES = ("semseg", "human_parts", "material", "orientation", "curvature", "layout")


def _view(name: str, label: NDArray[Any]) -> NDArray[np.uint8]:
    """A label [H, W, ...] as RGB."""
    if name in _CLASSES:
        return np.where(label[..., None] > 0, _COLOURS[label + 3], 0) if name == "human_parts" else _COLOURS[label]
    low, high = _RANGES.get(name, (0.0, 1.0))
    share = np.clip((label.astype(np.float32) - low) / (high - low), 0.0, 1.0)
    bytes_ = ((np.sqrt(share) if name == "albedo" else share) * 255).astype(np.uint8)
    return bytes_ if bytes_.ndim == 3 else np.repeat(bytes_[..., None], 3, axis=-1)


def write_png(path: Path, image: NDArray[np.uint8]) -> None:
    """Write an RGB image [H, W, 3]."""
    Image.fromarray(image).save(path)
