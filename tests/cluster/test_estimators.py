"""Estimators for a user's own Dask cluster, on workers in this process: what they accept, return and refuse."""

import pickle
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.delayed import delayed
from distributed import Client, LocalCluster
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.base import clone

import eigenline
from eigenline.cluster import PCA, LinearLearnerClassifier, LinearLearnerRegressor

pytestmark = pytest.mark.dask

ROWS, FEATURES = 600, 4


@pytest.fixture(scope="module", autouse=True)
def client() -> Iterator[Client]:
    """The default client, of two workers that are threads of this process."""
    options: dict[str, Any] = {"n_workers": 2, "threads_per_worker": 1, "memory_limit": 0}
    with (
        LocalCluster(processes=False, dashboard_address=None, silence_logs=50, **options) as cluster,
        Client(cluster, timeout=300) as client,
    ):
        client.wait_for_workers(2, timeout=300)
        yield client


def numbers(dtype: Any = np.float64) -> tuple[NDArray[Any], NDArray[Any]]:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(ROWS, FEATURES)).astype(dtype)
    return X, X @ np.array([1.0, -2.0, 0.5, 0.0]) + 0.3 * rng.normal(size=ROWS)


def in_chunks(array: Any, size: int = 170) -> Any:
    return da.from_array(array, chunks=(size, *array.shape[1:]))


