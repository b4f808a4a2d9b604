"""Closed forms and properties of the statistics."""

import math

import numpy as np
import pytest

from petl_bench.delta import delta_m
from petl_bench.report import stats

UP = {"semseg": True, "normals": False}


def test_delta_m_is_the_mean_relative_gain_with_the_sign_of_each_task():
    reference = {"semseg": 50.0, "normals": 20.0}
    scores = {"semseg": 55.0, "normals": 19.0}
    assert delta_m(scores, reference, UP) == pytest.approx((10.0 + 5.0) / 2)


def test_delta_m_of_the_reference_against_itself_is_zero():
    reference = {"semseg": 41.7, "normals": 23.9}
    assert delta_m(reference, reference, UP) == 0.0


@pytest.mark.parametrize("factor", [1e-3, 0.5, 7.0, 1e4])
def test_delta_m_does_not_depend_on_the_unit_of_a_task(factor: float):
    reference, scores = {"semseg": 50.0, "normals": 20.0}, {"semseg": 48.0, "normals": 21.0}
    scaled_reference = {**reference, "normals": 20.0 * factor}
    scaled_scores = {**scores, "normals": 21.0 * factor}
    expected = delta_m(scores, reference, UP)
    assert delta_m(scaled_scores, scaled_reference, UP) == pytest.approx(expected)


def test_delta_m_changes_sign_with_the_direction_of_every_task():
    reference, scores = {"semseg": 50.0, "normals": 20.0}, {"semseg": 48.0, "normals": 21.0}
    flipped = {task: not up for task, up in UP.items()}
    assert delta_m(scores, reference, flipped) == pytest.approx(-delta_m(scores, reference, UP))


def test_delta_m_reads_only_the_tasks_of_the_reference():
    assert delta_m({"semseg": 55.0, "depth": 0.1}, {"semseg": 50.0}, UP) == pytest.approx(10.0)


@pytest.mark.parametrize("reference", [{}, {"semseg": 0.0}])
def test_delta_m_refuses_no_task_and_a_reference_of_zero(reference: dict[str, float]):
    with pytest.raises(ValueError, match="delta_m"):
        delta_m({"semseg": 1.0}, reference, UP)


def test_floor_corrected_gain_is_zero_at_the_reference_and_minus_hundred_at_the_trivial_predictor():
    reference, trivial = {"semseg": 50.0, "normals": 20.0}, {"semseg": 10.0, "normals": 40.0}
    assert stats.floor_corrected_gain(reference, reference, trivial) == 0.0
    assert stats.floor_corrected_gain(trivial, reference, trivial) == pytest.approx(-100.0)


def test_floor_corrected_gain_follows_its_equation_in_both_directions():
    scores = {"semseg": 54.0, "normals": 21.0}
    reference, trivial = {"semseg": 50.0, "normals": 20.0}, {"semseg": 10.0, "normals": 40.0}
    semseg, normals = (54 - 10) / (50 - 10) - 1, (21 - 40) / (20 - 40) - 1
    assert stats.floor_corrected_gain(scores, reference, trivial) == pytest.approx(100 * (semseg + normals) / 2)


@pytest.mark.parametrize("shift", [-5.0, 3.0, 100.0])
def test_floor_corrected_gain_does_not_change_when_all_scores_are_shifted(shift: float):
    score, reference, trivial = 54.0, 50.0, 10.0
    expected = stats.floor_corrected_gain({"t": score}, {"t": reference}, {"t": trivial})
    shifted = stats.floor_corrected_gain({"t": score + shift}, {"t": reference + shift}, {"t": trivial + shift})
    assert shifted == pytest.approx(expected)


def test_floor_corrected_gain_refuses_a_reference_on_the_floor():
    with pytest.raises(ValueError, match="trivial"):
        stats.floor_corrected_gain({"t": 1.0}, {"t": 2.0}, {"t": 2.0})


def test_mean_and_sd_divides_by_n_minus_one():
    estimate = stats.mean_and_sd([1.0, 2.0, 6.0])
    assert estimate.mean == pytest.approx(3.0)
    assert estimate.sd == pytest.approx(math.sqrt((4 + 1 + 9) / 2))
    assert estimate.n == 3


def test_a_single_value_has_no_standard_deviation():
    estimate = stats.mean_and_sd([4.0])
    assert (estimate.mean, estimate.n) == (4.0, 1)
    assert math.isnan(estimate.sd)


def test_mean_and_sd_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no value"):
        stats.mean_and_sd([])


def test_reference_error_of_one_task_follows_the_first_order_formula():
    seeds = [49.0, 50.0, 51.0]
    expected = 100 * 45.0 / 50.0**2 * np.std(seeds, ddof=1) / math.sqrt(3)
    assert stats.reference_error({"semseg": 45.0}, {"semseg": seeds}, UP) == pytest.approx(expected)


