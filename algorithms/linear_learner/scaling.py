"""Normalisation of features and labels: their streamed moments, the affine maps, and the way back to raw units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.records import PairSum

# Beyond this ratio of mean to deviation, float32 products of raw features lose digits that matter.
LARGEST_SHIFT = 30.0
# Share of a column's reach that is added to its deviation, see `make_scaler`.
REACH_SHARE = 0.1
# float32 sums over this many rows lose at most 256 roundings; sums of blocks are float64
BLOCK_ROWS = 256


class Moments:
    """Weighted mean, population deviation and largest magnitude of each column, streamed.

    Sums are taken of ``x - shift``, so that a column of 1e9 + noise keeps its noise; sparse columns are not
    shifted. Cost O(nd), memory O(d).

    Parameters
    ----------
    shift
        A record of the data, shape (feature_dim,), the same for all parts of the data; None for the first one.
    """

    def __init__(self, shift: NDArray[Any] | None = None) -> None:
        self._shift: NDArray[np.float64] | None = None if shift is None else np.asarray(shift, np.float64)
        self._weight = PairSum.zeros(())
        self._sums = PairSum.zeros((2, 0))  # of the differences, and of their squares
        self._low: NDArray[np.float64] = np.zeros(0)
        self._high: NDArray[np.float64] = np.zeros(0)

    @property
    def weight(self) -> float:
        """Sum of the records' weights."""
        return float(self._weight.value)

    def update(self, features: Features, weights: NDArray[np.floating[Any]] | None) -> None:
        """Add some records."""
        if self._low.size == 0:
            width = features.shape[1]
            if is_sparse(features):
                self._shift = np.zeros(width)
            elif self._shift is None:
                self._shift = np.asarray(features[0], np.float64)
            self._sums = PairSum.zeros((2, width))
            self._low, self._high = np.full(width, np.inf), np.full(width, -np.inf)
        self._weight.add(np.asarray(features.shape[0] if weights is None else weights.sum(dtype=np.float64)))
        if is_sparse(features):
            self._update_sparse(features, weights)
        else:
            self._update_dense(np.asarray(features), weights)

    def merge(self, other: Moments) -> None:
        """Add other records, of the same shift."""
        if other._low.size == 0:
            return
        if self._low.size == 0:
            self._shift, self._weight, self._sums = other._shift, other._weight, other._sums
            self._low, self._high = other._low, other._high
            return
        self._weight.merge(other._weight)
        self._sums.merge(other._sums)
        self._low, self._high = np.minimum(self._low, other._low), np.maximum(self._high, other._high)

    def _update_dense(self, features: NDArray[Any], weights: NDArray[Any] | None) -> None:
        small = features.size <= 2_000_000
        assert self._shift is not None
        shift = self._shift.astype(np.float64 if small else features.dtype)
        for start in range(0, len(features), BLOCK_ROWS):
            block = features[start : start + BLOCK_ROWS] - shift
            one = (
                np.ones(len(block), block.dtype)
                if weights is None
                else weights[start : start + BLOCK_ROWS].astype(block.dtype)
            )
            sums = np.empty((2, block.shape[1]), block.dtype)
            np.matmul(one, block, out=sums[0])
            np.minimum(self._low, block.min(axis=0), out=self._low)
            np.maximum(self._high, block.max(axis=0), out=self._high)
            np.multiply(block, block, out=block)
            np.matmul(one, block, out=sums[1])
            self._sums.add(sums)

    def _update_sparse(self, features: Any, weights: NDArray[Any] | None) -> None:
        width = features.shape[1]
        data = features.data.astype(np.float64)
        weight = 1.0 if weights is None else np.repeat(weights, np.diff(features.indptr))
        sums = np.bincount(features.indices, data * weight, minlength=width)
        squares = np.bincount(features.indices, data * data * weight, minlength=width)
        self._sums.add(np.stack([sums, squares]))
        np.minimum(self._low, features.min(axis=0).toarray().ravel(), out=self._low)
        np.maximum(self._high, features.max(axis=0).toarray().ravel(), out=self._high)

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each column, shape (feature_dim,)."""
        assert self._shift is not None
        return np.asarray(self._shift + self._average)

    @property
    def deviation(self) -> NDArray[np.float64]:
        """Population standard deviation (ddof 0) of each column, shape (feature_dim,)."""
        squares = self._sums.value[1]
        variance = np.maximum(squares / self.weight - self._average**2, 0)
        # what is left of a constant column is rounding, not spread
        noise = 1e-12 * squares / self.weight
        return np.sqrt(np.where(variance > noise, variance, 0))

    @property
    def reach(self) -> NDArray[np.float64]:
        """Largest distance of a value from its column's mean, shape (feature_dim,)."""
        return np.maximum(self._high - self._average, self._average - self._low)

    @property
    def _average(self) -> NDArray[np.float64]:
        return np.asarray(self._sums.value[0] / self.weight)


