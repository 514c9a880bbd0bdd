"""Training: orders, signs, determinism, and agreement with scikit-learn's exact PCA."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, random_array
from sklearn import decomposition
from sklearn.datasets import load_digits

from eigenline.algorithms.errors import DataError
from eigenline.algorithms.pca.settings import read_settings
from eigenline.algorithms.pca.solver_choice import make_plan
from eigenline.algorithms.pca.training import TrainedPCA

Fit = Callable[..., TrainedPCA]
MODES = ("regular", "randomized")


@pytest.fixture(scope="module")
def digits() -> NDArray[np.float32]:
    return np.asarray(load_digits().data, np.float32)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("precision", [np.float32, np.float64])
@pytest.mark.parametrize("transposed", [False, True])
def test_agrees_with_scikit_learn(
    fit: Fit, digits: NDArray[np.float32], mode: str, precision: Any, transposed: bool
) -> None:
    features = digits.T.copy() if transposed else digits
    reference = decomposition.PCA(6, svd_solver="full").fit(features.astype(np.float64))
    trained = fit(features, 6, rows=100, precision=precision, algorithm_mode=mode)
    order = slice(None, None, -1 if mode == "regular" else 1)
    np.testing.assert_allclose(trained.model.singular_values[order], reference.singular_values_, rtol=1e-5)
    np.testing.assert_allclose(trained.model.mean, reference.mean_, atol=1e-5)
    cosines = np.abs(np.einsum("kd,dk->k", reference.components_, trained.model.components[:, order]))
    np.testing.assert_allclose(cosines, 1, atol=1e-4)
    ratio = trained.eigenvalues[order] / trained.total_variance
    np.testing.assert_allclose(ratio, reference.explained_variance_ratio_, rtol=1e-5)
    assert trained.num_records == len(features)


def test_regular_is_ascending_and_randomized_descending(fit: Fit, digits: NDArray[np.float32]) -> None:
    assert (np.diff(fit(digits, 8).model.singular_values) > 0).all()
    assert (np.diff(fit(digits, 8, algorithm_mode="randomized").model.singular_values) < 0).all()


def test_randomized_signs_follow_the_rule(fit: Fit, rng: np.random.Generator) -> None:
    wide = rng.standard_normal((300, 1500))  # too wide for the scatter matrix: the rule, not LAPACK, decides
    components = fit(wide, 5, algorithm_mode="randomized").model.components
    strongest = components[np.argmax(np.abs(components), axis=0), np.arange(5)]
    assert (strongest > 0).all()


@pytest.mark.parametrize("shape", [(400, 60), (300, 1500), (40, 1500)])
def test_a_seed_gives_the_same_bytes_again(fit: Fit, rng: np.random.Generator, shape: tuple[int, int]) -> None:
    features = rng.standard_normal(shape)
    first, again = (fit(features, 4, algorithm_mode="randomized", seed=3).model for _ in range(2))
    assert first.components.tobytes() == again.components.tobytes()
    assert first.singular_values.tobytes() == again.singular_values.tobytes()


def test_another_seed_gives_the_same_model_to_the_accuracy_asked_for(fit: Fit, rng: np.random.Generator) -> None:
    features = rng.standard_normal((300, 1500)) * 0.9 ** np.arange(1500)
    first, other = (fit(features, 4, algorithm_mode="randomized", seed=seed).model for seed in (1, 2))
    np.testing.assert_allclose(first.singular_values, other.singular_values, rtol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_without_subtracting_the_mean_there_is_none(fit: Fit, digits: NDArray[np.float32], mode: str) -> None:
    trained = fit(digits, 3, algorithm_mode=mode, subtract_mean="False")
    assert trained.model.mean is None
    values = np.linalg.svd(digits.astype(np.float64), compute_uv=False)[:3]
    np.testing.assert_allclose(np.sort(trained.model.singular_values)[::-1], values, rtol=1e-5)
    assert trained.total_variance == pytest.approx(float((digits.astype(np.float64) ** 2).sum()))


@pytest.mark.parametrize("mode", MODES)
def test_more_components_than_records_are_filled_up_with_zeros(
    fit: Fit, rng: np.random.Generator, mode: str
) -> None:
    for d in (10, 1500):
        trained = fit(rng.standard_normal((4, d)).astype(np.float32), 8, algorithm_mode=mode)
        values = np.sort(trained.model.singular_values)[::-1]
        assert (values[:3] > 1).all()
        np.testing.assert_allclose(values[3:], 0, atol=1e-2)
        gram = trained.model.components.T @ trained.model.components
        np.testing.assert_allclose(gram, np.eye(8), atol=1e-5)


def test_all_components_of_one_feature(fit: Fit) -> None:
    trained = fit(np.arange(5, dtype=np.float32).reshape(-1, 1), 1)
    assert trained.model.components.tolist() == [[1.0]]
    assert trained.model.singular_values[0] == pytest.approx(10**0.5)


def test_more_components_than_features_name_both_numbers(fit: Fit, digits: NDArray[np.float32]) -> None:
    with pytest.raises(DataError, match=r"num_components is 65.*only 64"):
        fit(digits, 65)


@pytest.mark.parametrize("mode", MODES)
def test_sparse_records_are_trained_without_being_made_dense(
    fit: Fit, rng: np.random.Generator, mode: str
) -> None:
    # 30,000 x 20,000 values would be 2.4 GB in float32; the 6,000 that are not zero are 0.05 MB
    sparse = csr_array(random_array((30_000, 20_000), density=1e-5, rng=rng, dtype=np.float32))
    trained = fit(sparse, 2, algorithm_mode=mode)
    assert trained.model.components.shape == (20_000, 2)
    assert 0 < trained.eigenvalues.sum() < trained.total_variance


@pytest.mark.parametrize(
    ("mode", "k", "extra", "block"),
    [("randomized", 4, -1, 14), ("randomized", 40, -1, 80), ("randomized", 4, 0, 4)],
)
def test_extra_components_set_the_width_of_the_block(mode: str, k: int, extra: int, block: int) -> None:
    given = {"feature_dim": 9, "mini_batch_size": 9, "num_components": k, "extra_components": extra}
    assert make_plan(read_settings({**given, "algorithm_mode": mode}), np.float32).block_size == block


def test_values_that_float32_components_cannot_hold_are_an_error(fit: Fit) -> None:
    with pytest.raises(DataError, match="too large"):
        fit(np.array([[1e39, 1.0], [-1e39, 2.0], [3.0, 1.0]]), 1)
