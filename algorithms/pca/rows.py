"""Records kept in memory while they are few, as one matrix that is centred without being changed."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.pca.blocks import Array64, Precision
from eigenline.algorithms.pca.sparse_products import adjoint_times, scatter_times, times


@dataclass(frozen=True, eq=False)
class HeldRows:
    """The records seen so far, in the precision of the products.

    Dense records are copied into one buffer that was reserved at the beginning (the system provides its pages
    only as they are filled), so that the products over all of them are single BLAS calls.

    Attributes
    ----------
    buffer
        Shape (capacity, d): dense records in its first `count` rows; None where records are sparse.
    origin
        Point that dense records were moved to before they were rounded to the precision, shape (d,).
    sparse
        Sparse records, in parts.
    count
        Number of records held.
    overflown
        True once there were too many; nothing is held any more.
    """

    buffer: NDArray[Any] | None
    origin: Array64
    sparse: tuple[Features, ...] = ()
    count: int = 0
    overflown: bool = False

    @property
    def features(self) -> Features:
        """All records held, moved to the origin, shape (count, d)."""
        if self.buffer is not None:
            return self.buffer[: self.count]
        if len(self.sparse) == 1:
            return self.sparse[0]
        from scipy.sparse import csr_array, vstack

        return csr_array(vstack([csr_array(part) for part in self.sparse], format="csr"))


def begin(features: Features, origin: Array64, precision: Precision, limit_bytes: int) -> HeldRows:
    """Reserve room for records like `features`, which are not added yet."""
    if is_sparse(features):
        return HeldRows(None, origin)
    capacity = limit_bytes // (np.dtype(precision).itemsize * features.shape[1])
    return HeldRows(np.empty((capacity, features.shape[1]), precision), origin)


def update(state: HeldRows, features: Features, precision: Precision, limit_bytes: int) -> HeldRows:
    """Add a batch, or give up holding where it does not fit or mixes sparse with dense.

    The buffer is filled in place, but an earlier state keeps what it had, so that it can still be read after
    this one has given up.
    """
    count = state.count + int(features.shape[0])
    if state.overflown or is_sparse(features) != (state.buffer is None):
        return HeldRows(None, state.origin, overflown=True)
    if is_sparse(features):
        parts = (*state.sparse, features.astype(precision, copy=False))
        size = sum(part.data.nbytes + part.indices.nbytes for part in parts if is_sparse(part))
        if size > limit_bytes:
            return HeldRows(None, state.origin, overflown=True)
        return HeldRows(None, state.origin, parts, count)
    assert state.buffer is not None
    if count > len(state.buffer):
        return HeldRows(None, state.origin, overflown=True)
    rows = state.buffer[state.count : count]
    if state.origin.any():
        np.subtract(np.asarray(features), state.origin.astype(features.dtype), out=rows, casting="same_kind")
    else:
        rows[...] = features
    return replace(state, count=count)


@dataclass(frozen=True, eq=False)
class CentredRows:
    """The matrix ``X - 1 m'`` of records minus their mean, by its products only: X stays sparse, or as it is.

    Attributes
    ----------
    features
        X, shape (n, d).
    mean
        m, shape (d,); None for zero.
    threads
        That products of sparse records may use.
    """

    features: Features
    mean: Array64 | None
    threads: int = 1

    @property
    def shape(self) -> tuple[int, int]:
        """Number of records and of features."""
        return int(self.features.shape[0]), int(self.features.shape[1])

    def times(self, right: NDArray[Any]) -> NDArray[Any]:
        """``(X - 1 m') R`` for R of shape (d, b), shape (n, b)."""
        product = times(self.features, right, self.threads)
        if self.mean is None:
            return product
        return np.asarray(product - (self.mean @ right).astype(right.dtype))

    def adjoint_times(self, left: NDArray[Any]) -> NDArray[Any]:
        """``(X - 1 m')' L`` for L of shape (n, b), shape (d, b)."""
        product = adjoint_times(self.features, left, self.threads)
        if self.mean is None:
            return product
        shift = np.outer(self.mean, left.sum(axis=0, dtype=np.float64)).astype(left.dtype)
        return np.asarray(product - shift)

    def scatter_times(self, right: NDArray[Any]) -> NDArray[Any]:
        """``(X - 1 m')' (X - 1 m') R`` for R of shape (d, b), shape (d, b)."""
        shift = None if self.mean is None else (self.mean @ right).astype(right.dtype)
        product, sums = scatter_times(self.features, right, shift, self.threads)
        if self.mean is not None:  # centred projections add up to zero, but for rounding
            product -= np.outer(self.mean.astype(right.dtype), sums.astype(right.dtype))
        return product
