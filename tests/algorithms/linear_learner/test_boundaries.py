"""Rules at their exact boundary: a score that is the threshold, a gain that is the tolerance, just enough records."""

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.model import LinearLearnerModel


@pytest.mark.parametrize(("threshold", "label"), [(0.5, 1), (0.50000006, 0)])
def test_a_score_that_equals_the_threshold_is_positive(threshold, label):
    zero = LinearLearnerModel(
        np.zeros((2, 1), np.float32), np.zeros(1, np.float32), "binary_classifier", "logistic", threshold
    )
    assert zero.predict(np.ones((3, 2), np.float32)).score.tolist() == [0.5] * 3
    assert zero.predict(np.ones((3, 2), np.float32)).predicted_label.tolist() == [label] * 3
