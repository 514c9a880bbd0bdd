"""Records kept in memory while they are few, as one matrix that is centred without being changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.pca.blocks import Array64, Precision
from eigenline.algorithms.pca.scatter_product import adjoint_times, scatter_times, times


@dataclass(eq=False)
class HeldRecords:
    """The records seen so far, in the precision of the products.

    Dense records are copied into one buffer that is reserved at the beginning (the system provides its pages
    only as they are filled), so that the products over all of them are single BLAS calls.

    Attributes
    ----------
    ends, firsts
        Number of records held after each block; the position of its first record among all records.
    buffer
        Shape (capacity, d): dense records in its first rows; None before the first and where records are sparse.
    sparse
        Sparse records, block by block.
    """

    ends: list[int] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    buffer: NDArray[Any] | None = None
    sparse: list[Features] = field(default_factory=list)

    @property
    def count(self) -> int:
        """Number of records held."""
        return self.ends[-1] if self.ends else 0

    @property
    def num_bytes(self) -> int:
        """That the sparse records take; dense ones are bounded by the buffer."""
        return sum(part.data.nbytes + part.indices.nbytes for part in self.sparse if is_sparse(part))

    @property
    def features(self) -> Features:
        """All records held, in the order of their positions, shape (count, d)."""
        order = sorted(range(len(self.firsts)), key=self.firsts.__getitem__)
        if self.buffer is not None:
            if order == sorted(order):
                return self.buffer[: self.count]
            blocks = self.blocks()
            return np.concatenate([blocks[place] for place in order])
        if len(self.sparse) == 1:
            return self.sparse[0]
        from scipy.sparse import csr_array, vstack

        return csr_array(vstack([csr_array(self.sparse[place]) for place in order], format="csr"))

    def __getstate__(self) -> dict[str, Any]:
        """What travels is what is held, and not the room for more."""
        buffer = None if self.buffer is None else self.buffer[: self.count]
        return {"ends": self.ends, "firsts": self.firsts, "buffer": buffer, "sparse": self.sparse}

    def blocks(self) -> list[Features]:
        """The blocks as they came, each of shape (n, d)."""
        if self.buffer is None:
            return self.sparse
        return [self.buffer[start:stop] for start, stop in zip([0, *self.ends], self.ends, strict=False)]


@dataclass(frozen=True, eq=False)
class Holding:
    """What is held of the records of a pass: all of them, or, if they do not fit or mix sparse with dense, none.

    Attributes
    ----------
    origin
        Point that dense records are moved to before they are rounded to the precision, shape (d,), float64.
    precision
        In which records are held.
    limit_bytes
        What they may take.
    """

    origin: Array64
    precision: Precision
    limit_bytes: int

    def add(self, state: HeldRecords, features: Features, position: int) -> bool:
        """Add a block, in place; False, and nothing is changed, where it does not fit.

        Parameters
        ----------
        features
            Shape (n, d), dense or CSR.
        position
            Of its first record among all records.
        """
        return self._append(state, features, position, moved=bool(self.origin.any()))

    def merge(self, first: HeldRecords, second: HeldRecords) -> bool:
        """Add other records to some, in place; False, and nothing is changed, where they do not fit."""
        kept = list(first.ends), list(first.firsts), list(first.sparse)
        blocks = zip(second.blocks(), second.firsts, strict=True)
        if all(self._append(first, block, position, moved=False) for block, position in blocks):
            return True
        first.ends, first.firsts, first.sparse = kept
        return False

    def _append(self, state: HeldRecords, features: Features, position: int, *, moved: bool) -> bool:
        stop = state.count + int(features.shape[0])
        if is_sparse(features):
            part = features.astype(self.precision, copy=False)
            size = state.num_bytes + part.data.nbytes + part.indices.nbytes
            if state.buffer is not None or size > self.limit_bytes:
                return False
            state.sparse.append(part)
            state.ends.append(stop)
            state.firsts.append(position)
            return True
        capacity = self.limit_bytes // (np.dtype(self.precision).itemsize * features.shape[1])
        if state.sparse or stop > capacity:
            return False
        if state.buffer is None or stop > len(state.buffer):
            known, state.buffer = state.buffer, np.empty((capacity, features.shape[1]), self.precision)
            if known is not None:
                state.buffer[: state.count] = known[: state.count]
        rows = state.buffer[state.count : stop]
        if moved:
            np.subtract(np.asarray(features), self.origin.astype(features.dtype), out=rows, casting="same_kind")
        else:
            rows[...] = features
        state.ends.append(stop)
        state.firsts.append(position)
        return True


@dataclass(frozen=True, eq=False)
class CentredRecords:
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
