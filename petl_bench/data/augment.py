"""Take a picture through the steps of a protocol. Everything random comes from the generator that is given."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from petl_bench.config import in_words
from petl_bench.data.batch import Box
from petl_bench.data.geometry import IGNORED, View, mirror, nearer, resize, rotation, warp, window
from petl_bench.data.protocols import Protocol, Step
from petl_bench.errors import UsageError

TRIES = 10  # windows that are drawn at most, until no class has too large a share
ENOUGH = 1e-4  # of a degree, or of a factor: less is nothing


class Pipeline:
    """A protocol for one size of input (height, width)."""

    def __init__(self, protocol: Protocol, size: tuple[int, int], *, flips: bool = True) -> None:
        self._protocol, self._size, self._flips = protocol, size, flips
        self._steps: dict[Step, Callable[[View, np.random.Generator], View]] = {
            "flip": self._flip,
            "fit": self._fit,
            "warp": self._warp,
            "resize": self._resize,
            "scale": self._scale,
            "crop": self._crop,
            "colour": self._colour,
            "pad": self._pad,
        }

    def train(self, view: View, random: np.random.Generator) -> View:
        """Augment a picture to the size of the input."""
        return self._through(self._protocol.train, view, random)

    def test(self, view: View) -> View:
        """Bring a picture to the size of the input as in evaluation; nothing is random."""
        return self._through(self._protocol.test, view, np.random.default_rng(0))

    def content(self, size: tuple[int, int]) -> Box:
        """Return where in the input a test picture of ``size`` (height, width) lies."""
        if "resize" in self._protocol.test:
            return Box(0, 0, *self._size)
        height, width = self._fitted(size) if "fit" in self._protocol.test else size
        return Box(*self._corner((height, width)), height, width)

    def _through(self, steps: Sequence[Step], view: View, random: np.random.Generator) -> View:
        for step in steps:
            view = self._steps[step](view, random)
        if self._protocol.wraps:
            view = replace(view, image=view.image.trunc() % 256)
        labels = dict(view.labels)
        for task, label in labels.items():
            has_none = view.kinds[task] == "human_parts" and not ((label > 0) & (label != IGNORED)).any()
            if has_none and self._protocol.parts_ignore == "crop":
                labels[task] = torch.full_like(label, IGNORED)
        return replace(view, image=view.image.clamp(0, 255), labels=labels)

    def _flip(self, view: View, random: np.random.Generator) -> View:
        return mirror(view) if random.random() < 0.5 and self._flips else view

    def _factor(self, random: np.random.Generator) -> float:
        choices = self._protocol.scale_choices
        return float(random.choice(choices)) if choices else float(random.uniform(*self._protocol.scales))

    def _warp(self, view: View, random: np.random.Generator) -> View:
        degrees = random.uniform(-self._protocol.degrees, self._protocol.degrees)
        zoom = self._factor(random)
        height, width = view.size
        on_input = self._protocol.canvas == "input"
        canvas = self._size if on_input else view.size
        middle = ((width - 1) / 2, (height - 1) / 2)
        aim = (
            tuple(
                at + random.uniform(-1, 1) * max(0.0, old / 2 - new / zoom / 2)
                for at, old, new in zip(middle, (width, height), canvas[::-1], strict=True)
            )
            if on_input
            else middle
        )
        if abs(degrees) < ENOUGH and abs(zoom - 1) < ENOUGH and canvas == view.size:
            return view
        target = ((canvas[1] - 1) / 2, (canvas[0] - 1) / 2)
        return warp(view, rotation(degrees, zoom, (aim[0], aim[1]), target), canvas, self._protocol.sampling)

    def _resize(self, view: View, random: np.random.Generator) -> View:
        return resize(view, self._size, self._protocol.sampling)

    def _fitted(self, size: tuple[int, int]) -> tuple[int, int]:
        factor = min(new / old for new, old in zip(self._size, size, strict=True))
        return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))

    def _corner(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return where the corner of a picture lies in the middle of the input."""
        return (self._size[0] - size[0]) // 2, (self._size[1] - size[1]) // 2

    def _fit(self, view: View, random: np.random.Generator) -> View:
        return resize(view, self._fitted(view.size), self._protocol.sampling)

    def _scale(self, view: View, random: np.random.Generator) -> View:
        factor = self._factor(random)
        height, width = (max(1, int(side * factor)) for side in view.size)
        grown = resize(view, (height, width), self._protocol.sampling)
        return replace(
            grown, labels={task: nearer(label, view.kinds[task], factor) for task, label in grown.labels.items()}
        )

    def _crop(self, view: View, random: np.random.Generator) -> View:
        size = min(view.size[0], self._size[0]), min(view.size[1], self._size[1])
        classes = next((view.labels[task] for task, kind in view.kinds.items() if kind == "semseg"), None)
        top = left = 0
        for _ in range(TRIES):
            top, left = (int(random.integers(0, old - new + 1)) for old, new in zip(view.size, size, strict=True))
            if classes is None or self._is_mixed(classes[top : top + size[0], left : left + size[1]]):
                break
        return window(view, top, left, size, self._protocol.sampling)

    def _is_mixed(self, classes: torch.Tensor) -> bool:
        counts = torch.bincount(classes[classes != IGNORED].flatten().long())
        return int((counts > 0).sum()) > 1 and float(counts.max() / counts.sum()) < self._protocol.class_ratio

    def _pad(self, view: View, random: np.random.Generator) -> View:
        height, width = view.size
        if height > self._size[0] or width > self._size[1]:
            raise UsageError(
                f"A picture of {height} x {width} pixels does not fit into an input of {in_words(self._size)}: this "
                "protocol pads test pictures and does not shrink them.\n"
                f"Type: --set dataset.image_size={_next(max(height, width))}"
            )
        top, left = self._corner(view.size)
        return window(view, -top, -left, self._size, self._protocol.sampling)

    def _colour(self, view: View, random: np.random.Generator) -> View:
        return replace(view, image=distorted(view.image, random))


def distorted(image: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
    """Change brightness, contrast, saturation and hue of an image [3, H, W], 0 to 255, each with probability 1/2.

    The ranges of Liu et al., 2016 (SSD), https://arxiv.org/abs/1512.02325, as the family of ATRC has them.
    """
    from torchvision.transforms.v2 import functional

    brightness, contrast, saturation, hue, late = (bool(random.random() < 0.5) for _ in range(5))
    shift, turn = random.uniform(-32, 32), random.uniform(-0.1, 0.1)
    spread, depth = random.uniform(0.5, 1.5), random.uniform(0.5, 1.5)
    x = image + shift if brightness else image
    x = x * spread if contrast and not late else x
    x = x.clamp(0, 255) / 255
    x = functional.adjust_saturation(x, depth) if saturation else x
    x = functional.adjust_hue(x, turn) if hue else x
    x = x * 255
    return (x * spread if contrast and late else x).clamp(0, 255)


def _next(pixels: int) -> int:
    """Return the next size that every backbone divides into patches and windows."""
    return -(-pixels // 224) * 224
