"""The final model's metrics on a channel: AWS's names in AWS's order, computed in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches
from eigenline.algorithms.linear_learner.losses import Loss, make_loss
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.linear_learner.residuals import Residuals, residuals_of
from eigenline.algorithms.linear_learner.scoring import ScoreSample
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.thresholds import threshold_curve
from eigenline.algorithms.records import PairSum, Records, Stopped, as_records

MOST_CONFUSION_CLASSES = 100
SAMPLED_SCORES = 2_000_000  # beyond so many records, roc_auc_score is that of an evenly spaced sample
ROWS = 8192
_WHOLE_BATCHES: Final = 1 << 62  # bytes of a block: this work cuts it itself


@dataclass(frozen=True)
class Metric:
    """One number: AWS's name, whether less is better (``loss``) or more (``score``), the value."""

    name: str
    kind: Literal["loss", "score"]
    value: float


@dataclass(frozen=True, eq=False)
class Scores:
    """All metrics of one channel; `confusion` has true classes in rows and predicted ones in columns.

    `residuals` are a regressor's, of an evenly spaced sample of at most `SAMPLED_SCORES` records.
    """

    records: int
    metrics: tuple[Metric, ...]
    confusion: NDArray[np.float64] | None = None
    residuals: Residuals | None = None

    def __getitem__(self, name: str) -> float:
        return next(metric.value for metric in self.metrics if metric.name == name)


def score_channel(model: LinearLearnerModel, settings: Settings, channel: Batches | Records) -> Scores | None:
    """Score every record once, with the parameters that will be served; None where there is none.

    Where the job is asked to stop, that is None too.

    Records count by their weights. The objective includes class weights, as in training; all other
    metrics do not. The service computes ``binary_log_loss`` of a sigmoid of the sigmoid and
    ``binary_balanced_accuracy`` always as 0.5; here they are what their names say.
    """
    try:
        totals = as_records(channel).total(_ScoringWork(model, settings), block_bytes=_WHOLE_BATCHES)
    except Stopped:
        return None
    return totals.scores() if totals.records else None


@dataclass(frozen=True, eq=False)
class _ScoringWork:
    """Adds up what the metrics are made of."""

    model: LinearLearnerModel
    settings: Settings

    def begin(self) -> _Totals:
        return _Totals(self.model, self.settings)

    def update(self, state: _Totals, batch: Batch, first: int) -> _Totals:
        for start in range(0, len(batch), ROWS):
            state.update(batch.rows(start, start + ROWS), first + start)
        return state

    def merge(self, first: _Totals, second: _Totals) -> _Totals:
        first.merge(second)
        return first


