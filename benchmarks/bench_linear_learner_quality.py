"""Linear Learner's quality beside scikit-learn's and the service's way: errors, losses, precision at recall."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_classification
from sklearn.linear_model import (
    HuberRegressor,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    QuantileRegressor,
    RidgeCV,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import precision_recall_curve
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from benchmarks.linear_learner_data import WALKTHROUGH, fit, mnist
from benchmarks.timing import print_machine, print_table

WAYS = ("best", "aws")


def mnist_digits() -> None:
    """Count test errors of each digit against the rest, and of all ten at once."""
    data = mnist()
    if data is None:
        return
    (X, y), (X_test, y_test) = data["train"], data["test"]
    errors: dict[str, list[int]] = {name: [] for name in (*WAYS, "sklearn")}
    for digit in range(10):
        labels, truth = (y == digit).astype(np.float32), y_test == digit
        for way in WAYS:
            model = fit(X, labels, **WALKTHROUGH, compatibility=way).model
            errors[way].append(int((model.predict(X_test).predicted_label != truth).sum()))
        peer = LogisticRegression(C=1).fit(X, labels)
        errors["sklearn"].append(int((peer.predict(X_test) != truth).sum()))
    names = {"best": "Linear Learner", "aws": "Linear Learner, aws", "sklearn": "LogisticRegression(C=1)"}
    rows = [[names[name], *counts, sum(counts)] for name, counts in errors.items()]
    print_table(
        "MNIST, test errors of a digit against the rest (AWS published 93 for 0)",
        ["", *map(str, range(10)), "sum"],
        rows,
    )
    model = fit(X, y.astype(np.float32), predictor_type="multiclass_classifier", num_classes="10").model
    peer = LogisticRegression(C=1, max_iter=200).fit(X, y)
    rows = [
        ["Linear Learner", float((model.predict(X_test).predicted_label == y_test).mean())],
        ["LogisticRegression(C=1)", float(peer.score(X_test, y_test))],
    ]
    print_table("MNIST, ten classes", ["", "test accuracy"], rows)


def zero_against_the_rest() -> None:
    """Count the walkthrough's test errors for more peers."""
    data = mnist()
    if data is None:
        return
    (X, digits), (X_test, digits_test) = data["train"], data["test"]
    y, truth = digits == 0, digits_test == 0
    peers = {
        "LogisticRegressionCV(Cs=5, cv=3)": LogisticRegressionCV(Cs=5, cv=3, max_iter=100),
        "SGDClassifier(log_loss), standardised": make_pipeline(
            StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)
        ),
        "LinearSVC(C=0.01)": LinearSVC(C=0.01),
    }
    rows = [[name, int((peer.fit(X, y).predict(X_test) != truth).sum())] for name, peer in peers.items()]
    model = fit(X, y.astype(np.float32), **WALKTHROUGH).model
    rows.append(["Linear Learner", int((model.predict(X_test).predicted_label != truth).sum())])
    print_table("MNIST, is it a 0?", ["", "test errors"], rows)


def small_tables() -> None:
    """Compare test errors on small data sets, averaged over ten splits."""
    sets = {
        "breast cancer": load_breast_cancer(return_X_y=True),
        "wine": load_wine(return_X_y=True),
        "digits": load_digits(return_X_y=True),
        "made up, 5 % wrong labels": make_classification(2000, 40, n_informative=10, flip_y=0.1, random_state=0),
    }
    rows = []
    for name, (X, y) in sets.items():
        wrong = np.zeros((10, 2))
        for seed in range(10):
            X1, X2, y1, y2 = train_test_split(X, y, test_size=0.3, random_state=seed)
            classes = len(np.unique(y))
            task = (
                {"predictor_type": "binary_classifier"}
                if classes == 2
                else {"predictor_type": "multiclass_classifier", "num_classes": str(classes)}
            )
            model = fit(np.ascontiguousarray(X1), y1.astype(float), **task).model
            peer = make_pipeline(StandardScaler(), LogisticRegression(C=1, max_iter=2000)).fit(X1, y1)
            wrong[seed] = (model.predict(X2).predicted_label != y2).mean(), (peer.predict(X2) != y2).mean()
        gap = wrong[:, 0] - wrong[:, 1]
        rows.append(
            [name, *wrong.mean(axis=0).tolist(), float(gap.mean()), float(gap.std(ddof=1) / len(gap) ** 0.5)]
        )
    header = ["data", "Linear Learner", "standardised LogisticRegression", "difference", "its standard error"]
    print_table("Test error, mean of ten splits", header, rows)


