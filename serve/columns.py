"""The columns that an answer can have: which model has which, how each is computed, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.algorithms.linear_learner.model import LinearLearnerModel, Predictions
from eigenline.serve.models import ServedModel

# Of one answer: 40 MB of float32, about 200 MB of JSON. SageMaker passes 6 MB in real time.
MOST_VALUES: Final = 10_000_000
# Memory while an answer is made: float32 arrays, Python's numbers, text (measured: 35 for JSON, less for others).
_BYTES_PER_VALUE: Final = 40
# An answer within these takes a few milliseconds (measured: 0.3 us per value of JSON, 0.3 ns per product).
_CHEAP_VALUES: Final = 20_000
_CHEAP_PRODUCTS: Final = 20_000_000


class Computation:
    """The quantities of one request, each computed on first use, and once.

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
        # Not functools.cached_property, whose lock costs a microsecond per use in Python 3.11.
        self._projection: NDArray[np.float32] | None = None
        self._raw_scores: NDArray[np.float32] | None = None
        self._predictions: Predictions | None = None

    @property
    def projection(self) -> NDArray[np.float32]:
        """Shape (n, num_components)."""
        if self._projection is None:
            assert self.model.pca is not None
            self._projection = self.model.pca.project(self.features)
        return self._projection

    @property
    def linear(self) -> LinearLearnerModel:
        """The linear model, with the threshold of the request."""
        assert self.model.linear is not None
        if self._threshold is None:
            return self.model.linear
        return replace(self.model.linear, threshold=self._threshold)

    @property
    def raw_scores(self) -> NDArray[np.float32]:
        """Scores before the link, shape (n, num_outputs); of a chain, of the projection."""
        if self._raw_scores is None:
            self._raw_scores = self.linear.raw_scores(self.features if self.model.pca is None else self.projection)
        return self._raw_scores

    @property
    def predictions(self) -> Predictions:
        """Scores after the link, and labels."""
        if self._predictions is None:
            self._predictions = self.linear.predictions_from(self.raw_scores)
        return self._predictions

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
        """One raw score per class, shape (n, num_classes); of a binary classifier the score and its negative."""
        if self.linear.num_outputs > 1:
            return self.raw_scores
        return np.concatenate([-self.raw_scores, self.raw_scores], axis=1)

    @property
    def probability(self) -> NDArray[np.float32]:
        """Binary: of class 1. Multiclass: of the predicted class. Shape (n,)."""
        return self.score if self.score.ndim == 1 else self.score.max(axis=1)

    @property
    def probabilities(self) -> NDArray[np.float32]:
        """One probability per class, shape (n, num_classes)."""
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


@dataclass(frozen=True)
class Column:
    """One quantity that an answer can carry.

    Attributes
    ----------
    meaning
        For people.
    exists
        Whether a model has it.
    width
        How many values per record.
    values
        Computes it.
    """

    meaning: str
    exists: Callable[[ServedModel], bool]
    width: Callable[[ServedModel], int]
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


def _one(_model: ServedModel) -> int:
    return 1


def _components(model: ServedModel) -> int:
    return 0 if model.pca is None else model.pca.num_components


def _outputs(model: ServedModel) -> int:
    return 0 if model.linear is None else model.linear.num_outputs


def _classes(model: ServedModel) -> int:
    return max(2, _outputs(model))


def _features(model: ServedModel) -> int:
    return model.feature_dim


def _features_and_bias(model: ServedModel) -> int:
    return model.feature_dim + 1


