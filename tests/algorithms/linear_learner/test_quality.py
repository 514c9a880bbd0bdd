"""What a default may not do: believe its own training records, diverge, or sacrifice what people read."""

import numpy as np
import pytest

from eigenline import LinearLearnerClassifier, LinearLearnerRegressor
from eigenline.algorithms.linear_learner.robust_refit import Comparison, fit_calibration


def chosen(estimator):
    return next(model for model in estimator.models_ if model["outcome"] == "chosen")


def test_left_out_accuracy_of_coin_flips_is_that_of_coin_flips():
    generator = np.random.default_rng(0)
    X, y = generator.normal(size=(100, 500)), generator.integers(0, 2, 100)
    assert chosen(LinearLearnerClassifier().fit(X, y))["criterion"] < 0.7


def test_as_many_features_as_records_do_not_blow_predictions_up():
    generator = np.random.default_rng(3)
    X = generator.normal(size=(400, 400))
    y = X @ generator.normal(size=400) / 20 + generator.normal(size=400)
    estimator = LinearLearnerRegressor().fit(X, y)
    assert estimator.predict(generator.normal(size=(1000, 400))).var() < 2 * y.var()
    assert chosen(estimator)["selection_loss"] > 0.4


def test_the_calibration_finds_the_optimum_from_afar():
    generator = np.random.default_rng(0)
    raw = 4 * generator.normal(size=2000)
    y = (generator.random(2000) < 1 / (1 + np.exp(-0.1 * raw))) * 1.0
    assert fit_calibration(raw, y, np.ones(2000), 1.0).slope == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("scale", [1e-6, 1e-2, 1.0, 1e2, 1e4, 1e6])
def test_the_calibration_does_not_mind_the_scale(scale):
    generator = np.random.default_rng(1)
    raw = generator.normal(size=1000)
    y = (generator.random(1000) < 1 / (1 + np.exp(-raw))) * 1.0
    plain, scaled = (fit_calibration(factor * raw, y, np.ones(1000), 1.0) for factor in (1.0, scale))
    assert scaled.slope * scale == pytest.approx(plain.slope, rel=1e-4)
    assert scaled.intercept == pytest.approx(plain.intercept, abs=1e-4)


@pytest.mark.parametrize(
    ("change", "wins"),
    [
        ({}, True),
        ({"errors_saved": 9.0}, False),
        ({"errors_saved": 11.0}, True),
        ({"log_loss": 0.54}, False),
        ({"auc": 0.892}, False),
    ],
)
def test_the_robust_model_wins_within_its_bounds_only(change, wins):
    known = {
        "records": 10_000,
        "errors_saved": 30.0,
        "standard_error": 10.0,
        "log_loss": 0.51,
        "logistic_log_loss": 0.5,
        "auc": 0.9,
        "logistic_auc": 0.9,
        "accuracy": 0.9,
    }
    assert Comparison(**{**known, **change}).wins == wins


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_huber_loss_fits_labels_of_any_unit(unit):
    generator = np.random.default_rng(2)
    X = generator.normal(size=(500, 5))
    y = X @ generator.normal(size=5) + 0.3 * generator.normal(size=500)
    assert LinearLearnerRegressor(loss="huber_loss").fit(X, unit * y).score(X, unit * y) > 0.9


def test_noise_in_as_many_features_as_records_gets_strong_regularisation():
    generator = np.random.default_rng(4)
    X, y = generator.normal(size=(1000, 1000)), generator.normal(size=1000)
    estimator = LinearLearnerRegressor().fit(X, y)
    assert estimator.predict(generator.normal(size=(500, 1000))).var() < 0.2
