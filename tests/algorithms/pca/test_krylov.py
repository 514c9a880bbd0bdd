"""The block Krylov basis: orthonormal through every restart, and never worse for one product more."""

import numpy as np
import pytest

from eigenline.algorithms.pca import krylov


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e6])
def test_noise_takes_many_restarts_and_loses_nothing(rng: np.random.Generator, scale: float) -> None:
    # The eigenvalues of noise lie close together: the iteration is long, and what rounding leaves adds up.
    records = rng.normal(size=(3000, 600))
    matrix = (scale * records.T @ records).astype(np.float32)
    best = np.linalg.eigvalsh(matrix.astype(np.float64))[-5:].sum()
    state = krylov.begin(krylov.directions(600, 10, np.float32, rng), 10)
    captured = []
    for _ in range(40):
        state = krylov.extend(state, matrix @ state.following)
        captured.append(krylov.captured(state, 5) / best)
        known = state.known.astype(np.float64)
        np.testing.assert_allclose(known.T @ known, np.eye(known.shape[1]), atol=2e-6)
    assert captured[-1] > 0.9999
    assert captured[-1] < 1 + 1e-6
    assert np.diff(captured).min() > -1e-3  # a restart takes a little, the next product gives it back
