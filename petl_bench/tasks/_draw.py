"""Colours of the pictures: classes, grey, a perceptually uniform scale, and hatching where there is no truth."""

from __future__ import annotations

import numpy as np

# Class 0, then the colours of Okabe and Ito (2008) that are told apart with any colour vision, then lighter and darker
# ones of other hues: classes are ordered so that the frequent, first ones differ most.
PALETTE = np.array(
    [
        (40, 40, 40),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (240, 228, 66),
        (0, 114, 178),
        (213, 94, 0),
        (204, 121, 167),
        (136, 34, 85),
        (221, 204, 119),
        (51, 34, 136),
        (160, 240, 170),
        (140, 80, 40),
        (190, 190, 190),
        (255, 170, 170),
        (0, 90, 80),
        (165, 145, 230),
        (110, 120, 20),
        (20, 210, 210),
        (150, 0, 20),
        (120, 120, 120),
    ],
    dtype=np.uint8,
)

# Nine equally spaced colours of the viridis map (van der Walt and Smith, 2015), even steps in lightness.
VIRIDIS = np.array(
    [
        (68, 1, 84),
        (71, 45, 123),
        (59, 82, 139),
        (44, 114, 142),
        (33, 145, 140),
        (40, 174, 128),
        (94, 201, 98),
        (173, 220, 48),
        (253, 231, 37),
    ],
    dtype=np.uint8,
)


def draw_classes(classes: np.ndarray, ignored: int) -> np.ndarray:
    """Draw class numbers [H, W] as RGB [H, W, 3]; from class 21 on the colours return, darker each time."""
    turn, colour = np.divmod(classes.astype(np.int64), len(PALETTE))
    brightness = 0.6 ** turn.clip(0)[..., None]
    return hatched((PALETTE[colour] * brightness).astype(np.uint8), classes == ignored)


def draw_grey(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Draw values [H, W] from 0 (black) to 1 (white) as RGB [H, W, 3], hatched where ``missing`` [H, W]."""
    return hatched(np.repeat(to_uint8(values)[..., None], 3, axis=-1), missing)


def draw_scalar(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Draw values [H, W] from 0 to 1 in viridis colours [H, W, 3], hatched where ``missing`` [H, W]."""
    stops = np.linspace(0, 1, len(VIRIDIS))
    position = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0)
    rgb = [np.interp(position, stops, VIRIDIS[:, channel]) for channel in range(3)]
    return hatched(np.stack(rgb, axis=-1).round().astype(np.uint8), missing)


def to_uint8(values: np.ndarray) -> np.ndarray:
    """Map values from 0 to 1, clipped, to 0 to 255 of the same shape, uint8; NaN to 0."""
    clipped = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=0.0).clip(0, 1)
    return (clipped * 255).round().astype(np.uint8)


def hatched(picture: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Return ``picture`` [H, W, 3] with white and light grey diagonals where ``missing`` [H, W]."""
    rows, columns = np.indices(missing.shape)
    stripes = np.where((rows + columns) // 4 % 2, 255, 215).astype(np.uint8)[..., None]
    return np.where(missing[..., None], stripes, picture)
