"""What an answer may say of each record: the columns, which model has which, and how each is computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel, Predictions
from eigenline.serve.models import ServedModel

_MOST_VALUES: Final = 50_000_000  # of one column of one answer: 200 MB of float32


class Computation:
    """The quantities of one request, each computed when it is first asked for, and once.

    Parameters
    ----------
    model
        The model, or the chain.
    features
        Shape (n, feature_dim).
    threshold
        Replaces a binary classifier's own threshold.
    """

    def __init__(self, model: ServedModel, features: Features, threshold: float | None = None) -> None:
        self.model = model
        self.features = features
        self._threshold = threshold

    @cached_property
    def projection(self) -> NDArray[np.float32]:
        """Shape (n, num_components)."""
        assert self.model.pca is not None
        return self.model.pca.project(self.features)

    @cached_property
    def linear(self) -> LinearLearnerModel:
        """The linear model, with the threshold that was asked for."""
        assert self.model.linear is not None
        if self._threshold is None:
            return self.model.linear
        return replace(self.model.linear, threshold=self._threshold)

    @cached_property
    def raw_scores(self) -> NDArray[np.float32]:
        """Scores before the link, shape (n, num_outputs); of a chain, of the projection."""
        return self.linear.raw_scores(self.features if self.model.pca is None else self.projection)

    @cached_property
    def predictions(self) -> Predictions:
        """Scores after the link, and labels."""
        return self.linear.predictions_from(self.raw_scores)

    @property
    def score(self) -> NDArray[np.float32]:
        """Shape (n,), or (n, num_classes)."""
        return self.predictions.score

    @property
    def predicted_label(self) -> NDArray[np.float32]:
        """Shape (n,)."""
        assert self.predictions.predicted_label is not None
        return self.predictions.predicted_label

    @property
    def raw_score(self) -> NDArray[np.float32]:
        """Shape (n,), or (n, num_classes)."""
        return self.raw_scores if self.linear.num_outputs > 1 else self.raw_scores[:, 0]

    @property
    def two_raw_scores(self) -> NDArray[np.float32]:
        """One raw score a class, shape (n, num_classes); of a binary classifier the score and its negative."""
        if self.linear.num_outputs > 1:
            return self.raw_scores
        return np.concatenate([-self.raw_scores, self.raw_scores], axis=1)

    @property
    def probability(self) -> NDArray[np.float32]:
        """Binary: of class 1. Multiclass: of the predicted class. Shape (n,)."""
        return self.score if self.score.ndim == 1 else self.score.max(axis=1)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """One probability a class, shape (n, num_classes)."""
        return self.score if self.score.ndim == 2 else np.stack([1 - self.score, self.score], axis=1)

    @property
    def labels(self) -> NDArray[np.float32]:
        """The classes in the order of `probabilities`, the same for every record, shape (n, num_classes)."""
        classes = max(self.linear.num_outputs, 2)
        return np.tile(np.arange(classes, dtype=np.float32), (self.features.shape[0], 1))

    @property
    def reconstruction(self) -> NDArray[np.float32]:
        """The records that the projections stand for, shape (n, feature_dim)."""
        assert self.model.pca is not None
        _check_size(self.features.shape[0], self.model.pca.feature_dim, "reconstruction")
        return self.model.pca.reconstruct(self.projection)

    @property
    def contributions(self) -> NDArray[np.float32]:
        """What each feature adds to the raw score, and the bias last: shape (n, feature_dim + 1).

        For a linear model this split is exact: ``x[j] * weights[j]``, summing with the bias to the raw score (of
        the predicted class, where there are several). A chain is one linear map too, so its contributions are in
        the units of the original features: weights ``v @ w``, bias ``b - mean @ v @ w``. Products are taken in
        float64, so the sum differs from the raw score by no more than that score's own float32 rounding.
        Chosen: the bias as the last value, as XGBoost's ``pred_contribs`` has it.
        """
        weights, bias = self._weights_of_features
        _check_size(self.features.shape[0], weights.shape[0] + 1, "contributions")
        chosen = np.zeros(len(self.raw_scores), np.intp)
        if self.linear.num_outputs > 1:
            chosen = np.argmax(self.raw_scores, axis=1)
        dense = np.asarray(self.features.toarray() if is_sparse(self.features) else self.features)
        parts = np.empty((dense.shape[0], weights.shape[0] + 1), np.float32)
        np.multiply(dense, weights.T[chosen], out=parts[:, :-1], casting="same_kind")
        parts[:, -1] = bias[chosen]
        return parts

    @property
    def _weights_of_features(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        weights, bias = self.linear.weights.astype(np.float64), self.linear.bias.astype(np.float64)
        pca = self.model.pca
        if pca is None:
            return weights, bias
        return pca.components @ weights, bias - pca.projected_mean @ weights


def _check_size(records: int, width: int, column: str) -> None:
    if records * width > _MOST_VALUES:
        raise DataError(
            f"'{column}' of {records} records would be {records * width} values, and an answer may hold "
            f"{_MOST_VALUES}. Send at most {max(1, _MOST_VALUES // width)} records in a request."
        )


@dataclass(frozen=True)
class Column:
    """One quantity that an answer can carry: its meaning, the models that have it, its values."""

    meaning: str
    exists: Callable[[ServedModel], bool]
    values: Callable[[Computation], NDArray[np.float32]]


def _has_linear(model: ServedModel) -> bool:
    return model.linear is not None


def _has_pca(model: ServedModel) -> bool:
    return model.pca is not None


def _is_regressor(model: ServedModel) -> bool:
    return model.linear is not None and model.linear.predictor_type == "regressor"


def _is_classifier(model: ServedModel) -> bool:
    return model.linear is not None and model.linear.predictor_type != "regressor"


def _has_probabilities(model: ServedModel) -> bool:
    if model.linear is None or not _is_classifier(model):
        return False
    return model.linear.predictor_type == "multiclass_classifier" or model.linear.loss == "logistic"


COLUMNS: Final = {
    "projection": Column("coordinates on the components", _has_pca, lambda c: c.projection),
    "reconstruction": Column("the record that the projection stands for", _has_pca, lambda c: c.reconstruction),
    "score": Column("probability, or predicted value", _has_linear, lambda c: c.score),
    "predicted_label": Column("predicted class", _is_classifier, lambda c: c.predicted_label),
    "predicted_score": Column("predicted value", _is_regressor, lambda c: c.score),
    "raw_score": Column("score before the link", _has_linear, lambda c: c.raw_score),
    "raw_scores": Column("one raw score a class", _is_classifier, lambda c: c.two_raw_scores),
    "probability": Column("of class 1, or of the predicted class", _has_probabilities, lambda c: c.probability),
    "probabilities": Column("one probability a class", _has_probabilities, lambda c: c.probabilities),
    "labels": Column("the classes, in the order of `probabilities`", _is_classifier, lambda c: c.labels),
    "contributions": Column(
        "what each feature adds to the raw score, and the bias", _has_linear, lambda c: c.contributions
    ),
}


def available_columns(model: ServedModel) -> tuple[str, ...]:
    """Return the names of the columns that a model has."""
    return tuple(name for name, column in COLUMNS.items() if column.exists(model))


def default_columns(model: ServedModel) -> tuple[str, ...]:
    """Return what SageMaker answers when nothing is asked for."""
    if model.linear is None:
        return ("projection",)
    return ("score", "predicted_label") if _is_classifier(model) else ("score",)
