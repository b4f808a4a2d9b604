"""Exact tests over seeds, their correction, and letters, against values worked out by hand."""

from pathlib import Path

import numpy as np
import pytest
from report_store import ROLES, analysed, text_of, usual, write

from petl_bench.report.analysis import analyse
from petl_bench.report.groups import comparisons
from petl_bench.report.load import load
from petl_bench.report.significance import holm, letters, seeds_needed, share_better, sign_flip_p, smallest_p


def test_the_sign_flip_test_counts_patterns() -> None:
    assert float(sign_flip_p([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)  # only + + + and - - - are as far out
    assert float(sign_flip_p([3.0, 2.0, -1.0])) == pytest.approx(4 / 8)  # sums 6 and 4, up and down
    assert float(sign_flip_p([1.0] * 6)) == pytest.approx(2 / 64)
    assert float(sign_flip_p([1.0, -1.0])) == 1.0


def test_the_sign_flip_test_takes_many_tests_at_once() -> None:
    rows = np.random.default_rng(0).standard_normal((4, 7))
    assert sign_flip_p(rows) == pytest.approx([float(sign_flip_p(row)) for row in rows])


def test_holm_multiplies_by_the_tests_that_are_left_and_never_falls() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.5, 0.9]) == (1.0, 1.0)
    assert holm([0.02]) == (0.02,)


@pytest.mark.parametrize(("comparisons", "needed"), [(1, 6), (2, 7), (15, 10), (20, 10), (21, 10), (26, 11)])
def test_so_many_seeds_are_needed_and_one_fewer_is_not_enough(comparisons: int, needed: int) -> None:
    assert seeds_needed(comparisons) == needed
    assert comparisons * smallest_p(needed) <= 0.05 < comparisons * smallest_p(needed - 1)


def test_the_share_of_seeds_has_the_exact_interval() -> None:
    share, low, high = share_better([1.0, 2.0, 3.0])
    assert (share, high) == (1.0, 1.0)
    assert low == pytest.approx(0.025 ** (1 / 3))  # all of three won
    assert share_better([1.0, 0.0])[0] == 0.75


def test_items_share_a_letter_exactly_if_they_are_not_apart() -> None:
    assert letters("xyz", []) == {"x": "a", "y": "a", "z": "a"}
    assert letters("xyz", [("x", "z")]) == {"x": "a", "y": "ab", "z": "b"}
    draw, items = np.random.default_rng(0), "stuvwxyz"
    every = [(a, b) for a in items for b in items if a < b]
    for _ in range(50):
        apart = {pair for pair in every if draw.random() < 0.4}
        given = letters(items, sorted(apart))
        for one, other in every:
            assert (not set(given[one]) & set(given[other])) == ((one, other) in apart)
        assert "a" in given["s"]


def test_with_three_seeds_the_page_says_that_nothing_can_be_significant(tmp_path: Path) -> None:
    text = text_of(tmp_path, [*usual("single", 0.0), *usual("decoders", -0.2), *usual("vmt", 0.02)])
    assert "### Methods, over seeds" in text
    assert "the test of 3 seeds has no p below 0.25. A single comparison needs 6 seeds" in text
    assert "the 3 comparisons of this table need 7 (`--seeds 0-6`)" in text


def test_enough_seeds_tell_methods_apart_and_leave_equal_ones_in_one_tier(tmp_path: Path) -> None:
    seeds = range(8)
    cases = [*usual("single", 0.0, seeds=seeds, spread=0.004), *usual("decoders", -0.2, seeds=seeds, spread=0.004)]
    for seed in seeds:
        gap = 0.01 if seed % 2 else -0.01
        cases += [*usual("vmt", 0.05 + gap, seeds=[seed]), *usual("lora", 0.05 - gap, seeds=[seed])]
    found = analysed(tmp_path, cases).seeds
    assert found is not None
    assert found.tiers["vmt"] == found.tiers["lora"] == "a"
    assert len({found.tiers[label] for label in ("vmt", "single", "decoders")}) == 3
    pair = found.between("single", "vmt") or found.between("vmt", "single")
    assert pair is not None
    assert pair.p_value == pytest.approx(2 / 2**8)
    assert pair.p_holm == pytest.approx(6 * 2 / 2**8)
    assert "5 of 6 differences are significant" in found.notes[0]


def test_rows_that_share_no_images_are_paired_by_number_alone_and_say_so(tmp_path: Path) -> None:
    wide = ROLES.model_copy(update={"axes": ("method", "dataset.image_size")})
    cases = [*usual("single", 0.0), *usual("vmt", 0.1, image_size=96)]
    (comparison,) = comparisons(load([write(tmp_path / "runs", cases)]).runs, wide)
    found = analyse(comparison, wide, {}).seeds
    assert found is not None
    assert "Rows differ in `dataset.image_size`" in found.notes[1]
