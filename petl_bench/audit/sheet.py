"""A contact sheet of a data set: a few images, every task drawn beside them."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from petl_bench.data.layout import Layout
from petl_bench.errors import UsageError
from petl_bench.plugins import load
from petl_bench.tasks.base import TaskSpec

CELL, GAP, HEADER = 160, 4, 20
ROWS = 6
OURS = "petl-bench data check"


def draw_sheet(layout: Layout, path: Path) -> None:
    """Write a PNG with one row an image.

    Raises:
        UsageError: A file of another origin has that name, or it cannot be written.
    """
    _require_ours(path)
    ids = [name for name in layout.ids if name in layout.images.files]
    chosen = ids[:: max(1, len(ids) // ROWS)][:ROWS]
    specs = {task: load("tasks", source.kind)(source.channels) for task, source in layout.labels.items()}
    width = (1 + len(specs)) * (CELL + GAP) + GAP
    canvas = Image.new("RGB", (width, HEADER + len(chosen) * (CELL + GAP) + GAP), (255, 255, 255))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    for column, title in enumerate(["image", *specs]):
        pen.text((GAP + column * (CELL + GAP), 2), title, fill=(0, 0, 0), font=font)
    for row, name in enumerate(chosen):
        for column, cell in enumerate(_cells(layout, name, specs)):
            canvas.paste(_fitted(cell), (GAP + column * (CELL + GAP), HEADER + row * (CELL + GAP)))
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", OURS)
    try:
        canvas.save(path, pnginfo=text)
    except OSError as error:
        raise UsageError(f"{str(path)!r} cannot be written: {error.strerror}.\nType: --out FILE.png") from None


def _cells(layout: Layout, name: str, specs: Mapping[str, TaskSpec]) -> Iterator[np.ndarray]:
    """Yield the image and its labels, drawn; black for what cannot be read."""
    nothing = np.zeros((CELL, CELL, 3), dtype=np.uint8)
    try:
        image = layout.read_image(name)
    except UsageError:
        yield nothing
        return
    yield image
    for task, spec in specs.items():
        try:
            yield spec.render(layout.read_label(task, name, (image.shape[0], image.shape[1])))
        except UsageError:
            yield nothing


def _fitted(cell: np.ndarray) -> Image.Image:
    """Return a picture as large as it fits into a square cell, in its own proportions."""
    factor = CELL / max(cell.shape[:2])
    size = max(1, round(cell.shape[1] * factor)), max(1, round(cell.shape[0] * factor))
    return Image.fromarray(cell).resize(size, Image.Resampling.NEAREST)


def _require_ours(path: Path) -> None:
    if not path.exists():
        return
    try:
        with Image.open(path) as image:
            ours = image.info.get("Software") == OURS
    except OSError:
        ours = False
    if not ours:
        raise UsageError(f"{str(path)!r} is there already, and is no sheet of ours.\nType: --out ANOTHER.png")