def of_unknown_sizes(array: Any, size: int = 170) -> Any:
    """Return an array as it comes of delayed pieces, one of them without rows."""
    pieces = [array[:0], *(array[start : start + size] for start in range(0, len(array), size))]
    shape = (np.nan, *array.shape[1:])
    return da.concatenate(
        [da.from_delayed(delayed(piece), shape, array.dtype) for piece in pieces], allow_unknown_chunksizes=True
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("chunked", [in_chunks, of_unknown_sizes])
def test_pca_is_that_of_all_records_and_transforms_lazily(chunked: Any, dtype: Any) -> None:
    X, _ = numbers(dtype)
    pca = PCA(num_components=2).fit(chunked(X))
    plain = eigenline.PCA(num_components=2).fit(X)
    assert type(pca.components_) is np.ndarray
    assert pca.components_.dtype == dtype
    np.testing.assert_allclose(pca.components_, plain.components_, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(pca.singular_values_, plain.singular_values_, rtol=1e-5)
    projected = pca.transform(chunked(X))
    assert isinstance(projected, da.Array)
    assert projected.dtype == projected.compute().dtype == dtype
    np.testing.assert_array_equal(projected.compute(), pca.transform(X))
    back = pca.inverse_transform(projected)
    np.testing.assert_array_equal(back.compute(), pca.inverse_transform(pca.transform(X)))


def test_pca_of_sparse_chunks_without_a_limit_of_components() -> None:
    X, _ = numbers()
    sparse = da.map_blocks(csr_array, in_chunks(np.where(X > 0.5, X, 0)), dtype=X.dtype, meta=csr_array((0, 0)))
    pca = PCA().fit(sparse)
    plain = eigenline.PCA().fit(csr_array(np.where(X > 0.5, X, 0)))
    np.testing.assert_allclose(pca.singular_values_, plain.singular_values_, rtol=1e-10)
    np.testing.assert_allclose(
        pca.transform(sparse).compute(), plain.transform(np.where(X > 0.5, X, 0)), atol=1e-9
    )


@pytest.mark.parametrize("count", [2, 3])
def test_a_classifier_of_texts_with_weights_and_validation(count: int) -> None:
    X, raw = numbers()
    y = np.array(["no", "perhaps", "yes"])[np.digitize(raw, [-1.0, 1.0][: count - 1])]
    w = np.random.default_rng(4).integers(0, 3, ROWS).astype(np.float64)
    half = in_chunks(X[:300], 90), in_chunks(y[:300], 90)
    found = LinearLearnerClassifier().fit(in_chunks(X), in_chunks(y), in_chunks(w), validation=half)
    plain = eigenline.LinearLearnerClassifier().fit(X, y, w, validation=(X[:300], y[:300]))
    np.testing.assert_array_equal(found.classes_, plain.classes_)
    np.testing.assert_allclose(found.coef_, plain.coef_, rtol=1e-5, atol=1e-7)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        lazy = getattr(found, method)(in_chunks(X))
        assert isinstance(lazy, da.Array)
        here = getattr(found, method)(X)
        assert (lazy.shape, lazy.dtype) == (here.shape, here.dtype)
        np.testing.assert_array_equal(lazy.compute(), here)
    assert found.score(in_chunks(X), in_chunks(y), in_chunks(w)) == found.score(X, y, w)


def test_a_regressor_of_a_data_frame_knows_its_columns() -> None:
    X, y = numbers()
    frame = pd.DataFrame(X, columns=list("abcd"))
    chunked, labels = dd.from_pandas(frame, npartitions=3), dd.from_pandas(pd.Series(y), npartitions=3)
    found = LinearLearnerRegressor().fit(chunked, labels)
    plain = eigenline.LinearLearnerRegressor().fit(frame, y)
    np.testing.assert_allclose(found.coef_, plain.coef_, rtol=1e-6)
    np.testing.assert_array_equal(found.feature_names_in_, list("abcd"))
    np.testing.assert_array_equal(found.predict(chunked).compute(), found.predict(frame))
    assert found.score(chunked, labels) == found.score(frame, y)
    with pytest.raises(ValueError, match="feature names"):
        found.predict(chunked[list("abdc")])


def test_a_fitted_estimator_goes_on_without_the_cluster(client: Client) -> None:
    X, y = numbers()
    found = LinearLearnerRegressor(client=client, l1=0.01).fit(in_chunks(X), in_chunks(y))
    assert found.client_ is client
    assert clone(found).client is client
    assert "client" not in found.get_params()
    assert clone(found).get_params() == found.get_params()
    again = pickle.loads(pickle.dumps(found))
    assert again.client is None
    local = found.to_local()
    assert type(local) is eigenline.LinearLearnerRegressor
    assert local.get_params() == found.get_params()
    for other in (again, local):
        np.testing.assert_array_equal(other.predict(X), found.predict(X))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (lambda X, y: {"X": X.rechunk((200, 2)), "y": y}, r"X is split by columns .*rechunk\(\{1: -1\}\)"),
        (lambda X, y: {"X": X, "y": y.rechunk(100)}, "X has 4 chunk.* of 170, .*y has 6 chunk.* of 100"),
        (lambda X, y: {"X": X, "y": y, "sample_weight": y.rechunk(100)}, "X has 4 .*sample_weight has 6"),
        (lambda X, y: {"X": X, "y": of_unknown_sizes(y.compute())}, "X has 4 chunk.* y has 5 chunk.* of [?]"),
        (lambda X, y: {"X": X, "y": of_unknown_sizes(y.compute()[170:])}, "y has 0 rows, X has 170"),
        (lambda X, y: {"X": X, "y": y.compute()}, "y is a ndarray, and the others are Dask collections"),
        (lambda X, y: {"X": X.compute(), "y": y}, "X is a ndarray, and the others are Dask collections"),
        (lambda X, y: {"X": X, "y": X}, "y has 2 dimension"),
        (lambda X, y: {"X": X, "y": y, "sample_weight": -abs(y)}, "X, chunk 0: sample_weight has -"),
        (lambda X, y: {"X": X, "y": y, "sample_weight": y * 0}, "holds no record"),
        (lambda X, y: {"X": da.where(X > 3, np.nan, X), "y": y}, "X, chunk 0: Input X contains NaN"),
        (lambda X, y: {"X": X[:0], "y": y[:0]}, "holds no record"),
        (lambda X, y: {"X": X, "y": y, "validation": (X[:, :2], y)}, "2 features"),
        (lambda X, y: {"X": X, "y": delayed(1)}, "y is a Dask Delayed"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(given: Any, sentence: str) -> None:
    X, y = numbers()
    X[5, 1] = 3.5
    with pytest.raises((TypeError, ValueError), match=sentence):
        LinearLearnerRegressor().fit(**given(in_chunks(X), in_chunks(y)))


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        (lambda y: y, "Expected whole numbers or texts"),
        (lambda y: (y > 1e6).astype(int), "at least two classes"),
        (lambda y: np.array(["a", 1, None], object)[(y > 0).astype(int)], "values of types int, str"),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels: Any, sentence: str) -> None:
    X, y = numbers()
    with pytest.raises(ValueError, match=sentence):
        LinearLearnerClassifier().fit(in_chunks(X), in_chunks(labels(y)))


@pytest.mark.parametrize("parameters", [{"optimizer": "adam"}, {"epochs": 1}, {"compatibility": "aws"}])
def test_training_in_stored_order_is_refused(parameters: Any) -> None:
    X, y = numbers()
    with pytest.raises(ValueError, match="in stored order, which only one machine can"):
        LinearLearnerRegressor(**parameters).fit(in_chunks(X), in_chunks(y))


def test_plain_estimators_refuse_dask_collections_and_name_the_others() -> None:
    X, y = numbers()
    chunked = in_chunks(X)
    with pytest.raises(TypeError, match=r"eigenline\.cluster\.PCA"):
        eigenline.PCA().fit(chunked)
    with pytest.raises(TypeError, match=r"eigenline\.cluster\.PCA"):
        eigenline.PCA().fit(X).transform(chunked)
    with pytest.raises(TypeError, match=r"eigenline\.cluster\.LinearLearnerRegressor"):
        eigenline.LinearLearnerRegressor().fit(X, in_chunks(y))
    with pytest.raises(TypeError, match=r"eigenline\.cluster\.LinearLearnerRegressor"):
        eigenline.LinearLearnerRegressor().fit(X, y, validation=(chunked, y))
    with pytest.raises(TypeError, match=r"eigenline\.cluster\.LinearLearnerClassifier"):
        eigenline.LinearLearnerClassifier().fit(dd.from_pandas(pd.DataFrame(X), npartitions=2), y > 0)
    with pytest.raises(TypeError, match="partial_fit"):
        PCA().partial_fit(chunked)


@pytest.mark.slow
def test_estimators_in_memory_import_no_dask() -> None:
    program = (
        "import sys, numpy, eigenline; eigenline.PCA().fit(numpy.eye(3));"
        "eigenline.LinearLearnerRegressor; assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
