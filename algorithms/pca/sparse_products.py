"""Products of records with blocks of directions; those of sparse records on several threads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.batch import Features, is_sparse

# Below this number of multiplications a thread costs more than it brings.
_WORTH_A_THREAD = 2_000_000


def times(features: Features, right: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X R``: X of shape (n, d) and R of shape (d, b) give shape (n, b).

    BLAS has threads of its own; scipy's sparse products have none, but let others run beside them.
    """
    cuts = _cuts(features, right, threads)
    if len(cuts) < 2:
        return np.asarray(features @ right)
    return np.concatenate(_together(lambda rows: _part(features, rows) @ right, cuts))


def adjoint_times(features: Features, left: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X' L``: X of shape (n, d) and L of shape (n, b) give shape (d, b)."""
    cuts = _cuts(features, left, threads)
    if len(cuts) < 2:
        return np.asarray(features.T @ left)
    parts = _together(lambda rows: _part(features, rows, transposed=True) @ left[rows], cuts)
    return np.asarray(sum(parts[1:], parts[0]))


def _cuts(features: Features, other: NDArray[Any], threads: int) -> list[slice]:
    """Row ranges of about the same number of values, one a thread; none where threads do not pay."""
    if not is_sparse(features) or threads < 2 or features.nnz * other.shape[1] < threads * _WORTH_A_THREAD:
        return []
    ends = np.searchsorted(features.indptr, np.linspace(0, features.nnz, threads + 1)[1:-1])
    edges = [0, *map(int, ends), features.shape[0]]
    return [slice(start, stop) for start, stop in pairwise(edges)]


def _part(features: Any, rows: slice, *, transposed: bool = False) -> Any:
    """Consecutive rows of a CSR array as a view of its values, or their transpose.

    scipy's own slices copy, and its transposes search all indices for the largest: each costs a product's time.
    """
    from scipy.sparse import csc_array, csr_array

    first, last = features.indptr[rows.start], features.indptr[rows.stop]
    count, d = rows.stop - rows.start, features.shape[1]
    part = (
        csc_array((d, count), dtype=features.dtype) if transposed else csr_array((count, d), dtype=features.dtype)
    )
    part.data, part.indices = features.data[first:last], features.indices[first:last]
    part.indptr = features.indptr[rows.start : rows.stop + 1] - first
    return part


def _together(product: Callable[[slice], Any], cuts: list[slice]) -> list[NDArray[Any]]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(len(cuts)) as pool:
        return [np.asarray(result) for result in pool.map(product, cuts)]
