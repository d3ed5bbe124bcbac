"""Average precision and AUC of rows are scikit-learn's, with ties, and with cells that do not count."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from imap.evaluation.ranking import rankings


@pytest.mark.parametrize("digits", [0, 1, 9], ids=["many ties", "some ties", "no ties"])
def test_rows_score_as_scikit_learn_scores_each(digits):
    rng = np.random.default_rng(digits)
    positive, counted = rng.random((9, 60)) < 0.3, rng.random((9, 60)) < 0.7
    x = (rng.normal(size=positive.shape) + positive).round(digits).astype(np.float32)
    ap, area = rankings(x, positive, counted)
    for row in range(len(x)):
        values, labels = x[row, counted[row]], positive[row, counted[row]]
        assert ap[row] == pytest.approx(average_precision_score(labels, values), abs=1e-12)
        assert area[row] == pytest.approx(roc_auc_score(labels, values), abs=1e-12)


def test_all_values_count_by_default():
    x, positive = np.array([[4.0, 3, 2, 1]]), np.array([[True, False, True, False]])
    ap, area = rankings(x, positive)
    assert ap[0] == pytest.approx((1 + 2 / 3) / 2)
    assert area[0] == pytest.approx(3 / 4)


def test_rows_without_positive_or_negative_values_have_no_score():
    x = np.array([[1.0, 2], [1, 2], [1, 2]])
    positive = np.array([[0, 0], [1, 1], [1, 1]], bool)
    counted = np.array([[1, 1], [1, 1], [0, 0]], bool)
    ap, area = rankings(x, positive, counted)
    np.testing.assert_array_equal(ap, [np.nan, 1, np.nan])
    np.testing.assert_array_equal(area, [np.nan, np.nan, np.nan])
