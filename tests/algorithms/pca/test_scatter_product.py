"""Products of sparse records: the same on any number of threads, and BLAS out of their way."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array
from threadpoolctl import threadpool_info

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.pca.blocks import row_view
from eigenline.algorithms.pca.held_records import CentredRecords
from eigenline.algorithms.pca.scatter_product import ScatterProduct, adjoint_times, scatter_times, times


@pytest.fixture
def sparse(rng: np.random.Generator) -> Any:
    features = csr_array(random_array((30_000, 2_000), density=0.02, rng=rng))
    assert features.nnz * 50 > 2 * 20_000_000  # more than one part
    return features


@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_products_on_threads_are_the_same_products(rng: np.random.Generator, sparse: Any, threads: int) -> None:
    right, left = rng.standard_normal((2_000, 50)), rng.standard_normal((30_000, 50))
    np.testing.assert_allclose(times(sparse, right, threads), sparse @ right, atol=1e-9)
    np.testing.assert_allclose(adjoint_times(sparse, left, threads), sparse.T @ left, atol=1e-9)
    product, sums = scatter_times(sparse, right, None, threads)
    np.testing.assert_allclose(product, sparse.T @ (sparse @ right), atol=1e-8)
    np.testing.assert_allclose(sums, (sparse @ right).sum(axis=0), atol=1e-8)


@pytest.mark.parametrize("threads", [1, 2])
def test_the_mean_is_taken_off_without_making_records_dense(
    rng: np.random.Generator, sparse: Any, threads: int
) -> None:
    right = rng.standard_normal((2_000, 50))
    records = CentredRecords(sparse, sparse.mean(axis=0), threads)
    centred = sparse.toarray() - sparse.mean(axis=0)
    np.testing.assert_allclose(records.scatter_times(right), centred.T @ (centred @ right), atol=1e-8)
    np.testing.assert_allclose(
        records.scatter_times(right), records.adjoint_times(records.times(right)), atol=1e-8
    )


def test_rows_are_views(sparse: Any) -> None:
    part = row_view(sparse, slice(100, 300))
    assert np.shares_memory(part.data, sparse.data)
    assert np.shares_memory(part.indices, sparse.indices)
    assert (part != sparse[100:300]).nnz == 0
    assert (row_view(sparse, slice(100, 300), transposed=True) != sparse[100:300].T).nnz == 0


def test_blas_has_one_thread_meanwhile_and_its_own_again_afterwards() -> None:
    def threads() -> list[int]:
        return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]

    before = threads()
    with blas_out_of_the_way():
        assert set(threads()) == {1}
    assert threads() == before


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("centred", [False, True])
@pytest.mark.parametrize("offset", [0.0, 50.0])
def test_streamed_products_are_those_of_the_scatter_matrix(
    rng: np.random.Generator, sparse: bool, centred: bool, offset: float
) -> None:
    features = rng.standard_normal((90, 7)) + offset
    directions = rng.standard_normal((7, 3))
    origin = None if sparse or not offset else features[:10].mean(axis=0)
    work = ScatterProduct(directions, origin, np.float64)
    halves = [
        work.update(work.begin(), Batch(csr_array(part) if sparse else part), 0)
        for part in np.split(features, [40])
    ]
    moved = features - features.mean(axis=0) if centred else features
    result = work.finish(work.merge(*halves), centred)
    np.testing.assert_allclose(result, moved.T @ (moved @ directions), rtol=1e-9, atol=1e-6)
