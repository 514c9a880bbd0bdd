"""The scatter matrix times a block of directions, in one pass and without forming the matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Features, is_sparse
from eigenline.algorithms.blas_threads import in_order
from eigenline.algorithms.pca.blocks import (
    Array64,
    Precision,
    add_in_slabs,
    blocks,
    column_sums,
    merge_in_slabs,
    row_view,
)
from eigenline.algorithms.pca.moments import check_width
from eigenline.algorithms.records import PairSum

# A part of a sparse product has at least so many multiplications: below, a thread costs more than it brings.
_PART: Final = 20_000_000
# Each part has a result of its own, d numbers per direction, which must be added.
_MOST_PARTS: Final = 8
_VALUES_PER_FEATURE: Final = 4

T = TypeVar("T")


@dataclass(eq=False)
class ProductSums:
    """What `ScatterProduct` adds up over records ``y = x - origin``, with Z the directions.

    Attributes
    ----------
    count
        Number of records.
    total
        ``sum(y' (y Z))``, shape (d, b).
    row_sums
        ``sum(y Z)``, shape (b,).
    sums
        ``sum(y)``, shape (d,).
    """

    count: int
    total: PairSum
    row_sums: PairSum
    sums: PairSum


@dataclass(frozen=True, eq=False)
class ScatterProduct:
    """The work of a pass for the scatter matrix times Z; a `Work`.

    Attributes
    ----------
    directions
        Z, shape (d, b), in the precision of the products.
    origin
        Point that dense records are moved to, shape (d,), float64; None for zero.
    precision
        Of the products inside a block.
    threads
        That products of sparse records may use; their number changes no bit.

    Notes
    -----
    Cost per record: 4 d b operations; memory: 20 d b bytes, whatever the number of records.
    """

    directions: NDArray[Any]
    origin: Array64 | None
    precision: Precision
    threads: int = 1

    def begin(self) -> ProductSums:
        """Return the sums over no record."""
        d, b = self.directions.shape
        return ProductSums(0, PairSum.zeros((d, b)), PairSum.zeros(b), PairSum.zeros(d))

    def update(self, state: ProductSums, batch: Batch, first: int) -> ProductSums:
        """Add records."""
        check_width(batch, len(self.directions), first)
        for block in blocks(batch.features, self.origin, self.precision):
            product, projected_sums = scatter_times(block, self.directions, threads=self.threads)
            add_in_slabs(state.total, product)
            state.row_sums.add(projected_sums)
            state.sums.add(column_sums(block))
        state.count += len(batch)
        return state

    def merge(self, first: ProductSums, second: ProductSums) -> ProductSums:
        """Add the sums over later records."""
        first.count += second.count
        merge_in_slabs(first.total, second.total)
        first.row_sums.merge(second.row_sums)
        first.sums.merge(second.sums)
        return first

    def finish(self, state: ProductSums, centred: bool = True) -> Array64:
        """Scatter matrix times Z: ``sum((x - m)' (x - m) Z)``, shape (d, b), float64; m the mean or zero."""
        total, row_sums, sums = state.total.value, state.row_sums.value, state.sums.value
        if centred:
            return total - np.outer(sums, row_sums / max(1, state.count))
        if self.origin is None:
            return total
        # x = y + o:  x'xZ = y'yZ + o'(yZ) + y'(oZ) + o'(oZ)
        shift = self.origin @ self.directions.astype(np.float64)
        return total + np.outer(self.origin, row_sums + state.count * shift) + np.outer(sums, shift)


def times(features: Features, right: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X R``: X of shape (n, d) and R of shape (d, b) give shape (n, b).

    BLAS has threads of its own; scipy's sparse products have none, but let others run beside them.
    """
    parts = list(_in_parts(lambda rows: row_view(features, rows) @ right, features, right, threads))
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def adjoint_times(features: Features, left: NDArray[Any], threads: int = 1) -> NDArray[Any]:
    """``X' L``: X of shape (n, d) and L of shape (n, b) give shape (d, b)."""
    parts = _in_parts(lambda rows: row_view(features, rows, transposed=True) @ left[rows], features, left, threads)
    total = np.asarray(next(parts))
    for more in parts:
        total += more
    return total


def scatter_times(
    features: Features, right: NDArray[Any], shift: NDArray[Any] | None = None, threads: int = 1
) -> tuple[NDArray[Any], NDArray[Any]]:
    """``X' P`` with ``P = X R - 1 s'``, shape (d, b), and the column sums of P, shape (b,).

    Both products of a part's records follow each other, so that P is never put together.

    Parameters
    ----------
    features
        X, shape (n, d), dense or CSR.
    right
        R, shape (d, b).
    shift
        s, shape (b,); None for zero.
    threads
        That products of sparse records may use.
    """

    def product(rows: slice) -> tuple[NDArray[Any], NDArray[Any]]:
        projected = np.asarray(row_view(features, rows) @ right)
        if shift is not None:
            projected -= shift
        return np.asarray(row_view(features, rows, transposed=True) @ projected), column_sums(projected)

    parts = _in_parts(product, features, right, threads)
    total, sums = next(parts)
    for more, more_sums in parts:
        total += more
        sums += more_sums
    return total, sums


def _in_parts(product: Callable[[slice], T], features: Features, other: NDArray[Any], threads: int) -> Iterator[T]:
    """Yield the products of consecutive records with about the same number of values, in order.

    Records are cut by their number of values alone, so that the result does not depend on the threads.
    """
    whole = slice(0, features.shape[0])
    count = 1
    if is_sparse(features):
        work, result = features.nnz * other.shape[1], _VALUES_PER_FEATURE * features.shape[1]
        count = min(_MOST_PARTS, work // _PART, features.nnz // result)
    if count < 2 or not is_sparse(features):
        yield product(whole)
        return
    ends = np.searchsorted(features.indptr, np.linspace(0, features.nnz, count + 1)[1:-1])
    cuts = [slice(start, stop) for start, stop in pairwise([0, *map(int, ends), features.shape[0]])]
    yield from in_order(product, cuts, threads)
