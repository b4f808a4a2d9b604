"""``predictions.png``: a few test images with truth and prediction of every task."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from petl_bench.data.base import Sample
from petl_bench.tasks.base import TaskSpec

CELL = 128
GAP = 4
HEADER = 36


def draw_predictions(
    path: Path, samples: list[Sample], predictions: Mapping[str, np.ndarray], specs: Mapping[str, TaskSpec]
) -> None:
    """Write one row an image: the image, then truth and prediction of every task.

    Args:
        path: The PNG file.
        samples: Test images with labels.
        predictions: By task, decoded maps [N, H, W] or [N, H, W, 3] of the same images.
        specs: The tasks; each renders its own maps.
    """
    columns = 1 + 2 * len(specs)
    canvas = Image.new(
        "RGB", (columns * (CELL + GAP) + GAP, HEADER + len(samples) * (CELL + GAP) + GAP), (255, 255, 255)
    )
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=13)
    titles = ["image", *(f"{task}\n{what}" for task in specs for what in ("truth", "prediction"))]
    for column, title in enumerate(titles):
        pen.multiline_text((GAP + column * (CELL + GAP), 2), title, fill=(0, 0, 0), font=font, spacing=2)
    for row, sample in enumerate(samples):
        cells = [sample.image]
        for task, spec in specs.items():
            cells += [spec.render(sample.labels[task]), spec.render(predictions[task][row])]
        for column, cell in enumerate(cells):
            picture = Image.fromarray(cell).resize((CELL, CELL), Image.Resampling.NEAREST)
            canvas.paste(picture, (GAP + column * (CELL + GAP), HEADER + row * (CELL + GAP)))
    canvas.save(path)
