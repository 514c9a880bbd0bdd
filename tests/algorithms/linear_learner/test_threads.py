"""The model is a matter of the data and the settings, not of how many threads shared the work."""

import os
import subprocess
import sys

import pytest

TRAIN = """
import hashlib
import numpy as np
from eigenline import LinearLearnerClassifier
from eigenline.algorithms.linear_learner.training_data import SMALL

generator = np.random.default_rng(3)
features = generator.standard_normal((4100, 512), dtype=np.float32)
assert features.size > SMALL
labels = (features[:, :8].sum(axis=1) + generator.standard_normal(len(features)) > 0).astype(int)
model = LinearLearnerClassifier(epochs=3).fit(features, labels)
print(hashlib.sha256(model.coef_.tobytes() + model.intercept_.tobytes()).hexdigest())
"""


def trained_with(threads: int) -> str:
    """Fit in a process that may use so many threads; return a digest of the model."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": str(threads)}
    return subprocess.run(
        [sys.executable, "-c", TRAIN], env=environment, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.slow
def test_no_bit_depends_on_the_number_of_threads() -> None:
    one = trained_with(1)
    assert len(one.strip()) == 64
    assert trained_with(2) == one
    assert trained_with(3) == one
