"""Thinning against a literal form of its definition, and on shapes whose skeleton is known."""

import numpy as np
import pytest

from petl_bench.thinning import thin, thin_all


def literal(mask: np.ndarray) -> np.ndarray:
    """Thin pixel by pixel as Lam, Lee and Suen (1992) state it: x1 is east, the others follow anti-clockwise."""
    lit = np.pad(mask, 1).astype(int)
    while True:
        before = lit.copy()
        for second in (False, True):
            leaving, p = [], lit.tolist()  # plain numbers are read ten times faster than those of an array
            for r, c in np.argwhere(lit).tolist():
                x1, x2, x3, x4 = p[r][c + 1], p[r - 1][c + 1], p[r - 1][c], p[r - 1][c - 1]
                x5, x6, x7, x8 = p[r][c - 1], p[r + 1][c - 1], p[r + 1][c], p[r + 1][c + 1]
                ring = [x1, x2, x3, x4, x5, x6, x7, x8, x1]
                g1 = sum(ring[i] == 0 and (ring[i + 1] == 1 or ring[i + 2] == 1) for i in (0, 2, 4, 6)) == 1
                n1 = (x1 | x2) + (x3 | x4) + (x5 | x6) + (x7 | x8)
                n2 = (x2 | x3) + (x4 | x5) + (x6 | x7) + (x8 | x1)
                g3 = ((x6 | x7 | (1 - x4)) & x5) == 0 if second else ((x2 | x3 | (1 - x8)) & x1) == 0
                if g1 and 2 <= min(n1, n2) <= 3 and g3:
                    leaving.append((r, c))
            for r, c in leaving:
                lit[r, c] = 0
        if (lit == before).all():
            return lit[1:-1, 1:-1] > 0


def test_random_masks_are_thinned_as_the_definition_says() -> None:
    random = np.random.default_rng(0)
    for _ in range(60):
        mask = random.random(random.integers(1, 16, 2)) < random.uniform(0.2, 0.9)
        assert (thin(mask) == literal(mask)).all()
        assert (thin(np.asfortranarray(mask)) == literal(mask)).all()


@pytest.mark.parametrize("width", [17, 63, 64, 65, 130])
def test_masks_are_thinned_together_as_each_alone_whatever_falls_to_the_end_of_a_word(width: int) -> None:
    masks = np.random.default_rng(width).random((9, 12, width)) < np.linspace(0.3, 1, 9)[:, None, None]
    seen = thin_all(masks)
    for one, mask in zip(seen, masks, strict=True):
        assert (one == literal(mask)).all()


def test_a_line_stays_and_a_bar_becomes_one() -> None:
    line = np.zeros((7, 20), dtype=bool)
    line[3] = True
    assert (thin(line) == line).all()
    bar = np.zeros((9, 30), dtype=bool)
    bar[2:7, 2:28] = True
    seen = thin(bar)
    assert seen[4, 6:24].all()
    assert seen.sum(0).max() == 1