class _Totals:
    def __init__(self, model: LinearLearnerModel, settings: Settings) -> None:
        self.model, self.settings = model, settings
        self.loss: Loss = make_loss(
            settings.resolved_loss,
            margin=settings.margin,
            quantile=settings.quantile,
            insensitivity=settings.loss_insensitivity,
            delta=settings.huber_delta,
            weighted=settings.positive_example_weight_mult != 1,
        )
        self.records = 0
        self.sums: dict[str, PairSum] = {}
        classes = settings.num_outputs if settings.num_outputs > 1 else 2
        self.counts = PairSum.zeros((3, classes))  # weights of the hits, of the labels called, of the actual ones
        small = not settings.is_regression and classes <= MOST_CONFUSION_CLASSES
        self.confusion = PairSum.zeros((classes, classes)) if small else None
        self.sample = ScoreSample(SAMPLED_SCORES)

    def merge(self, other: _Totals) -> None:
        self.records += other.records
        for name, total in other.sums.items():
            self.sums.setdefault(name, PairSum.zeros(())).merge(total)
        self.counts.merge(other.counts)
        if self.confusion is not None and other.confusion is not None:
            self.confusion.merge(other.confusion)
        self.sample.merge(other.sample)

    def update(self, batch: Batch, first: int) -> None:
        assert batch.labels is not None
        raw = self.model.raw_scores(batch.features)
        labels = batch.labels.astype(np.float64)
        weights = np.ones(len(batch)) if batch.weights is None else batch.weights.astype(np.float64)
        self.records += len(batch)
        self._add("weight", weights, np.ones(len(batch)))
        exact = raw.astype(np.float64)
        shaped = exact[:, None, :] if self.settings.num_outputs > 1 else exact
        value = self.loss.value_and_gradient(shaped, labels[:, None])[0][:, 0]
        self._add("objective", value * self._class_weight(labels), weights)
        if self.settings.is_regression:
            error = exact[:, 0] - labels
            self._add("mse", error * error, weights)
            self._add("absolute_loss", np.abs(error), weights)
            self.sample.update(raw[:, :1], batch.labels, batch.weights, first)
            return
        predictions = self.model.predictions_from(raw)
        assert predictions.predicted_label is not None
        self._count(labels.astype(np.intp), predictions.predicted_label.astype(np.intp), weights)
        if self.settings.is_binary:
            self._add("log_loss", value, weights)
            self.sample.update(predictions.score[:, None], batch.labels, batch.weights, first)
        else:
            self._rank(exact, labels.astype(np.intp), value, weights)

    def _rank(
        self, raw: NDArray[Any], labels: NDArray[np.intp], value: NDArray[Any], weights: NDArray[Any]
    ) -> None:
        own = np.take_along_axis(raw, labels[:, None], axis=1)
        rank = (raw > own).sum(axis=1)
        self._add("top_k", (rank < self.settings.accuracy_top_k).astype(np.float64), weights)
        self._add("dcg", 1 / np.log2(rank + 2.0), weights)
        self._add("log_loss", value, weights)

    def _add(self, name: str, values: NDArray[Any], weights: NDArray[Any]) -> None:
        self.sums.setdefault(name, PairSum.zeros(())).add(np.asarray(values @ weights))

    def _class_weight(self, labels: NDArray[Any]) -> NDArray[Any] | float:
        weights = self.model.parameters.get("class_weights")
        if weights is not None:
            return np.asarray(weights)[labels.astype(np.intp)]
        multiplier = self.model.parameters.get("positive_example_weight_mult")
        return 1.0 + labels * (multiplier - 1) if isinstance(multiplier, float) else 1.0

    def _count(self, labels: NDArray[np.intp], called: NDArray[np.intp], weights: NDArray[Any]) -> None:
        classes = self.counts.high.shape[1]
        hits = np.bincount(labels, weights * (labels == called), minlength=classes)
        counts = [hits, *(np.bincount(of, weights, minlength=classes) for of in (called, labels))]
        self.counts.add(np.array(counts, np.float64))
        if self.confusion is not None:
            cells = np.bincount(labels * classes + called, weights, minlength=classes * classes)
            self.confusion.add(np.asarray(cells, np.float64).reshape(classes, classes))

    def scores(self) -> Scores:
        self.weight = float(self.sums["weight"].value)
        self.hits, self.called, self.actual = self.counts.value
        means = {name: float(total.value) / max(self.weight, 1e-300) for name, total in self.sums.items()}
        confusion = None if self.confusion is None else self.confusion.value
        residuals = None
        if self.settings.is_regression:
            predictions, labels, weights = self.sample.arrays()
            residuals = residuals_of(predictions[:, 0], labels, weights)
        return Scores(self.records, tuple(self._metrics(means)), confusion, residuals)

    def _metrics(self, means: dict[str, float]) -> Iterator[Metric]:
        yield Metric(self.loss.objective_name, "loss", means.get("objective", 0.0))
        if self.settings.is_regression:
            yield Metric("mse", "loss", means.get("mse", 0.0))
            yield Metric("absolute_loss", "loss", means.get("absolute_loss", 0.0))
            yield Metric("rmse", "loss", means.get("mse", 0.0) ** 0.5)
        elif self.settings.is_binary:
            yield from self._binary(means)
        else:
            yield from self._multiclass(means)

    def _binary(self, means: dict[str, float]) -> Iterator[Metric]:
        beta = self.settings.f_beta
        precision, recall = _ratio(self.hits[1], self.called[1]), _ratio(self.hits[1], self.actual[1])
        yield Metric("binary_classification_accuracy", "score", _ratio(self.hits.sum(), self.weight))
        yield Metric(f"binary_f_{beta:.3f}", "score", _f_score(precision, recall, beta))
        yield Metric("precision", "score", precision)
        yield Metric("recall", "score", recall)
        scores, labels, weights = self.sample.arrays()
        yield Metric("roc_auc_score", "score", threshold_curve(scores[:, 0], labels, weights).roc_auc)
        present = self.actual > 0
        yield Metric(
            "binary_balanced_accuracy", "score", float(np.mean(self.hits[present] / self.actual[present]))
        )
        if self.settings.resolved_loss == "logistic":  # a hinge score is no probability
            yield Metric("binary_log_loss", "score", means["log_loss"])

    def _multiclass(self, means: dict[str, float]) -> Iterator[Metric]:
        beta = self.settings.f_beta
        occurs = (self.actual > 0) | (self.called > 0)
        recalls = self.hits[occurs] / np.maximum(self.actual[occurs], 1e-300)
        precisions = self.hits[occurs] / np.maximum(self.called[occurs], 1e-300)
        f_scores = [_f_score(p, r, beta) for p, r in zip(precisions, recalls, strict=True)]
        present = self.actual > 0
        yield Metric("multiclass_accuracy", "score", _ratio(self.hits.sum(), self.weight))
        yield Metric(f"multiclass_top_k_accuracy_{self.settings.accuracy_top_k}", "score", means["top_k"])
        yield Metric("dcg", "score", means["dcg"])
        yield Metric("macro_recall", "score", float(np.mean(recalls)))
        yield Metric("macro_precision", "score", float(np.mean(precisions)))
        yield Metric(f"macro_f_{beta:.3f}", "score", float(np.mean(f_scores)))
        yield Metric(
            "multiclass_balanced_accuracy", "score", float(np.mean(self.hits[present] / self.actual[present]))
        )
        yield Metric("multiclass_log_loss", "score", means["log_loss"])


def with_weight(model: LinearLearnerModel, weight: float) -> LinearLearnerModel:
    """Return the model with the weight of positives that it was really trained with, for its objective."""
    return replace(model, parameters={**model.parameters, "positive_example_weight_mult": weight})


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole > 0 else 0.0


def _f_score(precision: float, recall: float, beta: float) -> float:
    return _ratio((1 + beta**2) * precision * recall, beta**2 * precision + recall)
