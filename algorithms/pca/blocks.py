"""Blocks of records as the products take them: of one precision, of a good size, near the origin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray, Features, is_sparse
from eigenline.algorithms.records import PairSum

# numpy.float32 or numpy.float64
Precision: TypeAlias = "type[np.float32] | type[np.float64]"
Array64: TypeAlias = NDArray[np.float64]

# Copies are made block by block: large enough that a BLAS product runs at full speed and that adding its
# result to a float64 total is cheap beside it, small enough to stay "a batch".
BLOCK_BYTES: Final = 32 << 20
# A float32 product adds up at most so many records before its result goes to the float64 total.
BLOCK_ROWS: Final = 16_384
# Above this ratio of squared mean to variance, float32 products of raw records lose digits to the mean.
_FAR_FROM_ORIGIN: Final = 16.0
# So many values are added up in float32 before float64 takes over.
_SLAB: Final = 4096
# So many values of a large pair of sums are added at a time: its intermediate arrays stay in the cache.
_PAIR_SLAB: Final = 65_536


def blocks(features: Features, origin: Array64 | None, precision: Precision) -> Iterator[Features]:
    """Cut a batch into blocks of `precision`, moved so that `origin` becomes zero.

    Without an origin records are taken as they are, sparse ones stay sparse. Every user of blocks removes
    what is left of the mean exactly, by a rank-one correction in float64; the origin only keeps that
    correction small beside the result. A sparse batch among dense ones that have an origin is made dense block
    by block.

    Parameters
    ----------
    features
        Shape (n, d), dense or CSR.
    origin
        Shape (d,), float64; None for zero.
    precision
        Type of the blocks' values.
    """
    width = np.dtype(precision).itemsize * max(1, features.shape[1])
    copied = origin is not None or (features.dtype != precision and not is_sparse(features))
    rows = min(BLOCK_ROWS, max(1, BLOCK_BYTES // width)) if copied else BLOCK_ROWS
    for start in range(0, features.shape[0], rows):
        stop = min(start + rows, features.shape[0])
        part = row_view(features, slice(start, stop)) if rows < features.shape[0] else features
        if origin is not None:
            part = (part.toarray() if is_sparse(part) else part) - origin.astype(part.dtype)
        yield part.astype(precision, copy=False)


def useful_origin(mean: Array64, variance: float) -> Array64 | None:
    """Return `mean` where records lie so far from zero that products need it taken off first, else None.

    Parameters
    ----------
    mean
        Column means, shape (d,).
    variance
        Sum of the columns' variances.
    """
    return mean if float(mean @ mean) > _FAR_FROM_ORIGIN * variance else None


def pilot_origin(features: Features) -> Array64:
    """Choose an origin from the first records, before anything else is known of the data.

    Returns
    -------
    The mean of the first 256 records where they lie far from zero, else zeros; shape (d,), float64.
    """
    zero = np.zeros(features.shape[1])
    if is_sparse(features):
        return zero
    sample = np.asarray(features[:256], np.float64)
    if not np.isfinite(sample).all():
        return zero  # the pass itself finds the value and names its place
    origin = useful_origin(sample.mean(axis=0), float(sample.var(axis=0).sum()))
    return zero if origin is None else origin


def squared_norm(block: Features) -> float:
    """Sum of the squares of all values of a block; float64 over float32 sums of at most `_SLAB` values.

    Values of sparse blocks are squared in float64: they cannot be moved near zero, where float32 would do.
    """
    if is_sparse(block):
        return float(np.sum(np.square(block.data, dtype=np.float64)))
    values = np.ravel(np.asarray(block))
    whole = values.size // _SLAB * _SLAB
    slabs = values[:whole].reshape(-1, _SLAB)
    tail = values[whole:].astype(np.float64)
    return float(np.vecdot(slabs, slabs).sum(dtype=np.float64) + tail @ tail)


def column_sums(block: Features) -> Array64:
    """Sum of each column, float64, shape (d,); dense columns over partial sums of 64 records.

    numpy's own ``sum(dtype=float64)`` of float32 columns takes five times as long, and a plain float32 sum
    loses digits with the number of records.
    """
    if is_sparse(block):
        return np.asarray(block.sum(axis=0, dtype=np.float64), np.float64).reshape(-1)
    dense: DenseArray = block  # type: ignore[assignment]
    whole = dense.shape[0] // 64 * 64
    slabs = dense[:whole].reshape(-1, 64, dense.shape[1])
    partial = np.matmul(np.ones((1, 64), dense.dtype), slabs).sum(axis=0, dtype=np.float64)
    return np.asarray(partial.reshape(-1) + dense[whole:].sum(axis=0, dtype=np.float64), np.float64)


def add_in_slabs(total: PairSum, term: NDArray[np.floating[Any]]) -> None:
    """Add a large array to a pair of sums, in place: the bits of ``total.add(term)``, in less time and memory.

    Parameters
    ----------
    total
        Of arrays of shape (p, q).
    term
        Shape (p, q).
    """
    for rows in _slabs(term.shape):
        PairSum(total.high[rows], total.low[rows]).add(term[rows])


def merge_in_slabs(total: PairSum, other: PairSum) -> None:
    """Add a pair of sums of large arrays to another one, in place, as `add_in_slabs` adds an array."""
    for rows in _slabs(other.high.shape):
        PairSum(total.high[rows], total.low[rows]).merge(PairSum(other.high[rows], other.low[rows]))


def _slabs(shape: tuple[int, ...]) -> Iterator[slice]:
    size = max(1, _PAIR_SLAB // max(1, shape[1]))
    for start in range(0, shape[0], size):
        yield slice(start, start + size)


def row_view(features: Features, rows: slice, *, transposed: bool = False) -> Any:
    """Rows ``start:stop`` without copying values, or their transpose.

    scipy's own slices copy, and its transposes search all indices for the largest: each costs a product's time.
    """
    if not is_sparse(features):
        return features[rows].T if transposed else features[rows]
    from scipy.sparse import csc_array, csr_array

    first, last = features.indptr[rows.start], features.indptr[rows.stop]
    count, d = rows.stop - rows.start, features.shape[1]
    part: Any = (
        csc_array((d, count), dtype=features.dtype) if transposed else csr_array((count, d), dtype=features.dtype)
    )
    part.data, part.indices = features.data[first:last], features.indices[first:last]
    part.indptr = features.indptr[rows.start : rows.stop + 1] - first
    return part


def dense(product: Any) -> NDArray[Any]:
    """Return a matrix product as an ndarray: that of two sparse matrices is sparse itself."""
    return np.asarray(product.toarray() if hasattr(product, "toarray") else product)
