"""Data whose singular values span many orders of magnitude: every component that is kept is exact."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array

from eigenline import PCA

MODES = ["regular", "randomized"]


def badly_scaled(kind: str) -> NDArray[np.float64]:
    """Records of 20 features: one outlying record, one feature in other units, or falling scales."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((300, 20))
    if kind == "record":
        features[0] = 1e6
    elif kind == "feature":
        features[:, 7] *= 1e5
    else:
        features *= 10.0 ** -np.linspace(0, 6, 20)
    return features


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["record", "feature", "decades"])
def test_weak_components_are_those_of_lapack_in_float64(
    kind: str, mode: str, precision: Any, sparse: bool, centred: bool
) -> None:
    features = badly_scaled(kind).astype(precision)
    exact = features.astype(np.float64)
    _, values, vectors = np.linalg.svd(exact - exact.mean(axis=0) if centred else exact, full_matrices=False)
    ours = PCA(5, algorithm_mode=mode, subtract_mean=centred).fit(csr_array(features) if sparse else features)
    np.testing.assert_allclose(ours.singular_values_, values[:5], rtol=1e-5)
    np.testing.assert_allclose(np.abs(np.einsum("kd,kd->k", ours.components_, vectors[:5])), 1, atol=1e-5)


@pytest.mark.parametrize("mode", MODES)
def test_float64_arrays_of_more_features_keep_components_far_below_float32(mode: str) -> None:
    rng = np.random.default_rng(1)
    features = rng.standard_normal((400, 90)) * 10.0 ** -np.linspace(0, 6, 90)
    _, values, vectors = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    ours = PCA(80, algorithm_mode=mode).fit(features)
    np.testing.assert_allclose(ours.singular_values_, values[:80], rtol=1e-4)
    np.testing.assert_allclose(np.abs(np.einsum("kd,kd->k", ours.components_, vectors[:80])), 1, atol=1e-4)


def test_on_the_records_side_weak_components_are_exact_too() -> None:
    rng = np.random.default_rng(2)
    features = rng.standard_normal((40, 1500)) * 10.0 ** -np.linspace(0, 4, 40)[:, None]
    _, values, vectors = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    ours = PCA(30, algorithm_mode="randomized").fit(features)
    np.testing.assert_allclose(ours.singular_values_, values[:30], rtol=1e-6)
    np.testing.assert_allclose(np.abs(np.einsum("kd,kd->k", ours.components_, vectors[:30])), 1, atol=1e-6)
