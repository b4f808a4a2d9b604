"""Boundary F: predicted and true lines, thinned, are matched one to one within a tolerance, at many thresholds.

Two readers of a prediction circulate and give other numbers: ``thin99`` cuts the probabilities and thins what is left;
``nms_thin101`` keeps the crest of every line first, as Canny does, along the normal of the line. All thresholds are
matched at once, one bit of a word each.
"""

import numpy as np
from scipy import ndimage

from petl_bench.thinning import thin, thin_all

THIN99 = tuple(percent / 100 for percent in range(1, 100))
THIN101 = (0.001, *THIN99, 0.999)

SMOOTHING = np.convolve(np.ones(5), np.ones(5)) / 25  # a triangle of radius 4
MARGIN = 5  # pixels at the frame where a crest is faded out
MULTIPLIER = 1.01  # a crest may be lower than its neighbours by so much
WORD = 64


def boundary_counts(probability: np.ndarray, truth: np.ndarray, *, tolerance: float) -> dict[str, np.ndarray]:
    """Count what both readers find in one picture.

    Args:
        probability: Of a boundary [H, W]; cut to 8 bits first, as where predictions go through a file.
        truth: Boundaries [H, W], thinned here.
        tolerance: Largest distance of two pixels that may be one, as a share of the picture's diagonal.

    Returns:
        By reader, ``[T, 3]``: pixels matched, pixels predicted, true pixels at each threshold.
    """
    quantised = np.round(np.clip(np.nan_to_num(probability), 0, 1) * 255) / 255
    reach = tolerance * float(np.hypot(*truth.shape))
    lines = thin(truth)
    return {
        "thin99": _counts(np.searchsorted(THIN99, quantised, side="right"), len(THIN99), lines, reach),
        "nms_thin101": _counts(np.searchsorted(THIN101, crests(quantised), side="left"), len(THIN101), lines, reach),
    }


def _counts(exceeded: np.ndarray, thresholds: int, truth: np.ndarray, reach: float) -> np.ndarray:
    """Thin and match at every threshold, given how many of them each pixel [H, W] exceeds."""
    levels, counts = exceeded.astype(np.uint8), list[np.ndarray]()
    for first in range(0, thresholds, WORD):
        masks = thin_all(np.stack([levels > level for level in range(first, min(first + WORD, thresholds))]))
        lines = np.zeros(truth.size, dtype=np.uint64)
        for bit, mask in enumerate(masks):
            lines[np.flatnonzero(mask)] |= np.uint64(1 << bit)
        matched = _per_bit(match(lines.reshape(truth.shape), truth, reach), len(masks))
        predicted = np.count_nonzero(masks, axis=(1, 2))
        counts.append(np.stack([matched, predicted, np.full(len(masks), truth.sum())], axis=1))
    return np.concatenate(counts).astype(np.int32)


def match(lines: np.ndarray, truth: np.ndarray, reach: float) -> np.ndarray:
    """Match the pixels of 64 masks one to one with the true ones: the nearest pairs first.

    Pairs of one distance are taken in the order of their offset, top to bottom and left to right. The pairs of one
    offset share no pixel, so each offset is one step for all pixels and masks.

    Args:
        lines: Masks [H, W], uint64, one a bit.
        truth: True pixels [H, W].
        reach: The largest distance in pixels.

    Returns:
        For every true pixel [N], uint64, in which masks it has a partner.
    """
    radius = int(reach)
    width = truth.shape[1] + 2 * radius
    free = np.pad(lines, radius).reshape(-1)
    rows, columns = np.nonzero(truth)
    places = (rows + radius) * width + columns + radius
    taken = np.zeros(len(places), dtype=np.uint64)
    for row, column in offsets_within(reach):
        at = places + row * width + column
        pairs = free[at] & ~taken
        free[at] ^= pairs
        taken |= pairs
    return taken


def offsets_within(reach: float) -> list[tuple[int, int]]:
    """Return the offsets (row, column) of at most ``reach`` pixels, the nearest first."""
    steps = range(-int(reach), int(reach) + 1)
    near = [(row, column) for row in steps for column in steps if row**2 + column**2 <= reach**2]
    return sorted(near, key=lambda at: (at[0] ** 2 + at[1] ** 2, at))


def _per_bit(words: np.ndarray, bits: int) -> np.ndarray:
    """Count the words [N] that have each of the lowest ``bits`` bits set."""
    split = np.unpackbits(words.view(np.uint8).reshape(-1, 8), axis=1, bitorder="little")
    return split[:, :bits].sum(axis=0, dtype=np.int64)


def crests(values: np.ndarray) -> np.ndarray:
    """Keep values [H, W] that are highest across their line, 0 elsewhere; fade them out at the frame.

    The normal of a line is taken from second derivatives of the smoothed values; neighbours at distance 1 on it are
    interpolated bilinearly.
    """
    smooth = ndimage.convolve1d(ndimage.convolve1d(values, SMOOTHING, axis=0, mode="reflect"), SMOOTHING, axis=1)
    in_y, in_x = np.gradient(smooth)
    xx = np.gradient(in_x, axis=1)
    yy, xy = np.gradient(in_y)
    normal = np.mod(np.arctan(yy * np.sign(-xy) / (xx + 1e-5)), np.pi)
    rows, columns = np.indices(values.shape)
    highest = np.zeros_like(values)
    for side in (-1, 1):
        place = [rows + side * np.sin(normal), columns + side * np.cos(normal)]
        highest = np.maximum(highest, ndimage.map_coordinates(values, place, order=1, mode="nearest"))
    kept = np.where(values * MULTIPLIER < highest, 0.0, values)
    return kept * _fade(values.shape[0])[:, None] * _fade(values.shape[1])


def _fade(side: int) -> np.ndarray:
    """Return factors [side] that rise from 0 at the frame to 1."""
    at = np.arange(side)
    return np.minimum(1.0, np.minimum(at, at[::-1]) / MARGIN)


def ods_f(counts: np.ndarray) -> float:
    """Return the F of counts [N, T, 3] pooled over images, in percent, at the best threshold of all."""
    matched, predicted, true = counts.sum(axis=0, dtype=np.int64).T
    precision = matched / np.maximum(predicted, 1)
    recall = matched / np.maximum(true, 1)
    return 100 * float((2 * precision * recall / np.maximum(precision + recall, 1e-12)).max())
