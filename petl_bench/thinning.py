"""Thin lines to a width of one pixel, as MATLAB's ``bwmorph(..., 'thin')`` defines it, 64 pixels of a row at once."""

import numpy as np

WORD = 64
CHUNK = 2  # masks that are worked on together: their words stay in the processor's cache


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin a mask [H, W] until nothing changes more; bool of the same shape."""
    return thin_all(mask[None])[0]


def thin_all(masks: np.ndarray) -> np.ndarray:
    """Thin each of the masks [N, H, W]; bool of the same shape."""
    number, height, width = masks.shape
    words = -(-(width + 1) // WORD)  # a row ends with at least one bit that is not set, the west of the next row
    lit = np.zeros((number, height + 2, words * WORD), dtype=bool)
    lit[:, 1:-1, :width] = masks
    packed = np.packbits(lit, axis=-1, bitorder="little").view(np.uint64)
    for first in range(0, number, CHUNK):
        _thin_rows(packed[first : first + CHUNK].reshape(-1), words)
    rows = np.unpackbits(packed.view(np.uint8), axis=-1, bitorder="little")
    return rows[:, 1:-1, :width].astype(bool)


def _thin_rows(x: np.ndarray, words: int) -> None:
    """Thin, in place, rows of ``words`` words end to end; the first and last rows are empty, and so are last bits."""
    east, west = np.zeros_like(x), np.zeros_like(x)
    above, here, below = slice(None, -2 * words), slice(words, -words), slice(2 * words, None)
    middle, changed = x[here], True
    while changed:
        changed = False
        for second in (False, True):
            east[:-1] = x[:-1] >> 1 | x[1:] << 63
            west[1:] = x[1:] << 1 | x[:-1] >> 63
            # In the order of the definition, x1 to x8: east, then anti-clockwise.
            around = [east[here], east[above], x[above], west[above], west[here], west[below], x[below], east[below]]
            leaving = _leaving(middle, around, second)
            if leaving.any():
                changed = True
                middle ^= leaving


def _leaving(middle: np.ndarray, around: list[np.ndarray], second: bool) -> np.ndarray:
    """Return the bits that go in the first or second sub-iteration.

    Conditions G1, G2, G3 and G3' of Lam, Lee and Suen, 1992, "Thinning methodologies", page 879.
    """
    x1, x2, x3, x4, x5, x6, x7, x8 = around
    odd = (x1 | x2, x3 | x4, x5 | x6, x7 | x8)
    even = (x2 | x3, x4 | x5, x6 | x7, x8 | x1)
    b1, b2, b3, b4 = ~x1 & even[0], ~x3 & even[1], ~x5 & even[2], ~x7 & even[3]
    one_crossing = (b1 ^ b2) & ~(b3 | b4) | (b3 ^ b4) & ~(b1 | b2)
    between = _two(odd) & _two(even) & ~(odd[0] & odd[1] & odd[2] & odd[3] & even[0] & even[1] & even[2] & even[3])
    kept = (even[2] | ~x4) & x5 if second else (even[0] | ~x8) & x1
    return middle & one_crossing & between & ~kept


def _two(sets: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return where at least two of four are set."""
    a, b, c, d = sets
    return (a & b) | (c & d) | ((a | b) & (c | d))
