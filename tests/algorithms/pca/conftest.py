"""What the PCA tests share: a way to train to the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.pca.blocks import BLOCK_BYTES
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.training import TrainedPCA, train
from eigenline.algorithms.records import RecordsHere


@pytest.fixture
def fit() -> Callable[..., TrainedPCA]:
    """Train on an array or on batches, with hyperparameters as keywords."""

    def run(features: Any, k: int, *, rows: int = 1_000_000, precision: Any = np.float32, **given: object) -> Any:
        if hasattr(features, "shape"):
            features = [Batch(features[i : i + rows]) for i in range(0, features.shape[0], rows)]
        settings = read_settings({"feature_dim": 1, "mini_batch_size": 100, "num_components": k, **given})
        records = RecordsHere(features, block_bytes=BLOCK_BYTES)
        return train(settings, records, np.random.default_rng(settings.seed), precision=precision)

    return run
