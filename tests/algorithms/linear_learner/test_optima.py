"""The optimum that training ends at, against closed forms, linear programs and scikit-learn."""

import numpy as np
import pytest
from scipy.optimize import linprog
from sklearn.datasets import load_diabetes, load_digits
from sklearn.linear_model import HuberRegressor, LinearRegression, LogisticRegression

from eigenline.algorithms.linear_learner.losses import make_loss
from tests.algorithms.linear_learner import training_runs as runs

EXACT = {"predictor_type": "regressor", "wd": "0", "l1": "0", "num_models": "1"}


def regression_data(rng, kind):
    if kind == "diabetes":
        return load_diabetes(return_X_y=True)
    X = rng.normal(size=(3000, 8)) * np.logspace(-3, 3, 8)
    y = X @ (rng.normal(size=8) / np.logspace(-3, 3, 8)) + 5
    noise = rng.standard_t(1.5, size=3000) if kind == "heavy tails" else rng.normal(size=3000)
    return X, y + noise


def quantile_optimum(X, y, quantile):
    """Return the least mean quantile loss: a linear program in coefficients and one-sided errors."""
    n, d = X.shape
    design = np.column_stack([X, np.ones(n)])
    cost = np.concatenate([np.zeros(d + 1), np.full(n, quantile), np.full(n, 1 - quantile)]) / n
    equations = np.hstack([design, np.eye(n), -np.eye(n)])
    bounds = [(None, None)] * (d + 1) + [(0, None)] * (2 * n)
    return linprog(cost, A_eq=equations, b_eq=y, bounds=bounds, method="highs").fun


def mean_loss(trained, X, y, name, **parameters):
    raw = X @ trained.weights + trained.bias
    return float(make_loss(name, **parameters).value_and_gradient(raw, y[:, None])[0].mean())


