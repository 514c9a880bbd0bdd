"""The trained linear model: raw scores, scores after the link, and predicted labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features

PredictorType: TypeAlias = Literal["binary_classifier", "multiclass_classifier", "regressor"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the model says of some records.

    Attributes
    ----------
    score
        Float32. Regression: the predicted value, shape (n,). Binary: probability of the positive class (the raw
        score for hinge loss), shape (n,). Multiclass: softmax probabilities, shape (n, num_classes).
    predicted_label
        Float32, shape (n,); None for regression.
    """

    score: NDArray[np.float32]
    predicted_label: NDArray[np.float32] | None


@dataclass(frozen=True, eq=False)
class LinearLearnerModel:
    """One linear model in the units of the raw features.

    Attributes
    ----------
    weights
        Shape (feature_dim, num_outputs), float32; num_outputs is 1, or num_classes for multiclass.
    bias
        Shape (num_outputs,), float32.
    predictor_type
        ``binary_classifier``, ``multiclass_classifier`` or ``regressor``.
    loss
        The loss it was trained with, by AWS's name (``auto`` already resolved).
    threshold
        Binary: a record is positive when its score is at least this (compared in float32).
    parameters
        AWS's ``metrics_params`` (``quantile``, ``margin``, ``f_beta``, ...), as the artifact keeps them.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    predictor_type: PredictorType
    loss: str
    threshold: float = 0.5
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        return int(self.weights.shape[0])

    @property
    def num_outputs(self) -> int:
        """Number of raw scores of a record: 1, or the number of classes."""
        return int(self.weights.shape[1])

    def raw_scores(self, features: Features) -> NDArray[np.float32]:
        """Return ``x @ weights + bias`` in float32, shape (n, num_outputs)."""
        products = features.astype(np.float32, copy=False) @ self.weights
        return np.asarray(products + self.bias, np.float32)

    def predict(self, features: Features) -> Predictions:
        """Score records and, for classifiers, name their labels."""
        return self.predictions_from(self.raw_scores(features))

    def predictions_from(self, raw_scores: NDArray[np.float32]) -> Predictions:
        """Apply the link and the decision rule to raw scores of shape (n, num_outputs)."""
        if self.predictor_type == "regressor":
            return Predictions(raw_scores[:, 0], None)
        if self.predictor_type == "multiclass_classifier":
            probabilities = _softmax(raw_scores)
            return Predictions(probabilities, np.argmax(raw_scores, axis=1).astype(np.float32))
        score = _sigmoid(raw_scores[:, 0]) if self.loss == "logistic" else raw_scores[:, 0]
        return Predictions(score, (score >= np.float32(self.threshold)).astype(np.float32))


def _sigmoid(raw_score: NDArray[np.float32]) -> NDArray[np.float32]:
    # exp of a non-positive number only, so that nothing overflows
    decay = np.abs(raw_score)
    np.exp(np.negative(decay, out=decay), out=decay)
    return np.asarray(np.where(raw_score >= 0, np.float32(1), decay) / (1 + decay), np.float32)


def _softmax(raw_scores: NDArray[np.float32]) -> NDArray[np.float32]:
    shifted = np.exp(raw_scores - raw_scores.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True), np.float32)
