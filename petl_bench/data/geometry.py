"""Move a picture and its labels together: mirror, warp, resize, cut a window. Normals and depth follow.

Pixels are points at whole coordinates, x to the right and y down. Whole numbers (classes, binary maps) and depth are
always taken from the nearest pixel: a mean of two classes or of two surfaces is neither.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Interpolation = Literal["nearest", "bilinear", "bicubic"]
IGNORED = 255
REAL_WITHOUT_TRUTH = {
    "depth": 0.0,
    "disparity": 0.0,
    "normals": 0.0,
    "albedo": 0.0,
    "shading": math.nan,
    "boundary_distance": math.nan,
    "centres": math.nan,
    "height": math.nan,
}
"""Kinds of labels that are real numbers, and what stands where there is no truth; whole numbers are 255 there."""
SMALLEST_LENGTH = 1e-6  # of a normal that is a direction
LEFT_AND_RIGHT = {"orientation": (3, 4), "layout": (3, 4)}
"""By kind of label: the two classes that a mirror swaps."""


@dataclass(frozen=True)
class View:
    """A picture with its labels on one grid of pixels.

    Attributes:
        image: float32 [3, H, W], 0 to 255.
        labels: By task: uint8 or int64 [H, W], depth float32 [H, W], normals float32 [3, H, W].
        kinds: By task, what its labels are: a name of ``REAL_WITHOUT_TRUTH``, or whole numbers under any other.
    """

    image: Tensor
    labels: Mapping[str, Tensor]
    kinds: Mapping[str, str]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.image.shape[-2], self.image.shape[-1]


@dataclass(frozen=True)
class Sampling:
    """How pixels are read between and beyond the pixels that there are.

    Attributes:
        image: Interpolation of the image; likewise ``normals``.
        antialias: Whether an image that shrinks is smoothed first.
        border: Label beyond the picture: ``ignore`` (no truth), or ``background`` (class 0), the error of one family.
        colour: Of the image beyond the picture, 0 to 255.
    """

    image: Interpolation = "bilinear"
    normals: Interpolation = "nearest"
    antialias: bool = True
    border: Literal["ignore", "background"] = "ignore"
    colour: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @property
    def fill(self) -> int:
        """The whole number beyond the picture."""
        return IGNORED if self.border == "ignore" else 0


def mirror(view: View) -> View:
    """Swap left and right."""
    labels = {task: mirrored(label, view.kinds[task]) for task, label in view.labels.items()}
    return replace(view, image=view.image.flip(-1), labels=labels)


def mirrored(label: Tensor, kind: str) -> Tensor:
    """Mirror labels [..., H, W]: normals [..., 3, H, W] negate their x component, classes that say a side swap."""
    label = label.flip(-1)
    if kind == "normals":
        return label * label.new_tensor([-1, 1, 1])[:, None, None]
    if kind in LEFT_AND_RIGHT:
        left, right = LEFT_AND_RIGHT[kind]
        return torch.where(label == left, right, label.masked_fill(label == right, left))
    return label


def rotation(degrees: float, zoom: float, source: tuple[float, float], target: tuple[float, float]) -> np.ndarray:
    """Return the matrix [2, 3] that turns a picture anti-clockwise and enlarges it: point (x, y) to point.

    Args:
        degrees: Of the turn.
        zoom: Factor of all lengths.
        source: Point that comes to lie at ``target``.
        target: Where it comes to lie.
    """
    angle = np.deg2rad(degrees)
    linear = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # y is down
    return np.column_stack([linear, np.array(target) - linear @ np.array(source)])


def warp(view: View, forward: np.ndarray, size: tuple[int, int], sampling: Sampling) -> View:
    """Move every point of a picture by a matrix [2, 3] without shear onto a canvas of ``size`` (height, width)."""
    linear, shift = forward[:, :2], forward[:, 2]
    zoom = float(np.sqrt(abs(np.linalg.det(linear))))
    back = np.linalg.inv(linear)
    rows, columns = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    x, y = columns - shift[0], rows - shift[1]
    where_x, where_y = back[0, 0] * x + back[0, 1] * y, back[1, 0] * x + back[1, 1] * y  # [h, w] in the old picture
    height, width = view.size
    grid = torch.from_numpy(np.stack([(2 * where_x + 1) / width - 1, (2 * where_y + 1) / height - 1], -1)).float()
    nearest = _Nearest.at(where_x, where_y, view.size)

    def smooth(x: Tensor, mode: Interpolation, colour: Tensor) -> Tensor:
        """Sample around the colour of the border, so that beyond the picture there is that colour."""
        around = (x - colour)[None]
        return F.grid_sample(around, grid[None], mode=mode, padding_mode="zeros", align_corners=False)[0] + colour

    turn = torch.tensor(np.diag([1.0, -1.0]) @ (linear / zoom) @ np.diag([1.0, -1.0]), dtype=torch.float32)  # y up
    labels: dict[str, Tensor] = {}
    for task, label in view.labels.items():
        kind = view.kinds[task]
        if kind == "normals":
            mode = sampling.normals
            taken = nearest(label, 0) if mode == "nearest" else unit(smooth(label, mode, torch.zeros(3, 1, 1)))
            labels[task] = torch.cat([torch.einsum("ij,jhw->ihw", turn, taken[:2]), taken[2:]])
        else:
            taken = nearest(label, REAL_WITHOUT_TRUTH.get(kind, sampling.fill))
            labels[task] = nearer(taken, kind, zoom)
    colour = torch.tensor(sampling.colour)[:, None, None]
    return replace(view, image=smooth(view.image, sampling.image, colour), labels=labels)


def resize(view: View, size: tuple[int, int], sampling: Sampling) -> View:
    """Stretch a picture to ``size`` (height, width). Lengths in the scene, depth among them, stay as they are."""
    height, width = view.size
    if size == view.size:
        return view
    rows = ((torch.arange(size[0]) + 0.5) * height / size[0]).long()[:, None]
    columns = ((torch.arange(size[1]) + 0.5) * width / size[1]).long()[None]

    def smooth(x: Tensor, mode: Interpolation, antialias: bool) -> Tensor:
        return F.interpolate(x[None], size, mode=mode, align_corners=False, antialias=antialias)[0]

    labels: dict[str, Tensor] = {}
    for task, label in view.labels.items():
        is_mixed = view.kinds[task] == "normals" and sampling.normals != "nearest"
        labels[task] = unit(smooth(label, sampling.normals, False)) if is_mixed else label[..., rows, columns]
    return replace(view, image=smooth(view.image, sampling.image, sampling.antialias), labels=labels)


def window(view: View, top: int, left: int, size: tuple[int, int], sampling: Sampling) -> View:
    """Cut out the window of ``size`` (height, width) whose corner is (top, left); it may reach beyond the picture."""
    height, width = view.size
    padding = (-left, left + size[1] - width, -top, top + size[0] - height)  # F.pad cuts where it is negative
    labels = {
        task: F.pad(label, padding, value=REAL_WITHOUT_TRUTH.get(view.kinds[task], sampling.fill))
        for task, label in view.labels.items()
    }
    colour = torch.tensor(sampling.colour)[:, None, None]
    return replace(view, image=F.pad(view.image - colour, padding) + colour, labels=labels)


def nearer(label: Tensor, kind: str, zoom: float) -> Tensor:
    """Return a label of a picture that was enlarged: what looks larger is nearer."""
    return label / zoom if kind == "depth" else label * zoom if kind == "disparity" else label


def unit(vectors: Tensor) -> Tensor:
    """Make vectors [3, H, W] unit vectors; where there is none, none appears."""
    length = vectors.square().sum(0).sqrt()
    return torch.where(length > SMALLEST_LENGTH, vectors / length.clamp(min=SMALLEST_LENGTH), 0.0)


@dataclass(frozen=True)
class _Nearest:
    """The nearest pixel of every point of a canvas, and whether there is one: index and mask [h, w]."""

    index: Tensor
    inside: Tensor

    @classmethod
    def at(cls, x: np.ndarray, y: np.ndarray, size: tuple[int, int]) -> "_Nearest":
        # A point exactly between two pixels must not fall to either side by rounding noise of the matrix.
        column, row = np.floor(x + 0.5 + 1e-9).astype(np.int64), np.floor(y + 0.5 + 1e-9).astype(np.int64)
        inside = (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
        return cls(torch.from_numpy(np.where(inside, row * size[1] + column, 0)), torch.from_numpy(inside))

    def __call__(self, label: Tensor, fill: float) -> Tensor:
        taken = label.flatten(-2)[..., self.index]
        return taken.masked_fill(~self.inside, fill)
