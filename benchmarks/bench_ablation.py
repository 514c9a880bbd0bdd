"""What each part of the path trainer earns: the same data trained without it, errors, losses and CPU seconds.

    python -m benchmarks ablation

Each row switches one part off by its constant or its decision and leaves the rest as it is. MNIST's digits are
counted on test images; the small tables are split in half ten times; the text is made up (Zipf's law, a sparse
plane); the regressions are scikit-learn's diabetes and noise in many columns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
from scipy.sparse import csr_array
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris, load_wine
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split

from benchmarks.linear_learner_data import mnist
from benchmarks.timing import print_machine, print_table
from eigenline import LinearLearnerClassifier, LinearLearnerRegressor
from eigenline.algorithms.linear_learner import evaluation, path_trainer, preconditioner, scaling
from eigenline.algorithms.linear_learner.validation_split import SplitKind, ValidationSplit

NEVER = 10**12
DIGITS = (0, 3, 8)
SPLITS = 10


def one_hold_out(**known: Any) -> ValidationSplit:
    """Hold out a tenth, once, in place of folds."""
    if known["validation"]:
        return ValidationSplit(SplitKind.VALIDATION_CHANNEL)
    return ValidationSplit(SplitKind.HOLD_OUT, 10, (0,))


def of_grid(path: Any, explored: Any, winner: int) -> float:
    """Take the winner's own strength."""
    return float(explored.grid.wd[winner])


# Each variant: what it is called, the constants and functions that it replaces, and hyperparameters.
VARIANTS: dict[str, tuple[list[tuple[Any, str, Any]], dict[str, Any]]] = {
    "as it is": ([], {}),
    "start from zero": ([(path_trainer, "SAMPLED_ROWS", NEVER)], {}),
    "mini-batches (optimizer=adam)": ([], {"optimizer": "adam"}),
    "no curvature": ([(preconditioner, "MOST_FEATURES", 0)], {}),
    "one hold-out, no folds": ([(path_trainer, "choose_split", one_hold_out)], {}),
    "no robust refit": ([(path_trainer, "is_wanted", lambda *known: False)], {}),
    "no reach in the scale": ([(scaling, "REACH_SHARE", 0.0)], {}),
    "no quarter of a wrong label": ([(evaluation, "WRONG_LABELS", 0.0)], {}),
    "no parabola": ([(path_trainer._Path, "_lowest", of_grid)], {}),
}


def each_variant(run: Callable[[dict[str, Any]], list[object]]) -> list[list[object]]:
    """Return a row for each variant: name, what `run` measured, CPU seconds of all of it."""
    rows = []
    for name, (changes, hyperparameters) in VARIANTS.items():
        with ExitStack() as stack:
            for place, attribute, value in changes:
                stack.enter_context(patch.object(place, attribute, value))
            began = time.process_time()
            found = run(hyperparameters)
            rows.append([name, *found, time.process_time() - began])
    return rows


def digits() -> None:
    """Errors and log loss of some digits against the rest, and of all ten classes."""
    data = mnist()
    if data is None:
        return
    (X, y), (X_test, y_test) = data["train"], data["test"]

    def run(hyperparameters: dict[str, Any]) -> list[object]:
        errors, losses = [], []
        for digit in DIGITS:
            model = LinearLearnerClassifier(**hyperparameters).fit(X, y == digit)
            errors.append(int((model.predict(X_test) != (y_test == digit)).sum()))
            losses.append(log_loss(y_test == digit, model.predict_proba(X_test)[:, 1]))
        return [*errors, float(np.mean(losses))]

    header = ["MNIST, test errors", *map(str, DIGITS), "mean log loss", "CPU s"]
    print_table("MNIST, a digit against the rest", header, each_variant(run))


def text() -> None:
    """Error and log loss of made-up text: 20,000 documents, 10,000 words."""
    generator = np.random.default_rng(0)
    n, words, length = 20_000, 10_000, 60
    chance = 1 / np.arange(1, words + 1)
    columns = generator.choice(words, (n, length), p=chance / chance.sum())
    X = csr_array((np.ones(n * length, np.float32), columns.ravel(), np.arange(0, n * length + 1, length)))
    X.sum_duplicates()
    plane = generator.normal(size=words) * (generator.random(words) < 0.1)
    raw = X @ plane
    y = raw / raw.std() + 0.5 * generator.normal(size=n) > np.median(raw / raw.std())
    half = n // 2

    def run(hyperparameters: dict[str, Any]) -> list[object]:
        model = LinearLearnerClassifier(**hyperparameters).fit(X[:half], y[:half])
        chances = model.predict_proba(X[half:])[:, 1]
        return [float(np.mean((chances > 0.5) != y[half:])), float(log_loss(y[half:], chances))]

    print_table("Made-up text, 10,000 x 10,000", ["", "test error", "log loss", "CPU s"], each_variant(run))


def tables() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield scikit-learn's small classification tables."""
    for load in (load_iris, load_wine, load_breast_cancer, load_digits):
        X, y = load(return_X_y=True)
        yield load.__name__.removeprefix("load_"), X, y


def small_tables() -> None:
    """Mean error and log loss over the tables, each split in half ten times."""

    def run(hyperparameters: dict[str, Any]) -> list[object]:
        errors, losses = [], []
        for _, X, y in tables():
            for seed in range(SPLITS):
                A, B, a, b = train_test_split(X, y, test_size=0.5, random_state=seed, stratify=y)
                model = LinearLearnerClassifier(**hyperparameters).fit(A, a)
                errors.append(float(np.mean(model.predict(B) != b)))
                losses.append(float(log_loss(b, model.predict_proba(B))))
        return [float(np.mean(errors)), float(np.mean(losses))]

    names = ", ".join(name for name, *_ in tables())
    print_table(f"Small tables ({names})", ["", "test error", "log loss", "CPU s"], each_variant(run))


def regression() -> None:
    """Squared error over the labels' variance: diabetes, and 200 records of noise in 100 columns."""
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(400, 100))
    sources = [load_diabetes(return_X_y=True), (noise, noise[:, 0] + 2 * generator.normal(size=400))]

    def run(hyperparameters: dict[str, Any]) -> list[object]:
        found: list[object] = []
        for X, y in sources:
            errors = []
            for seed in range(SPLITS):
                A, B, a, b = train_test_split(X, y, test_size=0.5, random_state=seed)
                predicted = LinearLearnerRegressor(**hyperparameters).fit(A, a).predict(B)
                errors.append(float(np.mean((predicted - b) ** 2) / np.var(b)))
            found.append(float(np.mean(errors)))
        return found

    print_table("Regression, squared error", ["", "diabetes", "noise", "CPU s"], each_variant(run))


def main() -> None:
    """Print the four tables."""
    print_machine()
    small_tables()
    regression()
    text()
    digits()


if __name__ == "__main__":
    main()
