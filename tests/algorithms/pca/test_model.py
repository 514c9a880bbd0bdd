"""Projection and reconstruction."""

import numpy as np
import pytest
from scipy.sparse import csr_array

from eigenline.algorithms.pca.model import MOST_FEATURES, PCAModel, sequential_product


def make_model(rng: np.random.Generator, d: int, k: int, mean: bool = True) -> PCAModel:
    components = np.linalg.qr(rng.standard_normal((d, k)))[0].astype(np.float32)
    values = np.arange(k, 0, -1, dtype=np.float32)
    return PCAModel(values, components, rng.standard_normal(d).astype(np.float32) if mean else None)


@pytest.mark.parametrize("d", [1, 5, MOST_FEATURES, MOST_FEATURES + 1, 700])
@pytest.mark.parametrize("mean", [True, False])
def test_projection_is_the_centred_product(rng: np.random.Generator, d: int, mean: bool) -> None:
    model = make_model(rng, d, min(d, 4), mean)
    features = rng.standard_normal((30, d)).astype(np.float32)
    centre = 0.0 if model.mean is None else model.mean.astype(np.float64)
    expected = (features - centre) @ model.components.astype(np.float64)
    projections = model.project(features)
    assert projections.dtype == np.float32
    np.testing.assert_allclose(projections, expected, atol=1e-5)
    np.testing.assert_allclose(model.project(csr_array(features)), expected, atol=1e-5)
    np.testing.assert_allclose(model.project(features.astype(np.float64)), expected, atol=1e-5)
    np.testing.assert_allclose(model.project(np.asfortranarray(features)), expected, atol=1e-5)


@pytest.mark.parametrize(("d", "k"), [(1, 1), (26, 25), (26, 1), (40, 7), (64, 64)])
def test_a_record_has_the_same_bits_in_every_request(rng: np.random.Generator, d: int, k: int) -> None:
    model = make_model(rng, d, k)
    features = rng.standard_normal((70, d)).astype(np.float32)
    together = model.project(features)
    for rows in (1, 2, 9, 33):
        apart = np.concatenate([model.project(features[i : i + rows]) for i in range(0, 70, rows)])
        np.testing.assert_array_equal(apart, together)


def test_unaligned_components_give_the_same_bits(rng: np.random.Generator) -> None:
    model = make_model(rng, 26, 25)
    shifted = np.frombuffer(b"\0" + model.components.tobytes(), np.float32, offset=1).reshape(26, 25)
    assert not shifted.flags.aligned
    features = rng.standard_normal((9, 26)).astype(np.float32)
    unaligned = PCAModel(model.singular_values, shifted, model.mean)
    np.testing.assert_array_equal(unaligned.project(features), model.project(features))


def test_the_sequential_product_rounds_once_per_step() -> None:
    # 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: a float32 product drops the last term, a fused step keeps it
    x = np.float32(1 + 2.0**-12)
    fused = sequential_product(np.array([[1, x]], np.float32), np.array([[-(1 + 2.0**-11)], [x]], np.float32))
    assert fused[0, 0] == np.float32(2.0**-24)
    assert np.float32(-(1 + 2.0**-11)) + x * x == 0


def test_reconstruction_from_all_components_is_the_record(rng: np.random.Generator) -> None:
    for mean in (True, False):
        model = make_model(rng, 8, 8, mean)
        features = rng.standard_normal((12, 8)).astype(np.float32)
        np.testing.assert_allclose(model.reconstruct(model.project(features)), features, atol=1e-5)
