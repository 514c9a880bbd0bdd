"""Every loss: finite differences, hand-computed values, extreme scores, and the rounded corners."""

import numpy as np
import pytest

from eigenline.algorithms.linear_learner.losses import make_loss, smoothed
from eigenline.algorithms.linear_learner.robust_refit import GeneralisedCrossEntropy

# name -> (loss, whether labels are 0/1)
LOSSES = {
    "logistic": (make_loss("logistic"), True),
    "hinge": (make_loss("hinge_loss", margin=0.8), True),
    "squared": (make_loss("squared_loss"), False),
    "absolute": (make_loss("absolute_loss"), False),
    "quantile": (make_loss("quantile_loss", quantile=0.9), False),
    "huber": (make_loss("huber_loss", delta=0.7), False),
    "eps_squared": (make_loss("eps_insensitive_squared_loss", insensitivity=0.3), False),
    "eps_absolute": (make_loss("eps_insensitive_absolute_loss", insensitivity=0.3), False),
    "generalised cross entropy": (GeneralisedCrossEntropy(), True),
    "rounded absolute": (smoothed(make_loss("absolute_loss"), 0.5), False),
    "rounded hinge": (smoothed(make_loss("hinge_loss"), 0.5), True),
    "rounded quantile": (smoothed(make_loss("quantile_loss", quantile=0.2), 0.5), False),
    "rounded eps_absolute": (smoothed(make_loss("eps_insensitive_absolute_loss", insensitivity=1.0), 0.4), False),
}
FINITE_DIFFERENCE = 5e-6  # relative, central differences of step 1e-6 in float64


@pytest.mark.parametrize("name", LOSSES)
def test_the_gradient_is_that_of_the_scaled_value(name, rng):
    loss, binary = LOSSES[name]
    raw = rng.normal(scale=2, size=(200, 3))
    labels = rng.integers(0, 2, (200, 1)).astype(float) if binary else rng.normal(size=(200, 1))
    step = 1e-6
    up = loss.value_and_gradient(raw + step, labels)[0]
    down = loss.value_and_gradient(raw - step, labels)[0]
    expected = loss.gradient_scale * (up - down) / (2 * step)
    gradient = loss.value_and_gradient(raw, labels)[1]
    assert gradient == pytest.approx(expected, rel=FINITE_DIFFERENCE, abs=1e-7)


def test_the_gradient_of_softmax(rng):
    loss = make_loss("softmax_loss")
    raw, labels = rng.normal(size=(20, 2, 5)), rng.integers(0, 5, (20, 1)).astype(float)
    gradient = loss.value_and_gradient(raw, labels)[1]
    for k in range(5):
        move = np.zeros(5)
        move[k] = 1e-6
        up, down = (loss.value_and_gradient(raw + s * move, labels)[0] for s in (1, -1))
        assert gradient[:, :, k] == pytest.approx((up - down) / 2e-6, abs=1e-8)


@pytest.mark.parametrize(
    ("name", "label", "raw", "value"),
    [
        ("logistic", 1, 0.0, np.log(2)),
        ("logistic", 0, 2.0, np.log1p(np.exp(2.0))),
        ("hinge", 1, 0.5, 0.4),  # (m + 1) / 2 - f with m = 0.8
        ("hinge", 0, 0.5, 0.4),  # (m - 1) / 2 + f
        ("hinge", 1, 0.95, 0.0),
        ("squared", 3, 1.0, 4.0),
        ("absolute", 3, 1.0, 2.0),
        ("quantile", 3, 1.0, 1.8),
        ("quantile", 1, 3.0, 0.2),
        ("huber", 1, 1.5, 0.125),
        ("huber", 3, 0.0, 3 * 0.7 - 0.7**2 / 2),
        ("eps_squared", 1, 1.2, 0.0),
        ("eps_squared", 3, 1.0, 4 - 0.09),
        ("eps_absolute", 3, 1.0, 1.7),
        ("eps_absolute", 1, 1.2, 0.0),
    ],
)
def test_values_by_hand(name, label, raw, value):
    found = LOSSES[name][0].value_and_gradient(np.array([[raw]]), np.array([[float(label)]]))[0]
    assert found[0, 0] == pytest.approx(value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LOSSES)
def test_extreme_scores_neither_overflow_nor_change_dtype(name, dtype):
    raw = np.array([[-1e4, -90.0, 90.0, 1e4]], dtype)
    for label in (0.0, 1.0):
        value, gradient = LOSSES[name][0].value_and_gradient(raw, np.array([[label]], dtype))
        assert np.isfinite(value).all()
        assert np.isfinite(gradient).all()
        assert value.dtype == gradient.dtype == dtype


def test_softmax_of_extreme_scores_is_finite():
    raw = np.array([[[1e4, 0.0, -1e4]]], np.float32)
    value, gradient = make_loss("softmax_loss").value_and_gradient(raw, np.array([[2.0]], np.float32))
    assert value[0, 0] == 2e4
    assert gradient[0, 0].tolist() == [1, 0, -1]


@pytest.mark.parametrize("name", ["absolute", "hinge", "quantile", "eps_absolute"])
def test_rounding_a_kink_costs_at_most_half_its_width(name, rng):
    loss, binary = LOSSES[name]
    raw = rng.normal(scale=3, size=(500, 1))
    labels = rng.integers(0, 2, (500, 1)).astype(float) if binary else rng.normal(size=(500, 1))
    exact, rounded = (candidate.value_and_gradient(raw, labels)[0] for candidate in (loss, smoothed(loss, 0.2)))
    assert (rounded >= exact - 1e-12).all()
    assert (rounded <= exact + 0.1 + 1e-12).all()


@pytest.mark.parametrize("name", ["logistic", "squared", "huber", "eps_squared"])
def test_smooth_losses_stay_as_they_are(name):
    loss = LOSSES[name][0]
    assert smoothed(loss, 0.3) is loss
