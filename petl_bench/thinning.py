"""Thin lines to a width of one pixel, as MATLAB's ``bwmorph(..., 'thin')`` defines it. numpy alone."""

import numpy as np

# Neighbours in the order of the definition: east, then anti-clockwise.
OFFSETS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))


def _removable(second: bool) -> np.ndarray:
    """Return for each of the 256 neighbourhoods whether its middle goes in the first or second sub-iteration.

    Conditions G1, G2, G3 and G3' of Lam, Lee and Suen, 1992, "Thinning methodologies", page 879.
    """
    goes = np.zeros(256, dtype=bool)
    for code in range(256):
        x = [bool(code >> i & 1) for i in range(8)]  # x[0] is x1
        crossings = sum(not x[i] and (x[i + 1] or x[(i + 2) % 8]) for i in (0, 2, 4, 6))
        first = sum(x[i] or x[i + 1] for i in (0, 2, 4, 6))
        other = sum(x[i + 1] or x[(i + 2) % 8] for i in (0, 2, 4, 6))
        kept = (x[5] or x[6] or not x[3]) and x[4] if second else (x[1] or x[2] or not x[7]) and x[0]
        goes[code] = crossings == 1 and 2 <= min(first, other) <= 3 and not kept
    return goes


_GOES = (_removable(False), _removable(True))


def thin(mask: np.ndarray) -> np.ndarray:
    """Thin a mask [..., H, W] of any number of pictures until nothing changes more; bool of the same shape."""
    height, width = mask.shape[-2:]
    lit = np.zeros((*mask.shape[:-2], height + 2, width + 2), dtype=np.uint8)
    middle = lit[..., 1:-1, 1:-1]
    middle[...] = mask
    changed = True
    while changed:
        changed = False
        for goes in _GOES:
            code = np.zeros(mask.shape, dtype=np.uint8)
            for bit, (row, column) in enumerate(OFFSETS):
                code |= lit[..., 1 + row : 1 + row + height, 1 + column : 1 + column + width] << np.uint8(bit)
            leaving = goes[code] & (middle > 0)
            middle[leaving] = 0
            changed |= bool(leaving.any())
    return middle > 0
