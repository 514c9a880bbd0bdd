"""Linear Learner's speed beside scikit-learn's: the walkthrough's arrays, more models, sparse text-like data."""

from __future__ import annotations

import sys
import warnings

import numpy as np
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression, SGDClassifier

from benchmarks.linear_learner_data import WALKTHROUGH, fit, mnist
from benchmarks.timing import interleaved, print_machine, print_table
from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.linear_learner.reports import PassReport, Trained
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.training import train
from eigenline.container.train import SWITCH_SECONDS


def walkthrough() -> None:
    """Time the default 32 models beside one LogisticRegression fit on the same arrays."""
    data = mnist()
    if data is None:
        return
    X, digits = data["train"]
    y = (digits == 0).astype(np.float32)
    seconds = interleaved(
        {
            "scikit-learn LogisticRegression(C=1), one model": lambda: LogisticRegression(C=1).fit(X, y),
            "Linear Learner, default: 32 models and their finish": lambda: fit(X, y, **WALKTHROUGH),
            "Linear Learner, aws: 32 models": lambda: fit(X, y, **WALKTHROUGH, compatibility="aws"),
        },
        repeats=3,
    )
    one = seconds["scikit-learn LogisticRegression(C=1), one model"]
    rows = [[name, value, value / one, 32 * one / value] for name, value in seconds.items()]
    header = ["50,000 x 784 float32, mini_batch_size 200", "seconds", "of one fit", "faster than 32 fits"]
    print_table("Training time on the walkthrough's arrays", header, rows)
    more_models(X, y)


def more_models(X: np.ndarray, y: np.ndarray) -> None:
    """Time epochs of 1 to 128 models, trained in aws's way so that all stay to the end."""
    fixed = {**WALKTHROUGH, "mini_batch_size": "1000", "epochs": "3", "compatibility": "aws"}
    seconds = interleaved(
        {str(m): lambda m=m: fit(X, y, **fixed, num_models=str(m)) for m in (1, 8, 32, 128)}, repeats=3
    )
    rows = [
        [m, value, 3 * len(X) / value, 3 * len(X) * int(m) / value, value / (int(m) * seconds["1"])]
        for m, value in seconds.items()
    ]
    header = ["num_models", "seconds, 3 epochs", "records/s", "records x models/s", "of linear growth"]
    print_table("Parallel models", header, rows)


def model_epochs(X: csr_array, y: np.ndarray) -> tuple[Trained, int]:
    """Train and count passes over the data times the models that each one moved."""
    channel = HeldBatches([Batch(X, y)])
    list(channel)
    stages: dict[str, int] = {}
    settings = read_settings({"predictor_type": "binary_classifier"})
    for report in train(settings, {"train": channel}):
        if isinstance(report, PassReport):
            stages[report.stage] = report.passes
        elif isinstance(report, Trained):
            trained = report
    models = dict.fromkeys(stages, 1)
    models["path"] = sum(record.stage == "path" for record in trained.records)
    models["robust"] = sum(record.stage == "robust" for record in trained.records)
    return trained, sum(passes * models[stage] for stage, passes in stages.items())


def sparse() -> None:
    """Time text-like data: 100,000 x 200,000, about 80 non-zero a row, few words in most of the texts."""
    rng = np.random.default_rng(0)
    n, d, k = 120_000, 200_000, 84
    columns = (d * rng.random(n * k) ** 4).astype(np.int32)
    values = rng.random(n * k, np.float32) + np.float32(0.1)
    X = csr_array((values, columns, np.arange(0, n * k + 1, k, dtype=np.int32)), shape=(n, d))
    X.sum_duplicates()
    score = X @ rng.normal(size=d).astype(np.float32)
    y = (score + rng.normal(size=n) * score.std() / 3 > np.median(score)).astype(np.float32)
    half = 100_000
    found: dict[str, float] = {}

    def ours() -> None:
        trained, found["model-epochs"] = model_epochs(X[:half], y[:half])
        found["error"] = float((trained.model.predict(X[half:]).predicted_label != y[half:]).mean())

    sgd = SGDClassifier(loss="log_loss", max_iter=5, tol=None)
    seconds = interleaved({"sgd": lambda: sgd.fit(X[:half], y[:half]), "ours": ours}, repeats=2)
    rows = [
        ["SGDClassifier", 5, seconds["sgd"], seconds["sgd"] / 5, 1 - sgd.score(X[half:], y[half:])],
        [
            "Linear Learner",
            found["model-epochs"],
            seconds["ours"],
            seconds["ours"] / found["model-epochs"],
            found["error"],
        ],
    ]
    name = f"{half:,} x {d:,}, {X.nnz / n:.0f} non-zero a row"
    header = [name, "model-epochs", "seconds", "s per model-epoch", "test error"]
    print_table("Sparse records", header, rows)


def linear_in_rows() -> None:
    """Time n, 2n, 4n and 8n records."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(160_000, 50)).astype(np.float32)
    y = (X[:, 0] + X[:, 1] * 0.5 + rng.normal(size=len(X)) > 0).astype(np.float32)
    sizes = (20_000, 40_000, 80_000, 160_000)
    seconds = interleaved(
        {str(n): lambda n=n: fit(X[:n], y[:n], predictor_type="binary_classifier") for n in sizes}, repeats=3
    )
    rows = [[n, value, 1e6 * value / int(n)] for n, value in seconds.items()]
    print_table("Time grows with the records", ["records x 50", "seconds", "microseconds a record"], rows)


def main() -> None:
    """Run all speed comparisons."""
    warnings.simplefilter("ignore")
    sys.setswitchinterval(SWITCH_SECONDS)  # as in a job; for scikit-learn too
    print_machine()
    walkthrough()
    linear_in_rows()
    sparse()


if __name__ == "__main__":
    main()
