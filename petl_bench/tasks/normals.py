"""Surface normals."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from petl_bench.tasks._draw import hatched, to_uint8
from petl_bench.tasks.base import TASKS, Statistics, TaskSpec, image_sums, mean_map, no_values

BINS_PER_DEGREE = 4  # so that the limits of WITHIN_DEGREES are edges of bins
WITHIN_DEGREES = {"within_11_25": 11.25, "within_22_5": 22.5, "within_30": 30.0}


@TASKS.register("normals")
class SurfaceNormals(TaskSpec):
    """The unit normal of the surface at every pixel. Labels: [B, 3, H, W], all zero or not finite without truth.

    Metrics of the angle between prediction and truth over all valid pixels of the set; a prediction of length 0 is 90
    degrees off:
    ``mean_angular_error`` in degrees, which the field often prints under the name "rmse"; ``median``, of counts in bins
    of 0.25 degree, by straight lines inside the bin; ``rmse``; and the percentages ``within_11_25``, ``within_22_5``,
    ``within_30`` of pixels whose angle is smaller. An image's score is its own mean angle.
    """

    loss_weight = 10.0
    metrics = {
        "mean_angular_error": ("deg", False, "1"),
        "median": ("deg", False, "2"),
        "rmse": ("deg", False, "1"),
        "within_11_25": ("%", True, "1"),
        "within_22_5": ("%", True, "1"),
        "within_30": ("%", True, "1"),
    }
    primary = "mean_angular_error"
    fixed_channels = 3

    def loss(self, prediction: Tensor, label: Tensor, whole: Tensor | None = None) -> Tensor:
        """Return the L1 distance of the normalised prediction, mean over components of the batch's valid pixels."""
        _check_shapes(prediction, label)
        valid = is_valid(label).unsqueeze(1)  # [B, 1, H, W]
        # A label that is no number times a mask of 0 would still be none.
        distance = (unit_vectors(prediction) - label.where(valid, 0)).abs() * valid
        return distance.sum() / (3 * (valid if whole is None else is_valid(whole)).sum()).clamp(min=1)

    def statistics(self, prediction: Tensor, label: Tensor) -> dict[str, Tensor]:
        """Return ``angle_sum`` [B] in degrees, ``square_sum`` [B] and ``histogram`` [B, bins] of the angles."""
        _check_shapes(prediction, label)
        valid = is_valid(label)
        truth = label.where(valid.unsqueeze(1), 0)
        angles = angles_degrees(prediction.double(), truth.double())  # [B, H, W]; float32 would depend on the batch
        bins = (angles * BINS_PER_DEGREE).nan_to_num(180 * BINS_PER_DEGREE).long().clamp(max=180 * BINS_PER_DEGREE - 1)
        image = torch.arange(len(label), device=label.device)[:, None, None]
        shape = (len(label), 180 * BINS_PER_DEGREE)
        histogram = torch.bincount((image * shape[1] + bins)[valid], minlength=shape[0] * shape[1]).view(shape)
        return {
            "angle_sum": image_sums(angles.where(valid, 0)),
            "square_sum": image_sums(angles.square().where(valid, 0)),
            "histogram": histogram.to(torch.int32),
        }

    def values(self, statistics: Statistics) -> dict[str, float]:
        """Return the metrics of a set of images from sums and counts of angles."""
        histogram = statistics["histogram"].sum(axis=0, dtype=np.int64)
        valid = int(histogram.sum())
        if not valid:
            return no_values(self)
        return {
            "mean_angular_error": float(statistics["angle_sum"].sum() / valid),
            "median": _median(histogram),
            "rmse": float((statistics["square_sum"].sum() / valid) ** 0.5),
            **{
                name: float(100 * histogram[: round(limit * BINS_PER_DEGREE)].sum() / valid)
                for name, limit in WITHIN_DEGREES.items()
            },
        }

    def scores(self, statistics: Statistics) -> np.ndarray:
        """Return every image's own mean angle in degrees."""
        with np.errstate(invalid="ignore"):
            return statistics["angle_sum"] / statistics["histogram"].sum(axis=1)  # 0 / 0 is NaN

    def decode(self, prediction: Tensor) -> Tensor:
        """Map raw vectors [B, 3, H, W] to unit vectors [B, 3, H, W]."""
        return unit_vectors(prediction)

    def render(self, value: np.ndarray) -> np.ndarray:
        """Draw normals [H, W, 3] as the colours (n + 1) / 2, [H, W, 3]."""
        return hatched(to_uint8((value + 1) / 2), (value == 0).all(axis=-1, keepdims=True)[..., 0])

    def trivial(self, labels: Iterable[Tensor]) -> Tensor:
        """Return the direction [3, H, W] of the mean normal at each pixel; towards +z where the mean is 0."""
        mean = mean_map((label, is_valid(label)) for label in labels)
        forward = torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64)[:, None, None]
        return unit_vectors(torch.where((mean != 0).any(dim=0), mean, forward)).float()


def is_valid(label: Tensor) -> Tensor:
    """Return where [B, H, W] a label [B, 3, H, W] is a direction: finite and not all zero."""
    return (label != 0).any(dim=1) & label.isfinite().all(dim=1)


def _median(histogram: np.ndarray) -> float:
    """Return the median of angles counted in bins, in degrees: by straight lines inside its bin."""
    below = np.concatenate([[0], histogram.cumsum()])
    half = below[-1] / 2
    at = int(np.searchsorted(below, half, side="left")) - 1
    at = max(at, 0)
    return (at + (half - below[at]) / histogram[at]) / BINS_PER_DEGREE


def unit_vectors(vectors: Tensor) -> Tensor:
    """Normalise along the channel dimension, third from the end, in float32 or float64; a zero vector stays zero."""
    vectors = vectors if vectors.dtype == torch.float64 else vectors.float()
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
