"""Scores agree with counts by hand and with brute force; a constant map scores at chance."""

import numpy as np
import pytest

from imap.evaluation.scores import (
    auc,
    average_precision,
    best_iou,
    frame_energy,
    in_object_auc,
    interval,
    pointing_game,
    relevance_mass,
    temporal_auc,
    temporal_correlation,
)


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    truth = rng.random((7, 8, 8)) < 0.1
    return rng.normal(size=truth.shape) + truth, truth


def test_average_precision_agrees_with_a_count_by_hand():
    x, truth = np.array([4.0, 3, 2, 1]).reshape(1, 2, 2), np.array([1, 0, 1, 0], bool).reshape(1, 2, 2)
    assert average_precision(x, truth) == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)


def test_a_flat_map_scores_the_share_of_true_cells(drawn):
    _, truth = drawn
    assert average_precision(np.zeros(truth.shape), truth) == pytest.approx(truth.mean())
    assert best_iou(np.zeros(truth.shape), truth) == pytest.approx(truth.mean())
    assert auc(np.zeros(truth.shape), truth, ~truth) == 0.5


def test_auc_counts_pairs_of_positive_and_negative_cells(drawn):
    x, truth = drawn
    positive, negative = truth.copy(), ~truth
    negative[:3] = False
    pairs = x[positive][:, None] - x[negative][None]
    assert auc(x, positive, negative) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_best_iou_is_the_best_over_all_thresholds(drawn):
    x, truth = drawn
    x = x.round(1)  # ties
    brute = max((truth & (x >= level)).sum() / (truth | (x >= level)).sum() for level in np.unique(x))
    assert best_iou(x, truth) == pytest.approx(brute)


def test_in_object_auc_depends_on_time_and_not_on_place():
    place = np.zeros((4, 3, 3), bool)
    place[:, 1, 1] = True
    moving = np.array([False, True, True, False])
    everywhere = np.broadcast_to(moving[:, None, None], place.shape).astype(float)
    assert in_object_auc(everywhere, place, moving) == 1
    assert in_object_auc(place.astype(float), place, moving) == 0.5
    assert in_object_auc(1 - everywhere, place, moving) == 0
    outside = np.where(place, 0.0, everywhere)
    assert in_object_auc(outside, place, moving) == 0.5


def test_temporal_correlation_is_pearsons_correlation():
    moving = np.array([0, 1, 1, 0, 0], bool)
    energy = np.array([1.0, 4, 2, 2, 0])
    x = np.broadcast_to(energy[:, None, None], (5, 2, 3))
    assert temporal_correlation(x, moving) == pytest.approx(np.corrcoef(energy, moving)[0, 1])


def test_undefined_scores_are_nan_and_left_out_of_the_mean():
    x, nothing, all_true = np.ones((2, 2, 2)), np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    for value in (
        average_precision(x, nothing),
        best_iou(x, nothing),
        auc(x, all_true, nothing),
        in_object_auc(x, all_true, np.array([True, True])),
        temporal_correlation(x, np.array([True, False])),
    ):
        assert np.isnan(value)
    assert interval([1.0, float("nan"), 3.0])[0] == 2.0
    assert np.isnan(interval([float("nan")])[0])


def test_the_interval_agrees_with_the_normal_approximation():
    values = np.random.default_rng(1).normal(5, 2, size=100)
    mean, low, high = interval(values)
    assert mean == pytest.approx(values.mean())
    half = 1.96 * values.std() / 10
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.1)
    assert interval(values) == (mean, low, high)


def test_relevance_mass_is_counted_by_hand_above_the_lowest_value():
    x, truth = np.array([[[2.0, 3], [5, 4]]]), np.array([[[0, 1], [1, 0]]], bool)
    assert relevance_mass(x, truth) == pytest.approx((1 + 3) / (0 + 1 + 3 + 2))
    assert relevance_mass(3 * x - 7, truth) == pytest.approx(4 / 6), "the scale of a map says nothing"
    known = np.array([[[0, 1], [1, 1]]], bool)  # the lowest known value is 3
    assert relevance_mass(x, truth, known) == pytest.approx(2 / 3)


def test_relevance_mass_of_flat_maps_and_empty_masks():
    truth, known = np.zeros((1, 2, 4), bool), np.ones((1, 2, 4), bool)
    assert np.isnan(relevance_mass(np.arange(8.0).reshape(1, 2, 4), truth))
    truth[0, 0, :2], known[0, 1, :2] = True, False
    assert relevance_mass(np.full((1, 2, 4), 3.0), truth) == 2 / 8
    assert relevance_mass(np.full((1, 2, 4), 3.0), truth, known) == 2 / 6
    assert np.isnan(relevance_mass(np.zeros((1, 2, 4)), truth, ~truth))


def test_the_pointing_game_takes_the_highest_cell_of_each_frame_with_the_object():
    truth = np.zeros((4, 30, 40), bool)  # a diagonal of 50 cells: a tolerance of 1.2
    truth[:3, 10, 10] = True
    x = np.zeros(truth.shape)
    x[0, 10, 11] = x[1, 11, 11] = x[2, 10, 10] = x[3, 0, 0] = 1  # 1 away, 1.41 away, on it, no object
    assert pointing_game(x, truth) == pytest.approx(2 / 3)
    assert pointing_game(x, truth, tolerance=0.03) == 1  # 1.5
    assert pointing_game(x, truth, tolerance=0) == pytest.approx(1 / 3)
    assert np.isnan(pointing_game(x, np.zeros_like(truth)))


def test_equal_peaks_hit_by_their_share_and_unknown_cells_do_not_count():
    truth, known = np.zeros((1, 4, 4), bool), np.ones((1, 4, 4), bool)
    truth[0, 0, :2] = True
    x = np.zeros(truth.shape)
    assert pointing_game(x, truth) == 2 / 16
    x[0, 0, 0] = x[0, 3, :3] = 1
    assert pointing_game(x, truth) == 1 / 4
    known[0, 3] = False
    assert pointing_game(x, truth, known) == 1
    known[0, 0] = False
    assert np.isnan(pointing_game(x, truth, known))


def test_temporal_auc_compares_moving_frames_with_still_ones():
    x = np.broadcast_to(np.array([1.0, 4, 2, 2, 0])[:, None, None], (5, 2, 3))
    moving = np.array([0, 1, 1, 0, 0], bool)
    assert temporal_auc(frame_energy(x), moving) == pytest.approx((3 + 2.5) / 6)
    assert np.isnan(temporal_auc(frame_energy(x), np.ones(5, bool)))


def test_the_energy_of_a_frame_is_of_its_known_cells():
    x, known = np.arange(12.0).reshape(3, 2, 2), np.ones((3, 2, 2), bool)
    known[0, 0, 0], known[2] = False, False
    np.testing.assert_array_equal(frame_energy(x), [1.5, 5.5, 9.5])
    np.testing.assert_array_equal(frame_energy(x, known), [2, 5.5, np.nan])
    assert temporal_auc(frame_energy(x, known), np.array([False, True, True])) == 1, "nan is not the lowest energy"


def test_auc_of_no_cells_is_not_defined():
    none = np.zeros((1, 2, 2), bool)
    assert np.isnan(auc(np.zeros((1, 2, 2)), none, none)) and np.isnan(auc(np.zeros((1, 2, 2)), ~none, none))
    assert np.isnan(average_precision(np.zeros((1, 2, 2)), none))
