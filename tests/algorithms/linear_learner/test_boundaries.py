"""Rules at their exact boundary: a score that is the threshold, a gain that is the tolerance, enough records."""

from itertools import pairwise

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.linear_learner.settings import read_settings
from tests.algorithms.linear_learner import training_runs as runs


@pytest.mark.parametrize(("threshold", "label"), [(0.5, 1), (0.50000006, 0)])
def test_a_score_that_equals_the_threshold_is_positive(threshold, label):
    zero = LinearLearnerModel(
        np.zeros((2, 1), np.float32), np.zeros(1, np.float32), "binary_classifier", "logistic", threshold
    )
    assert zero.predict(np.ones((3, 2), np.float32)).score.tolist() == [0.5] * 3
    assert zero.predict(np.ones((3, 2), np.float32)).predicted_label.tolist() == [label] * 3


def epochs_and_values(rng, **settings):
    X = rng.normal(size=(2000, 4))
    y = X @ [1.0, -1.0, 0.5, 0.0] + 0.5 * rng.normal(size=2000)
    channel = runs.held(X, y)
    given = read_settings({"predictor_type": "regressor", "compatibility": "aws", "epochs": "40", **settings})
    reports = runs.epochs(list(runs.train(given, {"train": channel})))
    return len(reports), [report.value for report in reports]


def test_a_gain_that_equals_the_tolerance_is_no_improvement():
    """The job's own losses give a tolerance that one epoch's gain meets exactly; the next smaller one goes on."""
    # one step per epoch, small ones: smooth losses
    patience = {"early_stopping_patience": "1", "mini_batch_size": "2000", "learning_rate": "0.02"}
    _, values = epochs_and_values(np.random.default_rng(2), early_stopping_tolerance="1e-9", **patience)
    gains = [(before - after) / before for before, after in pairwise(values)]
    # an epoch after which every gain is smaller, so that it alone decides
    place = next(i for i in range(3, len(gains) - 2) if 0 < max(gains[i + 1 :]) < gains[i] < min(gains[:i]))
    best, gain = values[place], values[place] - values[place + 1]
    exact = gain / best
    while exact * best > gain:
        exact = np.nextafter(exact, 0)
    while np.nextafter(exact, 1) * best <= gain:
        exact = np.nextafter(exact, 1)
    assert exact * best == gain, "no tolerance meets this gain exactly: take another seed"
    smaller = exact
    while smaller * best == gain:
        smaller = np.nextafter(smaller, 0)
    met, exceeded = (
        epochs_and_values(np.random.default_rng(2), early_stopping_tolerance=repr(float(tolerance)), **patience)[0]
        for tolerance in (exact, smaller)
    )
    assert exceeded == met + 1


@pytest.mark.parametrize(
    ("rows", "compared_on"), [(59, "train (its training loss)"), (60, "five-fold cross-validation")]
)
def test_from_sixty_records_on_models_are_compared_on_records_that_did_not_train_them(rng, rows, compared_on):
    X = rng.normal(size=(rows, 2))
    channel = runs.held(X, X[:, 0] + rng.normal(size=rows))
    reports = list(runs.train(read_settings({"predictor_type": "regressor"}), {"train": channel}))
    assert f"Models are compared on {compared_on}." in runs.notices(reports)