COLUMNS: Final = {
    "projection": Column("coordinates on the components", _has_pca, _components, lambda c: c.projection),
    "reconstruction": Column(
        "the record that the projection stands for", _has_pca, _features, lambda c: c.reconstruction
    ),
    "score": Column("probability, or predicted value", _has_linear, _outputs, lambda c: c.score),
    "predicted_label": Column("predicted class", _is_classifier, _one, lambda c: c.predicted_label),
    "predicted_score": Column("predicted value", _is_regressor, _one, lambda c: c.score),
    "raw_score": Column("score before the link", _has_linear, _outputs, lambda c: c.raw_score),
    "raw_scores": Column("one raw score per class", _is_classifier, _classes, lambda c: c.two_raw_scores),
    "probability": Column(
        "of class 1, or of the predicted class", _has_probabilities, _one, lambda c: c.probability
    ),
    "probabilities": Column("one probability per class", _has_probabilities, _classes, lambda c: c.probabilities),
    "labels": Column("the classes, in the order of `probabilities`", _is_classifier, _classes, lambda c: c.labels),
    "contributions": Column(
        "what each feature adds to the raw score, and the bias",
        _has_linear,
        _features_and_bias,
        lambda c: c.contributions,
    ),
}


@dataclass(slots=True)
class Cost:
    """What an answer takes, known before it is computed.

    Attributes
    ----------
    records, width
        Values of the answer are ``records * width``.
    hidden
        Values per record that are computed on the way: projection and raw scores.
    products
        Multiplications of the model.
    """

    records: int
    width: int
    hidden: int
    products: int

    @property
    def num_bytes(self) -> int:
        """Bytes that are held while the answer is made."""
        return self.records * self._bytes_per_record

    @property
    def _bytes_per_record(self) -> int:
        return self.width * _BYTES_PER_VALUE + self.hidden * 4

    @property
    def is_small(self) -> bool:
        """Whether the answer takes no more than a few milliseconds."""
        return self.records * (self.width + self.hidden) <= _CHEAP_VALUES and self.products <= _CHEAP_PRODUCTS

    def check(self, names: Sequence[str], budget_bytes: int) -> None:
        """Refuse an answer of too many values.

        Raises
        ------
        DataError
            With the number of records that may be sent.
        """
        most = min(MOST_VALUES // self.width, budget_bytes // self._bytes_per_record)
        if self.records > max(1, most):
            raise DataError(
                f"{', '.join(names)} of {self.records} records would be {self.records * self.width} values, which "
                f"is more than this server holds for one answer. Send at most {max(1, most)} records in a request."
            )


def cost_of(model: ServedModel, names: tuple[str, ...], features: Features, *, inverse: bool = False) -> Cost:
    """Return what the named columns of these records take.

    Parameters
    ----------
    features
        Shape (n, feature_dim), or with `inverse` (n, num_components).
    """
    records, given = features.shape
    known = model.shapes
    shape = known.get((names, inverse))
    if shape is None:
        if len(known) >= _MOST_SHAPES:  # a client may ask for any columns in any order
            known.clear()
        shape = known[names, inverse] = _shape_of(model, names, inverse=inverse)
    width, hidden, per_value, per_record = shape
    filled = features.nnz if is_sparse(features) else records * given
    return Cost(int(records), width, hidden, int(filled * per_value + records * per_record))


_MOST_SHAPES: Final = 32


def _shape_of(model: ServedModel, names: tuple[str, ...], *, inverse: bool) -> tuple[int, int, int, int]:
    """Return values per record of the answer and on the way to it, and products per value and per record."""
    components, outputs = _components(model), _outputs(model)
    width = sum(COLUMNS[name].width(model) for name in names)
    if inverse:
        return width, 0, model.feature_dim, 0
    first = components or outputs
    return width, components + outputs, first, components * outputs + width * (first if width > first else 1)


def available_columns(model: ServedModel) -> tuple[str, ...]:
    """Return the names of the columns that a model has."""
    return tuple(name for name, column in COLUMNS.items() if column.exists(model))


def default_columns(model: ServedModel) -> tuple[str, ...]:
    """Return the columns of SageMaker's own answer."""
    if model.linear is None:
        return ("projection",)
    return ("score", "predicted_label") if _is_classifier(model) else ("score",)