def text() -> None:
    """Compare on text-like data, 100,000 x 50,000, where five L2 strengths train by full passes alone."""
    rng = np.random.default_rng(0)
    n, d, k, half = 120_000, 50_000, 84, 100_000
    columns = (d * rng.random(n * k) ** 4).astype(np.int32)
    X = csr_array((np.ones(n * k, np.float32), columns, np.arange(0, n * k + 1, k, dtype=np.int32)), shape=(n, d))
    X.sum_duplicates()
    scale = 1 / np.sqrt(np.asarray(X.sum(axis=0)).ravel() + 1)
    score = X @ (rng.standard_t(3, size=d) * scale**0.5).astype(np.float32)
    y = (score + rng.normal(size=n) * score.std() / 3 > np.median(score)).astype(np.float32)
    rows: list[list[object]] = []

    def add(name: str, train: Callable[[], Callable[[csr_array], np.ndarray]]) -> None:
        start = time.perf_counter()
        predict = train()
        seconds = time.perf_counter() - start
        rows.append([name, float((predict(X[half:]) != y[half:]).mean()), seconds])

    for strength in (0.01, 0.1, 1.0):
        peer = LogisticRegression(C=strength, max_iter=300)
        add(f"LogisticRegression(C={strength:g})", lambda peer=peer: peer.fit(X[:half], y[:half]).predict)
    add("SGDClassifier(log_loss)", lambda: SGDClassifier(loss="log_loss").fit(X[:half], y[:half]).predict)

    def ours() -> Callable[[csr_array], np.ndarray]:
        model = fit(X[:half], y[:half], predictor_type="binary_classifier").model
        return lambda records: np.asarray(model.predict(records).predicted_label)

    add("Linear Learner", ours)
    print_table(
        f"Text-like, {half:,} x {d:,}, {X.nnz / n:.0f} non-zero a row", ["", "test error", "seconds"], rows
    )


def regression() -> None:
    """Compare the mean test error of squared, absolute and Huber loss with the peers made for each."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(4000, 12)) * np.logspace(-2, 2, 12)
    signal = X @ (rng.normal(size=12) / np.logspace(-2, 2, 12))
    sets = {
        "diabetes": load_diabetes(return_X_y=True),
        "gaussian noise": (X, signal + rng.normal(size=4000)),
        "heavy-tailed noise": (X, signal + rng.standard_t(1.5, 4000)),
    }
    peers = {
        "squared_loss": {
            "LinearRegression": LinearRegression(),
            "RidgeCV": RidgeCV(),
            "SGDRegressor": SGDRegressor(random_state=0),
        },
        "absolute_loss": {"QuantileRegressor": QuantileRegressor(alpha=0)},
        "huber_loss": {"HuberRegressor": HuberRegressor(max_iter=1000)},
    }
    measures = {
        "squared_loss": lambda e: float((e**2).mean()),
        "absolute_loss": lambda e: float(np.abs(e).mean()),
        "huber_loss": lambda e: float(np.where(np.abs(e) < 1, e**2 / 2, np.abs(e) - 0.5).mean()),
    }
    rows = []
    for name, (X, y) in sets.items():
        X1, X2, y1, y2 = train_test_split(X, y, test_size=0.3, random_state=0)
        for loss, others in peers.items():
            ours = fit(X1, y1, predictor_type="regressor", loss=loss)
            error = X2 @ ours.weights[:, 0] + ours.bias[0] - y2
            for peer, estimator in others.items():
                pipeline = make_pipeline(StandardScaler(), estimator).fit(X1, y1)
                theirs = measures[loss](pipeline.predict(X2) - y2)
                rows.append([name, loss, measures[loss](error), peer, theirs])
    print_table(
        "Regression, the loss on test records", ["data", "loss", "Linear Learner", "peer", "its loss"], rows
    )


def imbalanced() -> None:
    """Compare precision at a recall of 0.9 where 1 % of the records are positive."""
    rows = []
    for seed in range(3):
        X, y = make_classification(
            60_000, 20, n_informative=8, weights=[0.99], class_sep=1.5, flip_y=0.002, random_state=seed
        )
        X1, X2, y1, y2 = train_test_split(X.astype(np.float32), y, test_size=0.5, random_state=seed)
        model = fit(
            np.ascontiguousarray(X1),
            y1.astype(np.float32),
            predictor_type="binary_classifier",
            binary_classifier_model_selection_criteria="precision_at_target_recall",
            target_recall="0.9",
            positive_example_weight_mult="auto",
        ).model
        scores = {
            "ours": model.raw_scores(X2)[:, 0],
            "theirs": make_pipeline(StandardScaler(), LogisticRegression()).fit(X1, y1).decision_function(X2),
        }
        best = {}
        for name, score in scores.items():
            precision, recall, _ = precision_recall_curve(y2, score)
            best[name] = float(precision[recall >= 0.9].max())
        called = model.predict(X2).predicted_label == 1
        rows.append([seed, best["ours"], best["theirs"], float((called & (y2 == 1)).sum() / (y2 == 1).sum())])
    header = ["seed", "Linear Learner", "LogisticRegression", "recall at our own threshold"]
    print_table("Precision at recall 0.9 on test records, 1 % positives", header, rows)


def main() -> None:
    """Run all quality comparisons."""
    warnings.simplefilter("ignore")
    print_machine()
    zero_against_the_rest()
    mnist_digits()
    small_tables()
    text()
    regression()
    imbalanced()


if __name__ == "__main__":
    main()
