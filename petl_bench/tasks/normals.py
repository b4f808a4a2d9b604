"""Surface normals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._draw import hatched, to_uint8
from petl_bench.tasks.base import TASKS, Metric, TaskSpec, image_sums, mean_map

BINS_PER_DEGREE = 100
WITHIN_DEGREES = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}


@TASKS.register("normals")
class SurfaceNormals(TaskSpec):
    """The unit normal of the surface at every pixel. Labels: [B, 3, H, W], all zero where there is no truth."""

    loss_weight = 10.0
    label_resize = "normals"
    ignore = None
    convention = "mean_angular_error"
    convention_version = 1
    primary = "mean_angular_error"
    unit = "deg"
    higher_is_better = False
    fixed_channels = 3

    def loss(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Return the L1 distance of the normalised prediction, mean over components of the batch's valid pixels."""
        _check_shapes(prediction, label)
        valid = (label != 0).any(dim=1, keepdim=True)  # [B, 1, H, W]
        distance = (unit_vectors(prediction) - label).abs() * valid
        return distance.sum() / (3 * valid.sum()).clamp(min=1)

    def metric(self) -> NormalsMetric:
        """Return an empty ``NormalsMetric``."""
        return NormalsMetric()

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw vectors [B, 3, H, W] to unit vectors [B, 3, H, W]."""
        return unit_vectors(prediction)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw normals [H, W, 3] as the colours (n + 1) / 2, [H, W, 3]."""
        return hatched(to_uint8((value + 1) / 2), (value == 0).all(axis=-1, keepdims=True)[..., 0])

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the direction [3, H, W] of the mean normal at each pixel; towards +z where the mean is 0."""
        mean = mean_map((label, (label != 0).any(dim=1)) for label in labels)
        forward = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]
        return unit_vectors(torch.where((mean != 0).any(dim=0), mean, forward))


class NormalsMetric(Metric):
    """Convention ``mean_angular_error``: the angle between prediction and truth in degrees, mean over all valid pixels.

    The field often prints this mean under the name "rmse". Also ``median`` (of a histogram with bins of 0.01 degree:
    within 0.005 of the exact one), ``rmse``, and the percentages ``within_11_25``, ``within_22_5``, ``within_30`` of
    pixels whose angle is smaller. A prediction of length 0 is 90 degrees off. An image's score is its own mean angle.
    """

    def __init__(self) -> None:
        self._sum = 0.0
        self._sum_of_squares = 0.0
        self._valid = 0
        self._within = dict.fromkeys(WITHIN_DEGREES, 0)
        self._histogram = torch.zeros(180 * BINS_PER_DEGREE, dtype=torch.int64)

    @torch.no_grad()
    def update(self, prediction: Tensor, label: Tensor) -> Tensor:
        """Add raw vectors [B, 3, H, W] and labels [B, 3, H, W]; return each image's mean angle [B] in degrees."""
        _check_shapes(prediction, label)
        valid = (label != 0).any(dim=1)  # [B, H, W]
        angles = angles_degrees(prediction, label)  # [B, H, W]
        sums = image_sums(angles.where(valid, 0))
        counts = valid.sum(dim=(1, 2)).cpu()
        self._sum += float(sums.sum())
        self._sum_of_squares += float(image_sums(angles.square().where(valid, 0)).sum())
        self._valid += int(counts.sum())
        kept = angles[valid]
        for key, limit in WITHIN_DEGREES.items():
            self._within[key] += int((kept < limit).sum())
        last = len(self._histogram) - 1
        bins = (kept * BINS_PER_DEGREE).long().clamp(0, last)
        self._histogram += torch.bincount(bins, minlength=last + 1).cpu()
        return sums / counts  # 0 / 0 is NaN

    def compute(self) -> dict[str, float]:
        """Return ``mean_angular_error``, ``median``, ``rmse`` in degrees and the ``within_...`` values in percent."""
        if not self._valid:
            return dict.fromkeys(("mean_angular_error", "median", "rmse", *WITHIN_DEGREES), float("nan"))
        return {
            "mean_angular_error": self._sum / self._valid,
            "median": self._median(),
            "rmse": (self._sum_of_squares / self._valid) ** 0.5,
            **{key: 100 * count / self._valid for key, count in self._within.items()},
        }

    def _median(self) -> float:
        """Return the mean of the centres of the bins of the two middle angles in degrees."""
        ranks = torch.tensor([(self._valid - 1) // 2, self._valid // 2])
        bins = torch.searchsorted(self._histogram.cumsum(0), ranks, right=True)
        return float((bins + 0.5).mean()) / BINS_PER_DEGREE


def unit_vectors(vectors: Tensor) -> Tensor:
    """Normalise along the channel dimension, third from the end, in float32; a zero vector stays zero."""
    vectors = vectors.float()
    # ``torch.linalg.vector_norm`` over this dimension takes sixteen times as long on the CPU.
    squared_length = vectors.square().sum(dim=-3, keepdim=True)
    # Dividing by 1 and not by a tiny number keeps the gradient of a zero output finite and small.
    return vectors * squared_length.where(squared_length > 0, 1.0).rsqrt()


def angles_degrees(first: Tensor, second: Tensor) -> Tensor:
    """Return the angles [B, H, W] in degrees between vectors [B, 3, H, W].

    Computed from the half angle: the arc cosine of a float32 is off by hundredths of a degree near 0 and 180.
    """
    a, b = unit_vectors(first), unit_vectors(second)
    apart = (a - b).square().sum(dim=1).sqrt()
    together = (a + b).square().sum(dim=1).sqrt()
    return torch.rad2deg(2 * torch.atan2(apart, together))


def _check_shapes(prediction: Tensor, label: Tensor) -> None:
    if prediction.shape != label.shape or label.ndim != 4 or label.shape[1] != 3:
        raise ValueError(
            f"Expected a prediction and a label [B, 3, H, W], got {list(prediction.shape)} and {list(label.shape)}."
        )
