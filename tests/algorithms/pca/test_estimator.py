"""`algorithms.PCA`: every check of scikit-learn's own, and agreement with its PCA."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.sparse import csr_array, csr_matrix
from sklearn import decomposition
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from eigenline import PCA
from eigenline.formats.artifact.model_file import read_artifact, write_artifact

DIGITS = load_digits().data


@parametrize_with_checks([PCA(), PCA(algorithm_mode="randomized"), PCA(num_components=1, subtract_mean=False)])
def test_scikit_learn_accepts_it(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sparse", [None, csr_array, csr_matrix])
def test_attributes_are_those_of_scikit_learn(mode: str, dtype: Any, sparse: Any) -> None:
    features = DIGITS.astype(dtype)
    reference = decomposition.PCA(5, svd_solver="full").fit(DIGITS)
    ours = PCA(5, algorithm_mode=mode).fit(features if sparse is None else sparse(features))
    rtol = 1e-9 if dtype is np.float64 else 1e-5
    for name in ("singular_values_", "explained_variance_", "explained_variance_ratio_"):
        values = getattr(ours, name)
        assert values.dtype == dtype
        np.testing.assert_allclose(values, getattr(reference, name), rtol=rtol)
    np.testing.assert_allclose(ours.mean_, reference.mean_, rtol=rtol, atol=rtol)
    signs = np.sign(np.einsum("kd,kd->k", ours.components_, reference.components_))
    np.testing.assert_allclose(ours.components_, signs[:, None] * reference.components_, atol=1e-7 + 100 * rtol)
    projections = ours.transform(features if sparse is None else sparse(features))
    assert projections.dtype == dtype
    np.testing.assert_allclose(projections, signs * reference.transform(DIGITS), atol=1e-5 + 1e4 * rtol)
    back = ours.inverse_transform(projections)
    np.testing.assert_allclose(
        back, reference.inverse_transform(reference.transform(DIGITS)), atol=1e-5 + 1e3 * rtol
    )


def test_num_components_defaults_to_all_that_can_be_had() -> None:
    assert PCA().fit(DIGITS).n_components_ == 64
    assert PCA().fit(DIGITS[:10]).n_components_ == 10


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_components": 65}, "num_components=65 must be at most n_features=64"),
        ({"num_components": 0}, "num_components: must be an integer of at least 1"),
        ({"algorithm_mode": "exact"}, "algorithm_mode: must be one of"),
        ({"extra_components": -2}, "extra_components: must be"),
    ],
)
def test_wrong_parameters_are_value_errors_that_name_the_rule(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PCA(**parameters).fit(DIGITS)


def test_numpy_scalars_are_parameters_like_python_ones() -> None:
    numpy = PCA(np.int64(2), extra_components=np.int32(5), subtract_mean=np.bool_(False), seed=np.int16(3))
    python = PCA(2, extra_components=5, subtract_mean=False, seed=3)
    np.testing.assert_array_equal(numpy.fit(DIGITS).components_, python.fit(DIGITS).components_)


def test_parameters_changed_after_fit_leave_the_model_alone() -> None:
    estimator = PCA(2).fit(DIGITS)
    before = write_artifact(estimator.model_)
    estimator.set_params(num_components=3, algorithm_mode="randomized", subtract_mean=False)
    assert write_artifact(estimator.model_) == before


@pytest.mark.parametrize("cuts", [[100], [5, 6, 1000], list(range(100, 1700, 100))])
@pytest.mark.parametrize("sparse", [False, True])
def test_partial_fits_give_what_one_fit_gives(cuts: list[int], sparse: bool) -> None:
    whole = PCA(5).fit(DIGITS)
    parts = PCA(5)
    for part in np.split(DIGITS, cuts):
        parts.partial_fit(csr_array(part) if sparse else part)
    assert parts.n_samples_ == len(DIGITS)
    np.testing.assert_allclose(parts.singular_values_, whole.singular_values_, rtol=1e-9)
    np.testing.assert_allclose(parts.components_, whole.components_, atol=1e-6)
    np.testing.assert_allclose(parts.explained_variance_ratio_, whole.explained_variance_ratio_, rtol=1e-9)


def test_partial_fits_of_wide_records_sketch(rng: np.random.Generator) -> None:
    features = rng.standard_normal((600, 1500)) * 0.9 ** np.arange(1500) + 3
    parts = PCA(4, algorithm_mode="randomized")
    for part in np.split(features, 6):
        parts.partial_fit(part)
    best = decomposition.PCA(4, svd_solver="full").fit(features)
    projected = (features - features.mean(axis=0)) @ parts.components_.T
    assert (projected**2).sum() > 0.95 * (best.singular_values_**2).sum()
    assert parts.singular_values_.sum() <= best.singular_values_.sum()


def test_fit_forgets_what_partial_fit_has_seen() -> None:
    estimator = PCA(3).partial_fit(DIGITS[:500]).fit(DIGITS[500:])
    assert estimator.n_samples_ == len(DIGITS) - 500
    assert estimator.partial_fit(DIGITS[:20]).n_samples_ == 20


@pytest.mark.parametrize("mode", ["regular", "randomized"])
def test_its_model_is_an_artifact_of_the_service(mode: str) -> None:
    features = DIGITS.astype(np.float32)
    estimator = PCA(4, algorithm_mode=mode).fit(features)
    model: Any = read_artifact(write_artifact(estimator.model_))
    order = slice(None, None, -1 if mode == "regular" else 1)
    np.testing.assert_allclose(model.project(features)[:, order], estimator.transform(features), atol=1e-4)


def test_it_works_in_a_pipeline_with_names() -> None:
    pipeline = make_pipeline(StandardScaler(), PCA(2))
    projections: NDArray[Any] = clone(pipeline).fit_transform(DIGITS)
    assert projections.shape == (len(DIGITS), 2)
    assert pipeline.fit(DIGITS)[-1].get_feature_names_out().tolist() == ["pca0", "pca1"]
