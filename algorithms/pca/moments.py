"""First and second moments in one pass: record count, mean, total variance, and the scatter matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.errors import RecordsError
from eigenline.algorithms.pca.blocks import (
    Array64,
    Precision,
    add_in_slabs,
    blocks,
    column_sums,
    dense,
    merge_in_slabs,
    squared_norm,
)
from eigenline.algorithms.records import PairSum


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, sums and squares of all records about an origin; optionally their scatter matrix.

    With ``y = x - origin`` and d features. The origin is a guess of the mean from the first records, so that
    `products` and the centred scatter ``products - sums' sums / count`` are of one size, and nothing cancels,
    however far the data lie from zero.

    Attributes
    ----------
    count
        Number of records.
    origin
        Shape (d,), float64.
    sums
        ``sum(y)``, shape (d,), float64.
    squares
        ``sum(|y|^2)``.
    products
        ``sum(y' y)``, shape (d, d), float64; None where it was not asked for.
    """

    count: int
    origin: Array64
    sums: Array64
    squares: float
    products: Array64 | None = None

    @property
    def mean(self) -> Array64:
        """Column means, shape (d,), float64."""
        return np.asarray(self.origin + self.sums / max(1, self.count), np.float64)

    def total(self, centred: bool = True) -> float:
        """Sum of squared distances of all records from their mean (from zero if not `centred`)."""
        if centred:
            return max(0.0, self.squares - float(self.sums @ self.sums) / max(1, self.count))
        return self.squares + 2 * float(self.origin @ self.sums) + self.count * float(self.origin @ self.origin)

    def scatter(self, centred: bool = True) -> Array64:
        """``sum((x - m)' (x - m))``, shape (d, d), float64; m the mean or zero. AWS's C, not divided by n."""
        if self.products is None:
            raise ValueError("these moments were added up without products")
        if centred:
            return self.products - np.outer(self.sums, self.sums / max(1, self.count))
        cross = np.outer(self.sums, self.origin)
        return self.products + cross + cross.T + self.count * np.outer(self.origin, self.origin)


@dataclass(eq=False)
class MomentSums:
    """What `MomentsWork` adds up: the attributes of `Moments`, but for the origin, as pairs of float64."""

    count: int
    sums: PairSum
    squares: PairSum
    products: PairSum | None


@dataclass(frozen=True, eq=False)
class MomentsWork:
    """The work of a pass for moments; a `Work`.

    Attributes
    ----------
    origin
        Point that dense records are moved to before they are multiplied, shape (d,), float64.
    precision
        Of the products inside a block.
    with_products
        Whether the d x d matrix is added up too.
    """

    origin: Array64
    precision: Precision
    with_products: bool

    def begin(self) -> MomentSums:
        """Return the sums over no record."""
        d = len(self.origin)
        products = PairSum.zeros((d, d)) if self.with_products else None
        return MomentSums(0, PairSum.zeros(d), PairSum.zeros(()), products)

    def update(self, state: MomentSums, batch: Batch, first: int) -> MomentSums:
        """Add records.

        Raises
        ------
        RecordsError
            If they have another number of features, or a value is not finite or too large to be squared.
        """
        check_width(batch, len(self.origin), first)
        origin = self.origin if self.origin.any() else None
        for block in blocks(batch.features, origin, self.precision):
            with np.errstate(over="ignore", invalid="ignore"):  # what overflows is an error that names its place
                if state.products is None:
                    squares = squared_norm(block)
                else:
                    products = dense(block.T @ block)
                    squares = float(products.trace(dtype=np.float64))
            if not np.isfinite(squares):
                raise RecordsError(_not_finite(first, batch, self.precision))
            state.sums.add(column_sums(block))
            state.squares.add(np.asarray(squares))
            if state.products is not None:
                add_in_slabs(state.products, products)
        state.count += len(batch)
        return state

    def merge(self, first: MomentSums, second: MomentSums) -> MomentSums:
        """Add the sums over later records."""
        first.count += second.count
        first.sums.merge(second.sums)
        first.squares.merge(second.squares)
        if first.products is not None and second.products is not None:
            merge_in_slabs(first.products, second.products)
        return first

    def finish(self, state: MomentSums) -> Moments:
        """Round the sums to float64."""
        products = None if state.products is None else state.products.value
        return Moments(state.count, self.origin, state.sums.value, float(state.squares.value), products)


def check_width(batch: Batch, feature_dim: int, first: int) -> None:
    """Refuse records of another number of features than those before them.

    Parameters
    ----------
    feature_dim
        What is expected.
    first
        Position of the batch's first record among all records.
    """
    if batch.feature_dim != feature_dim:
        raise RecordsError(
            f"The number of features changes: after {first} records of {feature_dim} features come records of "
            f"{batch.feature_dim}. Expected the same number everywhere."
        )


def _not_finite(first: int, batch: Batch, precision: Precision) -> str:
    """Word the error for a batch whose sum of squares is not finite: name record, feature and value."""
    limit = float(np.sqrt(np.finfo(precision).max / max(1, batch.features.size)))
    features = batch.features
    if is_sparse(features):
        places = np.flatnonzero(~(np.abs(features.data) < limit))[:1]
        record = np.searchsorted(features.indptr, places, side="right") - 1
        column, value = features.indices[places].astype(np.intp), features.data[places]
    else:
        values = np.asarray(features)
        record, column = (indices[:1] for indices in np.nonzero(~(np.abs(values) < limit)))
        value = values[record, column]
    if not len(value):
        return "Values are too large to be squared. Expected smaller ones; scale the features."
    return (
        f"The value of record {first + int(record[0]) + 1}, feature {int(column[0]) + 1} is {value[0]!s}. "
        f"Expected a finite number of magnitude below {limit:.1g}; fill missing values before training."
    )
