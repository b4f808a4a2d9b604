"""Thin lines to a width of one pixel, as MATLAB's ``bwmorph(..., 'thin')`` defines it, 64 masks at once."""

import numpy as np

# Neighbours in the order of the definition, x1 to x8: east, then anti-clockwise.
OFFSETS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin a mask [H, W] until nothing changes more; bool of the same shape."""
    return thin_words(mask.astype(np.uint64)) > 0


def thin_words(masks: np.ndarray) -> np.ndarray:
    """Thin as many masks as a word has bits: mask b is bit b of ``masks`` [H, W], uint64; the same for the result."""
    width = masks.shape[1] + 2
    padded = np.ascontiguousarray(np.pad(masks, 1))  # or the flat form would be a copy
    lit = padded.reshape(-1)
    steps = [row * width + column for row, column in OFFSETS]
    # A pixel is looked at again only after something around it changed; one list for each kind of sub-iteration.
    pending = [lit != 0, lit != 0]
    changed = True
    while changed:
        changed = False
        for second in (False, True):
            looked = np.flatnonzero(pending[second])
            pending[second][:] = False
            leaving = _leaving(lit[looked], [lit[looked + step] for step in steps], second)
            moved = leaving != 0
            gone = looked[moved]
            if not len(gone):
                continue
            changed = True
            lit[gone] &= ~leaving[moved]
            for step in (0, *steps):
                for one in pending:
                    one[gone + step] = lit[gone + step] != 0
    return padded[1:-1, 1:-1]


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
    kept = (x6 | x7 | ~x4) & x5 if second else (x2 | x3 | ~x8) & x1
    return middle & one_crossing & between & ~kept


def _two(sets: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Return where at least two of four are set."""
    a, b, c, d = sets
    return (a & b) | (c & d) | ((a | b) & (c | d))