@pytest.mark.parametrize("kind", ["diabetes", "gaussian", "heavy tails"])
def test_squared_loss_reaches_least_squares(rng, kind):
    X, y = regression_data(rng, kind)
    trained = runs.run(X, y, **EXACT)
    exact = LinearRegression().fit(X / X.std(axis=0), y)
    assert trained.weights[:, 0] * X.std(axis=0) == pytest.approx(exact.coef_, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("kind", ["diabetes", "heavy tails"])
@pytest.mark.parametrize(("loss", "quantile"), [("absolute_loss", 0.5), ("quantile_loss", 0.9)])
def test_absolute_and_quantile_loss_reach_the_linear_programs_optimum(rng, kind, loss, quantile):
    X, y = regression_data(rng, kind)
    X, y = X[:600], y[:600]
    trained = runs.run(X, y, loss=loss, quantile=str(quantile), **EXACT)
    best = quantile_optimum(X / X.std(axis=0), y, quantile) * (2 if loss == "absolute_loss" else 1)
    assert mean_loss(trained, X, y, loss, quantile=quantile) <= best * 1.005


@pytest.mark.parametrize("kind", ["diabetes", "heavy tails"])
def test_eps_insensitive_absolute_loss_reaches_the_linear_programs_optimum(rng, kind):
    X, y = regression_data(rng, kind)
    X, y = X[:400] / X.std(axis=0), y[:400]
    width = 0.5 * np.median(np.abs(y - np.median(y)))
    n, d = X.shape
    design = np.column_stack([X, np.ones(n)])
    rows = np.vstack([np.hstack([design, -np.eye(n)]), np.hstack([-design, -np.eye(n)])])
    limits = np.concatenate([y + width, width - y])
    cost = np.concatenate([np.zeros(d + 1), np.full(n, 1 / n)])
    bounds = [(None, None)] * (d + 1) + [(0, None)] * n
    best = linprog(cost, A_ub=rows, b_ub=limits, bounds=bounds, method="highs").fun
    trained = runs.run(X, y, loss="eps_insensitive_absolute_loss", loss_insensitivity=str(width), **EXACT)
    assert mean_loss(trained, X, y, "eps_insensitive_absolute_loss", insensitivity=width) <= best * 1.005


def test_huber_loss_reaches_the_optimum_that_many_descents_find(rng):
    X, y = regression_data(rng, "heavy tails")
    trained = runs.run(X, y, loss="huber_loss", huber_delta="2", **EXACT)
    ours = mean_loss(trained, X, y, "huber_loss", delta=2.0)
    start = HuberRegressor(alpha=0, max_iter=1000).fit(X / X.std(axis=0), y)
    point = np.append(start.coef_, start.intercept_)
    design = np.column_stack([X / X.std(axis=0), np.ones(len(X))])
    for _ in range(2000):  # iteratively reweighted least squares descend monotonically
        error = np.abs(y - design @ point)
        weight = np.minimum(1, 2.0 / np.maximum(error, 1e-12))
        point = np.linalg.solve(design.T @ (design * weight[:, None]), design.T @ (weight * y))
    error = y - design @ point
    best = np.where(np.abs(error) < 2, error**2 / 2, 2 * np.abs(error) - 2).mean()
    assert ours <= best * (1 + 1e-6)


def test_ridge_has_its_closed_form(rng):
    X = rng.normal(size=(300, 5)) * [1, 10, 0.1, 3, 1]
    y = X[:, 0] - X[:, 1] + rng.normal(size=300)
    trained = runs.run(X, y, predictor_type="regressor", wd="0.3", num_models="1")
    Z, t = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    w = np.linalg.solve(Z.T @ Z / 300 + 0.3 * np.eye(5), Z.T @ t / 300)
    assert trained.weights[:, 0] == pytest.approx(w * y.std() / X.std(0), rel=1e-7)


def test_logistic_reaches_scikit_learns_optimum(rng):
    X = rng.normal(size=(500, 6))
    y = (X[:, 0] - X[:, 1] + rng.normal(size=500) > 0).astype(float)
    Z = (X - X.mean(0)) / X.std(0)
    theirs = LogisticRegression(C=1 / (500 * 0.01), tol=1e-10, max_iter=5000).fit(Z, y)
    trained = runs.run(X, y, predictor_type="binary_classifier", loss="logistic", wd="0.01", num_models="1")
    assert trained.weights[:, 0] * X.std(0) == pytest.approx(theirs.coef_[0], rel=1e-5)


def test_softmax_reaches_scikit_learns_optimum():
    X, y = load_digits(return_X_y=True)
    X = X + 1e-3 * np.arange(64)  # some pixels are constant
    trained = runs.run(
        X, y.astype(float), predictor_type="multiclass_classifier", num_classes="10", wd="0.01", num_models="1"
    )
    deviation = X.std(0)
    keep = deviation > 0
    Z = (X - X.mean(0))[:, keep] / deviation[keep]
    theirs = LogisticRegression(C=1 / (len(X) * 0.01), tol=1e-9, max_iter=5000).fit(Z, y)
    assert trained.weights[keep].T * deviation[keep] == pytest.approx(theirs.coef_, abs=2e-5)
    assert not trained.weights[~keep].any()


@pytest.mark.parametrize("l1", [0.02, 0.1])
def test_l1_meets_the_kkt_conditions_and_gives_real_zeros(rng, l1):
    X = rng.normal(size=(400, 20))
    y = X[:, 0] - 0.5 * X[:, 1] + 0.3 * rng.normal(size=400)
    trained = runs.run(X, y, predictor_type="regressor", l1=str(l1), wd="0", num_models="1")
    Z, t = (X - X.mean(0)) / X.std(0), (y - y.mean()) / y.std()
    w = trained.weights[:, 0] * X.std(0) / y.std()
    slope = Z.T @ (Z @ w - t) / 400
    assert (w == 0).sum() > 5
    assert (np.abs(slope[w == 0]) <= l1 + 1e-6).all()
    assert slope[w != 0] == pytest.approx(-l1 * np.sign(w[w != 0]), abs=1e-6)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_a_chosen_optimizer_does_the_whole_job(rng, optimizer):
    X = rng.normal(size=(2000, 3))
    y = X @ [1.0, -2.0, 0.5] + 3 + 0.1 * rng.normal(size=2000)
    trained = runs.run(
        X, y, predictor_type="regressor", optimizer=optimizer, mini_batch_size="50", epochs="20", num_models="4"
    )
    assert {record.stage for record in trained.records} == {"parallel"}
    assert trained.weights[:, 0] == pytest.approx([1, -2, 0.5], abs=0.05)
    assert trained.bias[0] == pytest.approx(3, abs=0.05)


def test_first_order_l1_gives_real_zeros(rng):
    X = rng.normal(size=(2000, 10))
    y = X[:, 0] + 0.1 * rng.normal(size=2000)
    trained = runs.run(
        X, y, predictor_type="regressor", optimizer="adam", l1="0.05", mini_batch_size="100", learning_rate="0.05"
    )
    assert (trained.weights[1:, 0] == 0).sum() >= 5
    assert trained.weights[0, 0] == pytest.approx(0.95, abs=0.03)