@dataclass(frozen=True, eq=False)
class Scaler:
    """The affine maps ``z = (x - shift) * factor`` and ``t = (y - label_shift) / label_scale``.

    Attributes
    ----------
    shift, factor
        Shape (feature_dim,), float64. A column without spread has factor 0: it says nothing.
    label_shift, label_scale
        Numbers; 0 and 1 for classification.
    """

    shift: NDArray[np.float64]
    factor: NDArray[np.float64]
    label_shift: float = 0.0
    label_scale: float = 1.0

    @cached_property
    def folds_exactly(self) -> bool:
        """Whether products may be taken of raw features, with the map folded into the weights."""
        return bool(np.all(np.abs(self.shift * self.factor) <= LARGEST_SHIFT))

    def normalise(self, features: Features, dtype: type[np.floating[Any]]) -> Features:
        """Return normalised features in a new array; sparse ones are scaled, never shifted."""
        if is_sparse(features):
            from scipy.sparse import csr_array

            data = features.data * self.factor.astype(dtype)[features.indices]
            return csr_array((data, features.indices, features.indptr), shape=features.shape)
        # the difference is taken first, in the wider of the two types: (x - shift) must keep its digits
        exact = self.shift.astype(features.dtype) if features.dtype == dtype else self.shift
        if not self.folds_exactly:
            exact = self.shift
        normalised = features - exact
        normalised *= self.factor.astype(normalised.dtype)
        return np.asarray(normalised, dtype)

    def normalise_labels(self, labels: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
        """Return normalised labels as a column, shape (n, 1)."""
        if self.label_shift == 0 and self.label_scale == 1:
            return labels.astype(dtype, copy=False)[:, None]
        return ((labels.astype(np.float64) - self.label_shift) / self.label_scale).astype(dtype)[:, None]

    def fold(self, parameters: NDArray[Any]) -> NDArray[np.float64]:
        """Return parameters (feature_dim + 1, columns; the last row is the bias) for raw features.

        ``w = w_z * factor`` and ``b = b_z - shift @ w``, in float64; labels stay normalised.
        """
        folded = parameters.astype(np.float64)
        folded[:-1] *= self.factor[:, None]
        folded[-1] -= self.shift @ folded[:-1]
        return folded

    def fold_gradient(self, gradient: NDArray[Any], total: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the gradient in normalised parameters from ``X.T @ R`` and ``R.sum(0)`` of raw features."""
        result = np.empty((len(gradient) + 1, gradient.shape[1]))
        np.multiply(self.shift[:, None], total, out=result[:-1])
        np.subtract(gradient, result[:-1], out=result[:-1])
        result[:-1] *= self.factor[:, None]
        result[-1] = total
        return result

    def raw_units(self, parameters: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weights (feature_dim, columns) and bias (columns,) in the units of features and labels."""
        folded = self.fold(parameters) * self.label_scale
        return folded[:-1], folded[-1] + self.label_shift


def make_scaler(settings: Settings, moments: Moments, label_moments: Moments, *, sparse: bool) -> Scaler:
    """Decide from settings and the moments of features and labels what is shifted and scaled.

    Notes
    -----
    `auto`: features are scaled, and shifted when there is a bias; regression labels likewise.
    Sparse features are never shifted (Source: documentation of 2018).

    `aws`: all numbers are rounded to float32, as the service prints and keeps them. What is not shifted is
    divided by its root mean square (Source: replayed losses of a public job with ``use_bias=false``). Chosen:
    sparse features and labels likewise.

    Chosen, for `best` where neither `wd` nor `l1` is set: the scale is ``deviation + 0.1 * reach``, reach
    being the largest distance from the mean. A column that is nearly always the same gets a tiny
    deviation, so its few other values become enormous and fit for nothing; this bounds every normalised
    value by 10. It is invariant to the columns' units, as the deviation is.
    """
    mean, deviation = moments.mean, moments.deviation
    unbias = settings.use_bias if settings.unbias_data == AUTO else bool(settings.unbias_data)
    shift = np.zeros_like(mean) if sparse or not unbias else mean
    if settings.normalize_data:  # `auto` is on
        scale = deviation
        if settings.as_aws and not shift.any():
            scale = deviation = np.hypot(deviation, mean)
        if not settings.as_aws and not settings.is_set("wd") and not settings.is_set("l1"):
            scale = deviation + REACH_SHARE * moments.reach
        stand_in = 0.0 if settings.use_bias else 1.0
        constant = np.where(mean != 0, stand_in / np.where(mean != 0, np.abs(mean), 1), 0)
        with np.errstate(divide="ignore", over="ignore"):
            factor = np.where(deviation > 0, 1 / np.where(deviation > 0, scale, 1), constant)
    else:
        factor = np.ones_like(mean)
    if settings.as_aws:
        rounded = np.maximum(_single(1 / np.where(factor > 0, factor, 1)), np.finfo(np.float32).tiny)
        shift, factor = _single(shift), np.where(factor > 0, 1 / rounded, 0)
    if not settings.is_regression:
        return Scaler(shift, factor)
    label_mean = float(label_moments.mean[0])
    label_deviation = float(label_moments.deviation[0])
    unbias_label = settings.use_bias if settings.unbias_label == AUTO else bool(settings.unbias_label)
    if settings.as_aws and not unbias_label:
        label_deviation = float(np.hypot(label_deviation, label_mean))
    if settings.as_aws:
        label_mean, label_deviation = (float(_single(np.array(x))) for x in (label_mean, label_deviation))
    normalize_label = settings.normalize_label in (AUTO, True)
    return Scaler(
        shift,
        factor,
        label_mean if unbias_label else 0.0,
        label_deviation if normalize_label and label_deviation > 0 else 1.0,
    )


def _single(values: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = float(np.finfo(np.float32).max)
    return np.asarray(np.clip(values, -largest, largest).astype(np.float32).astype(np.float64))
