"""Streamed first and second moments: record count, mean, total variance, and the scatter matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from eigenline.algorithms.batch import Features
from eigenline.algorithms.pca.blocks import (
    Array64,
    Precision,
    blocks,
    column_sums,
    dense,
    pilot_origin,
    squared_norm,
)


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, sums and squares of the records seen, about an origin; optionally their scatter matrix.

    With ``y = x - origin``: ``count`` records, ``sums = sum(y)``, ``squares = sum(|y|^2)`` and
    ``products = sum(y' y)``. The origin is a guess of the mean from the first records, so that ``products`` and
    the centred scatter ``products - sums' sums / count`` are of one size, and nothing cancels, however far
    the data lie from zero. Totals are float64; products inside a block are of the block's precision.

    Notes
    -----
    Merging moves one state to the other's origin, exact in float64: the shifted-data form of Chan, Golub and
    LeVeque, *Algorithms for Computing the Sample Variance* (1983), in matrix form.
    """

    count: int
    origin: Array64
    sums: Array64
    squares: float
    products: Array64 | None = None

    @property
    def mean(self) -> Array64:
        """Column means, shape (d,)."""
        return np.asarray(self.origin + self.sums / max(1, self.count), np.float64)

    def total(self, centred: bool = True) -> float:
        """Sum of squared distances of all records from their mean (from zero if not `centred`)."""
        if centred:
            return max(0.0, self.squares - float(self.sums @ self.sums) / max(1, self.count))
        return self.squares + 2 * float(self.origin @ self.sums) + self.count * float(self.origin @ self.origin)

    def scatter(self, centred: bool = True) -> Array64:
        """``sum((x - m)' (x - m))``, shape (d, d), m the mean or zero: AWS's C, not divided by n."""
        if self.products is None:
            raise ValueError("these moments were streamed without products")
        if centred:
            return self.products - np.outer(self.sums, self.sums / max(1, self.count))
        return _moved(self, self.origin).products  # type: ignore[return-value]


def begin(features: Features, *, with_products: bool) -> Moments:
    """Start moments for records like `features`, which choose the origin and are not counted yet."""
    d = int(features.shape[1])
    origin = pilot_origin(features)
    return Moments(
        0,
        np.zeros(d) if origin is None else origin,
        np.zeros(d),
        0.0,
        np.zeros((d, d)) if with_products else None,
    )


def update(state: Moments, features: Features, precision: Precision) -> Moments:
    """Add a batch of records.

    The state's matrix of products is added to in place: the old state must not be used again.
    """
    origin = state.origin if state.origin.any() else None
    sums, squares = state.sums.copy(), state.squares
    for block in blocks(features, origin, precision):
        sums += column_sums(block)
        if state.products is None:
            squares += squared_norm(block)
        else:
            products = dense(block.T @ block)
            state.products[...] += products
            squares += float(products.trace(dtype=np.float64))
    return Moments(state.count + int(features.shape[0]), state.origin, sums, squares, state.products)


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of both states' records together, about the first one's origin."""
    other = _moved(second, second.origin - first.origin)
    products = None
    if first.products is not None and other.products is not None:
        products = first.products + other.products
    return Moments(
        first.count + other.count,
        first.origin,
        first.sums + other.sums,
        first.squares + other.squares,
        products,
    )


def _moved(state: Moments, offset: Array64) -> Moments:
    """Express a state about ``origin - offset``: every y becomes y + offset."""
    n = state.count
    products = state.products
    if products is not None and offset.any():
        cross = np.outer(state.sums, offset)
        products = products + cross + cross.T + n * np.outer(offset, offset)
    squares = state.squares + 2 * float(offset @ state.sums) + n * float(offset @ offset)
    return Moments(n, state.origin - offset, state.sums + n * offset, squares, products)