def test_reference_errors_of_two_tasks_add_in_squares_when_the_seeds_are_uncorrelated():
    seeds = {"semseg": [49.0, 49.0, 51.0, 51.0], "normals": [19.5, 20.5, 19.5, 20.5]}
    scores = {"semseg": 50.0, "normals": 20.0}
    alone = [stats.reference_error(scores, {task: values}, UP) for task, values in seeds.items()]
    assert stats.reference_error(scores, seeds, UP) == pytest.approx(math.hypot(*alone) / 2)


def test_reference_errors_cancel_when_a_seed_lifts_one_task_as_much_as_it_lowers_the_other():
    seeds = {"semseg": [49.0, 51.0], "normals": [49.0, 51.0]}
    scores = {"semseg": 50.0, "normals": 50.0}
    assert stats.reference_error(scores, seeds, UP) == pytest.approx(0.0)
    both_up = {"semseg": True, "normals": True}
    assert stats.reference_error(scores, seeds, both_up) > 1


def test_reference_error_agrees_with_resampled_references():
    generator = np.random.default_rng(3)
    deltas = []
    for _ in range(4000):
        mean = float(np.mean(generator.normal(50.0, 0.8, size=3)))
        deltas.append(delta_m({"semseg": 47.0}, {"semseg": mean}, UP))
    seeds = [50.0 - 0.8, 50.0, 50.0 + 0.8]
    assert stats.reference_error({"semseg": 47.0}, {"semseg": seeds}, UP) == pytest.approx(np.std(deltas), rel=0.05)


def test_reference_error_of_a_single_seed_is_unknown():
    assert math.isnan(stats.reference_error({"semseg": 1.0}, {"semseg": [1.0]}, UP))


def test_reference_error_refuses_tasks_with_different_numbers_of_seeds():
    with pytest.raises(ValueError, match="same seeds"):
        stats.reference_error({"semseg": 1.0, "normals": 1.0}, {"semseg": [1.0], "normals": [1.0, 2.0]}, UP)


def test_separation_counts_pooled_standard_deviations():
    pooled = math.sqrt((2.0 + 8.0) / 4)
    assert stats.separation([9.0, 10.0, 11.0], [2.0, 4.0, 6.0], higher_is_better=True) == pytest.approx(6 / pooled)
    assert stats.separation([9.0, 10.0, 11.0], [2.0, 4.0, 6.0], higher_is_better=False) == pytest.approx(-6 / pooled)


def test_separation_from_a_constant_uses_the_seeds_of_the_other():
    assert stats.separation([9.0, 10.0, 11.0], [4.0], higher_is_better=True) == pytest.approx(6.0)


def test_separation_is_unknown_without_seeds_but_a_loss_is_a_loss():
    assert math.isnan(stats.separation([3.0], [2.0], higher_is_better=True))
    assert stats.separation([2.0], [3.0], higher_is_better=True) == -math.inf


@pytest.mark.parametrize(("better", "expected"), [(3.0, math.inf), (2.0, 0.0), (1.0, -math.inf)])
def test_separation_of_equal_seeds_is_all_or_nothing(better: float, expected: float):
    assert stats.separation([better, better], [2.0, 2.0], higher_is_better=True) == expected


def test_pictures_show_a_small_shift_that_is_common_to_all_images():
    generator = np.random.default_rng(1)
    second = generator.normal(50.0, 20.0, size=200)
    first = second + 0.5 + generator.normal(0.0, 0.2, size=200)
    found = stats.trained_models_on_pictures(first, second)
    assert found.n == 200
    assert found.difference == pytest.approx(np.mean(first - second))
    assert 0.4 < found.low < found.difference < found.high < 0.6
    assert found.p_value < 1e-10


def test_pictures_of_five_gains_has_the_exact_two_sided_p_value():
    assert stats.trained_models_on_pictures(
        [2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0]
    ).p_value == pytest.approx(2 / 2**5)


def test_pictures_changes_sign_when_the_two_change_places():
    generator = np.random.default_rng(2)
    first, second = generator.normal(size=40), generator.normal(size=40)
    there, back = stats.trained_models_on_pictures(first, second), stats.trained_models_on_pictures(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert there.p_value == pytest.approx(back.p_value)


def test_pictures_leaves_out_images_without_a_score():
    found = stats.trained_models_on_pictures([1.0, math.nan, 3.0], [0.0, 5.0, 1.0])
    assert (found.n, found.difference) == (2, pytest.approx(1.5))


def test_pictures_of_equal_scores_finds_nothing():
    found = stats.trained_models_on_pictures([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.difference, found.low, found.high, found.p_value) == (0.0, 0.0, 0.0, 1.0)


def test_pictures_refuses_different_lengths():
    with pytest.raises(ValueError, match="one length"):
        stats.trained_models_on_pictures([1.0, 2.0], [1.0])
