"""Products of sparse records: the same on any number of threads, and BLAS out of their way."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array
from threadpoolctl import threadpool_info

from eigenline.algorithms.blas_threads import blas_out_of_the_way
from eigenline.algorithms.pca.rows import CentredRows
from eigenline.algorithms.pca.sparse_products import adjoint_times, scatter_times, times
from eigenline.algorithms.pca.sparse_rows import row_view


@pytest.fixture
def sparse(rng: np.random.Generator) -> Any:
    features = csr_array(random_array((30_000, 2_000), density=0.02, rng=rng))
    assert features.nnz * 50 > 7 * 2_000_000  # enough for each thread to be worth its while
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
    records = CentredRows(sparse, sparse.mean(axis=0), threads)
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
