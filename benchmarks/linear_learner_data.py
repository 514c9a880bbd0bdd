"""What the Linear Learner benchmarks train on, and how: MNIST where it is, or made-up data; one call to train."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

import numpy as np

from eigenline.algorithms.batch import Batch, HeldBatches
from eigenline.algorithms.linear_learner.reports import Trained
from eigenline.algorithms.linear_learner.settings import read_settings
from eigenline.algorithms.linear_learner.training import train

WALKTHROUGH = {"feature_dim": "784", "predictor_type": "binary_classifier", "mini_batch_size": "200"}


def mnist() -> dict[str, tuple[np.ndarray, np.ndarray]] | None:
    """Return the walkthrough's train (50,000), validation (10,000) and test (10,000) images and digits."""
    folder = Path(os.environ.get("MNIST_DIR", Path(__file__).parents[2] / "shared" / "data" / "mnist"))
    if not (folder / "t10k-images-idx3-ubyte.gz").is_file():
        print("MNIST is not here: set MNIST_DIR to the folder of its four files")
        return None

    def read(name: str, offset: int) -> np.ndarray:
        return np.frombuffer(gzip.open(folder / name).read(), np.uint8, offset=offset)

    def images(name: str) -> np.ndarray:
        return (read(name, 16).reshape(-1, 784) / np.float32(256)).astype(np.float32)

    X, y = images("train-images-idx3-ubyte.gz"), read("train-labels-idx1-ubyte.gz", 8)
    test = images("t10k-images-idx3-ubyte.gz"), read("t10k-labels-idx1-ubyte.gz", 8)
    return {"train": (X[:50_000], y[:50_000]), "validation": (X[50_000:], y[50_000:]), "test": test}


def fit(features: Any, labels: Any, **hyperparameters: Any) -> Trained:
    """Train on arrays in memory, as a job does once its channel is read."""
    channel = HeldBatches([Batch(features, labels)])
    for _ in channel:
        pass
    for report in train(read_settings(hyperparameters), {"train": channel}):
        if isinstance(report, Trained):
            return report
    raise AssertionError("training ends with its result")
