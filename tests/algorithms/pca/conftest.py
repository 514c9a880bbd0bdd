"""What the PCA tests share: a way to train to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import TrainedPCA, train


@pytest.fixture
def fit() -> Callable[..., TrainedPCA]:
    """Train on an array or on batches, with hyperparameters as keywords."""

    def run(features: Any, k: int, *, rows: int = 1_000_000, precision: Any = np.float32, **given: object) -> Any:
        if hasattr(features, "shape"):
            features = [Batch(features[i : i + rows]) for i in range(0, features.shape[0], rows)]
        settings = read_settings({"feature_dim": 1, "mini_batch_size": 100, "num_components": k, **given})
        steps = train(settings, features, np.random.default_rng(settings.seed), precision=precision)
        while True:
            try:
                next(steps)
            except StopIteration as finished:
                return finished.value

    return run
