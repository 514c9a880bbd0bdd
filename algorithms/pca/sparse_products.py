"""Products of records with blocks of directions; those of sparse records on several threads."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.pca.blocks import column_sums
from eigenline.algorithms.pca.sparse_rows import row_view

# Below this number of multiplications a thread costs more than it brings.
_WORTH_A_THREAD = 2_000_000

T = TypeVar("T")


def times(features: Features, right: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X R``: X of shape (n, d) and R of shape (d, b) give shape (n, b).

    BLAS has threads of its own; scipy's sparse products have none, but let others run beside them.
    """
    parts = _on_threads(lambda rows: row_view(features, rows) @ right, features, right, threads)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def adjoint_times(features: Features, left: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X' L``: X of shape (n, d) and L of shape (n, b) give shape (d, b)."""
    parts = _on_threads(
        lambda rows: row_view(features, rows, transposed=True) @ left[rows], features, left, threads
    )
    return np.asarray(sum(parts[1:], parts[0]))


def scatter_times(
    features: Features, right: NDArray[Any], shift: NDArray[Any] | None = None, threads: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``X' P`` with ``P = X R - 1 s'``, shape (d, b), and the column sums of P, shape (b,).

    Both products of a thread's records follow each other, so that P is never put together.

    Parameters
    ----------
    features
        X, shape (n, d).
    right
        R, shape (d, b).
    shift
        s, shape (b,); None for zero.
    """

    def product(rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        projected = np.asarray(row_view(features, rows) @ right)
        if shift is not None:
            projected -= shift
        return np.asarray(row_view(features, rows, transposed=True) @ projected), column_sums(projected)

    parts = _on_threads(product, features, right, threads)
    total, sums = parts[0]
    for more, more_sums in parts[1:]:
        total += more
        sums += more_sums
    return total, sums


def _on_threads(product: Callable[[slice], T], features: Features, other: NDArray[Any], threads: int) -> list[T]:
    """Products of consecutive rows with about the same number of values, one part a thread where threads pay."""
    whole = slice(0, features.shape[0])
    if not is_sparse(features) or threads < 2 or features.nnz * other.shape[1] < threads * _WORTH_A_THREAD:
        return [product(whole)]
    from concurrent.futures import ThreadPoolExecutor

    ends = np.searchsorted(features.indptr, np.linspace(0, features.nnz, threads + 1)[1:-1])
    cuts = [slice(start, stop) for start, stop in pairwise([0, *map(int, ends), features.shape[0]])]
    with ThreadPoolExecutor(len(cuts)) as pool:
        return list(pool.map(product, cuts))
