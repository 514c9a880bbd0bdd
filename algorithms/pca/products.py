"""One pass of a streamed product: the scatter matrix times a block of directions, without forming the matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.pca.blocks import Array64, Precision, blocks, column_sums
from eigenline.algorithms.pca.sparse_products import scatter_times


@dataclass(frozen=True, eq=False)
class ScatterProduct:
    """``sum(y' (y Z))`` over the records seen, with what centring needs: ``y = x - origin``.

    Attributes
    ----------
    directions
        Z, shape (d, b), in the precision of the products.
    origin
        Point that dense records are moved to; None for zero.
    total
        ``sum(y' (y Z))``, float64, shape (d, b).
    row_sums
        ``sum(y Z)``, float64, shape (b,).
    sums
        ``sum(y)``, float64, shape (d,).
    count
        Number of records.

    Notes
    -----
    Cost of a record: 4 d b operations; memory: 12 d b bytes, whatever the number of records.
    """

    directions: NDArray[Any]
    origin: Array64 | None
    total: Array64
    row_sums: Array64
    sums: Array64
    count: int = 0

    def finish(self, centred: bool = True) -> Array64:
        """Scatter matrix times Z: ``sum((x - m)' (x - m) Z)``, shape (d, b), m the mean or zero."""
        if centred:
            return self.total - np.outer(self.sums, self.row_sums / max(1, self.count))
        if self.origin is None:
            return self.total
        # x = y + o:  x'xZ = y'yZ + o'(yZ) + y'(oZ) + o'(oZ)
        shift = self.origin @ self.directions.astype(np.float64)
        return self.total + np.outer(self.origin, self.row_sums + self.count * shift) + np.outer(self.sums, shift)


def begin(directions: NDArray[Any], origin: Array64 | None) -> ScatterProduct:
    """Start a pass."""
    d, b = directions.shape
    return ScatterProduct(directions, origin, np.zeros((d, b)), np.zeros(b), np.zeros(d))


def update(state: ScatterProduct, features: Features, precision: Precision, threads: int = 1) -> ScatterProduct:
    """Add a batch of records; the state's total is added to in place, so the old state must not be used again."""
    row_sums, sums = state.row_sums.copy(), state.sums.copy()
    for block in blocks(features, state.origin, precision):
        product, projected_sums = scatter_times(block, state.directions, threads=threads)
        state.total[...] += product
        row_sums += projected_sums
        sums += column_sums(block)
    return ScatterProduct(
        state.directions, state.origin, state.total, row_sums, sums, state.count + int(features.shape[0])
    )


def merge(first: ScatterProduct, second: ScatterProduct) -> ScatterProduct:
    """Product over both states' records; both must have the same directions and origin."""
    return ScatterProduct(
        first.directions,
        first.origin,
        first.total + second.total,
        first.row_sums + second.row_sums,
        first.sums + second.sums,
        first.count + second.count,
    )
