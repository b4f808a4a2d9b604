"""Thinning against a literal form of its definition, and on shapes whose skeleton is known."""

import numpy as np

from petl_bench.thinning import thin, thin_words


def literal(mask: np.ndarray) -> np.ndarray:
    """Thin pixel by pixel as Lam, Lee and Suen (1992) state it: x1 is east, the others follow anti-clockwise."""
    lit = np.pad(mask, 1).astype(int)
    while True:
        before = lit.copy()
        for second in (False, True):
            leaving = []
            for r, c in zip(*np.nonzero(lit), strict=True):
                x1, x2, x3, x4 = lit[r, c + 1], lit[r - 1, c + 1], lit[r - 1, c], lit[r - 1, c - 1]
                x5, x6, x7, x8 = lit[r, c - 1], lit[r + 1, c - 1], lit[r + 1, c], lit[r + 1, c + 1]
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


def test_the_masks_of_a_word_are_thinned_as_each_alone() -> None:
    masks = np.random.default_rng(1).random((64, 12, 17)) < np.linspace(0.1, 1, 64)[:, None, None]
    words = np.zeros((12, 17), dtype=np.uint64)
    for bit, mask in enumerate(masks):
        words |= mask.astype(np.uint64) << np.uint64(bit)
    seen = thin_words(words)
    for bit, mask in enumerate(masks):
        assert ((seen >> np.uint64(bit) & np.uint64(1)) == thin(mask)).all()


def test_a_line_stays_and_a_bar_becomes_one() -> None:
    line = np.zeros((7, 20), dtype=bool)
    line[3] = True
    assert (thin(line) == line).all()
    bar = np.zeros((9, 30), dtype=bool)
    bar[2:7, 2:28] = True
    seen = thin(bar)
    assert seen[4, 6:24].all()
    assert seen.sum(0).max() == 1
