"""Residuals of a regressor: R2 as scikit-learn has it, every record in a bin, few far ones in the outermost."""

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.residuals import residuals_of


def test_r2_is_the_field_s_own_and_every_record_is_counted(rng):
    metrics = pytest.importorskip("sklearn.metrics")
    labels = rng.normal(100, 3, 1000)
    predictions, weights = labels + rng.normal(0, 1, 1000), rng.uniform(0.5, 2, 1000)
    found = residuals_of(predictions, labels, weights)
    assert found.r2 == pytest.approx(metrics.r2_score(labels, predictions, sample_weight=weights))
    assert found.counts.sum() == pytest.approx(weights.sum())
    assert len(found.edges) == len(found.counts) + 1
    assert found.edges[0] < 0 < found.edges[-1]


def test_one_far_record_does_not_make_one_bin_of_the_others(rng):
    labels = rng.normal(size=1000)
    predictions = labels + rng.normal(0, 1, 1000)
    predictions[0] = 1e12
    found = residuals_of(predictions, labels, np.ones(1000))
    assert np.count_nonzero(found.counts) > 20
    assert found.counts.sum() == 1000


@pytest.mark.parametrize("values", [[], [1.0], [np.nan, 1.0], [np.inf, np.inf, 1.0]])
def test_nothing_to_compare(values):
    labels = np.array(values)
    assert residuals_of(np.zeros(len(labels)), labels, np.ones(len(labels))) is None


def test_equal_labels_have_no_r2_and_equal_residuals_a_bin():
    found = residuals_of(np.full(5, 2.0), np.full(5, 5.0), np.ones(5))
    assert np.isnan(found.r2)
    assert found.counts.max() == 5
    assert residuals_of(np.zeros(3), np.zeros(3), np.ones(3)).counts.sum() == 3
