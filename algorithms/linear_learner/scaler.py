"""Normalisation of features and labels, and the way back to raw units."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.survey import Survey

# Beyond this ratio of mean to deviation, float32 products of raw features lose digits that matter.
LARGEST_SHIFT = 30.0
# Share of a column's reach that is added to its deviation, see `make_scaler`.
REACH_SHARE = 0.1


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


def make_scaler(settings: Settings, survey: Survey) -> Scaler:
    """Decide from settings and data what is shifted and scaled.

    Notes
    -----
    `auto`: features are scaled, and shifted when there is a bias; regression labels likewise.
    Sparse features are never shifted (Source: documentation of 2018).

    Chosen, for `best` where neither `wd` nor `l1` is set: the scale is ``deviation + 0.1 * reach``, reach
    being the largest distance from the mean. A column that is nearly always the same gets a tiny
    deviation, so its few other values become enormous and fit for nothing; this bounds every normalised
    value by 10. It is invariant to the columns' units, as the deviation is.
    """
    moments = survey.moments
    mean, deviation = moments.mean, moments.deviation
    unbias = settings.use_bias if settings.unbias_data == AUTO else bool(settings.unbias_data)
    shift = np.zeros_like(mean) if survey.sparse or not unbias else mean
    if settings.normalize_data:  # `auto` is on
        scale = deviation
        if not settings.as_aws and not settings.is_set("wd") and not settings.is_set("l1"):
            scale = deviation + REACH_SHARE * moments.reach
        stand_in = 0.0 if settings.use_bias else 1.0
        constant = np.where(mean != 0, stand_in / np.where(mean != 0, np.abs(mean), 1), 0)
        with np.errstate(divide="ignore", over="ignore"):
            factor = np.where(deviation > 0, 1 / np.where(deviation > 0, scale, 1), constant)
    else:
        factor = np.ones_like(mean)
    if not settings.is_regression:
        return Scaler(shift, factor)
    label_mean = float(survey.label_moments.mean[0])
    label_deviation = float(survey.label_moments.deviation[0])
    unbias_label = settings.use_bias if settings.unbias_label == AUTO else bool(settings.unbias_label)
    normalize_label = settings.normalize_label in (AUTO, True)
    return Scaler(
        shift,
        factor,
        label_mean if unbias_label else 0.0,
        label_deviation if normalize_label and label_deviation > 0 else 1.0,
    )
