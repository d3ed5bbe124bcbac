"""Scores agree with counts by hand and with brute force; a constant map scores at chance."""

import numpy as np
import pytest

from imap.evaluation.scores import auc, average_precision, best_iou, in_object_auc, interval, temporal_correlation


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
