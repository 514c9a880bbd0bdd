"""Streamed means, deviations and reaches of columns, dense or sparse."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse

# float32 sums over this many rows lose at most 256 roundings; sums of blocks are float64
BLOCK_ROWS = 256


class Moments:
    """Weighted mean, population deviation and largest magnitude of each column, streamed.

    Sums are taken of ``x - shift`` with the first record as shift, so that a column of 1e9 + noise keeps
    its noise; sparse columns are not shifted. Cost O(nd), memory O(d).
    """

    def __init__(self) -> None:
        self.weight = 0.0
        self._shift: NDArray[np.float64] = np.zeros(0)
        self._sum: NDArray[np.float64] = np.zeros(0)
        self._square: NDArray[np.float64] = np.zeros(0)
        self._low: NDArray[np.float64] = np.zeros(0)
        self._high: NDArray[np.float64] = np.zeros(0)

    def update(self, features: Features, weights: NDArray[np.floating[Any]] | None) -> None:
        """Add some records."""
        if self._sum.size == 0:
            width = features.shape[1]
            self._shift = np.zeros(width) if is_sparse(features) else np.asarray(features[0], np.float64)
            self._sum, self._square = np.zeros(width), np.zeros(width)
            self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)
        self.weight += features.shape[0] if weights is None else float(weights.sum(dtype=np.float64))
        if is_sparse(features):
            self._update_sparse(features, weights)
        else:
            self._update_dense(np.asarray(features), weights)

    def _update_dense(self, features: NDArray[Any], weights: NDArray[Any] | None) -> None:
        small = features.size <= 2_000_000
        shift = self._shift.astype(np.float64 if small else features.dtype)
        for start in range(0, len(features), BLOCK_ROWS):
            block = features[start : start + BLOCK_ROWS] - shift
            one = (
                np.ones(len(block), block.dtype)
                if weights is None
                else weights[start : start + BLOCK_ROWS].astype(block.dtype)
            )
            self._sum += one @ block
            np.minimum(self._low, block.min(axis=0), out=self._low)
            np.maximum(self._high, block.max(axis=0), out=self._high)
            np.multiply(block, block, out=block)
            self._square += one @ block

    def _update_sparse(self, features: Any, weights: NDArray[Any] | None) -> None:
        width = features.shape[1]
        data = features.data.astype(np.float64)
        weight = 1.0 if weights is None else np.repeat(weights, np.diff(features.indptr))
        self._sum += np.bincount(features.indices, data * weight, minlength=width)
        self._square += np.bincount(features.indices, data * data * weight, minlength=width)
        np.minimum(self._low, features.min(axis=0).toarray().ravel(), out=self._low)
        np.maximum(self._high, features.max(axis=0).toarray().ravel(), out=self._high)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each column, shape (feature_dim,)."""
        return self._shift + self._sum / self.weight

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Population standard deviation (ddof 0) of each column, shape (feature_dim,)."""
        average = self._sum / self.weight
        variance = np.maximum(self._square / self.weight - average * average, 0)
        # what is left of a constant column is rounding, not spread
        noise = 1e-12 * self._square / self.weight
        return np.sqrt(np.where(variance > noise, variance, 0))

    @property
    def reach(self) -> NDArray[np.float64]:
        """Largest distance of a value from its column's mean, shape (feature_dim,)."""
        average = self._sum / self.weight
        return np.maximum(self._high - average, average - self._low)
