"""How models are compared: their losses and raw scores on records that they were not trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import Objective, loss_of_block, raw_scores
from eigenline.algorithms.linear_learner.rows import Preparation
from eigenline.algorithms.linear_learner.scoring import link
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.thresholds import Choice, choose_threshold, threshold_curve
from eigenline.algorithms.records import InOrder, PairSum, Records

# Chosen: models are compared as if so many more left-out records had been labelled by chance, and wrongly.
WRONG_LABELS: Final = 0.25
# Raw scores that are kept for thresholds: so many float32 over all models, however many records there are.
SAMPLED_SCORES: Final = 16_000_000


@dataclass(frozen=True, eq=False)
class RawScores:
    """Raw scores of records by models that were not trained on them.

    Attributes
    ----------
    scores
        Shape (n, models), float32.
    labels, weights
        Shape (n,).
    """

    scores: NDArray[np.float32]
    labels: Floats
    weights: Floats

    def __len__(self) -> int:
        return len(self.labels)

    def column(self, model: int) -> RawScores:
        """Return the scores of one model."""
        return RawScores(self.scores[:, [model]], self.labels, self.weights)

    def beside(self, other: RawScores) -> RawScores:
        """Return these models' scores and those of others, of the same records."""
        return RawScores(np.hstack([self.scores, other.scores]), self.labels, self.weights)


def score_left_out(objective: Objective, parameters: NDArray[np.float64], left_out: tuple[int, ...]) -> RawScores:
    """Score every record that is left out by the models that did not see it, one column per model.

    Parameters
    ----------
    objective
        Of ``models * len(left_out)`` columns, those of one model side by side.
    parameters
        Theirs, shape (feature_dim + 1, columns).
    left_out
        The folds, in the order of a model's columns.
    """
    models = parameters.shape[1] // len(left_out)
    work = _ScoresWork(
        objective.preparation, objective.effective(parameters), left_out, _stride(objective.records, models)
    )
    return _joined(objective.records.total(work).values, models)


def score_records(records: Records, preparation: Preparation, parameters: Floats) -> RawScores:
    """Score every record by every model; parameters are those for the features as `preparation` leaves them."""
    models = parameters.shape[1]
    work = _ScoresWork(preparation, parameters, (), _stride(records, models))
    return _joined(records.total(work).values, models)


def _stride(records: Records, models: int) -> int:
    """Return a power of two: of every so many records one is kept."""
    stride = 1
    while (records.count or 0) * (models + 2) > stride * SAMPLED_SCORES:
        stride *= 2
    return stride


def _joined(parts: list[RawScores], models: int) -> RawScores:
    if not parts:
        return RawScores(np.zeros((0, models), np.float32), np.zeros(0), np.zeros(0))
    return RawScores(
        np.concatenate([part.scores for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.weights for part in parts]),
    )


@dataclass(frozen=True, eq=False)
class _ScoresWork:
    """Collects raw scores; of `left_out` folds, or of all records where there are none."""

    preparation: Preparation
    parameters: Floats
    left_out: tuple[int, ...]
    stride: int

    def begin(self) -> InOrder[RawScores]:
        return InOrder()

    def update(self, state: InOrder[RawScores], batch: Batch, first: int) -> InOrder[RawScores]:
        block = self.preparation.block(batch, first)
        with np.errstate(all="ignore"):
            raw = raw_scores(block, self.parameters, 1)
        kept = np.arange(len(batch))[-first % self.stride :: self.stride]
        if self.left_out:
            assert block.folds is not None
            place = np.full(self.preparation.folds + 1, -1)
            place[list(self.left_out)] = np.arange(len(self.left_out))
            of_record = place[block.folds]
            kept = kept[of_record[kept] >= 0]
            by_fold = raw.reshape(len(raw), -1, len(self.left_out))
            scores = by_fold[kept, :, of_record[kept]]
        else:
            scores = raw[kept]
        weights = np.ones(len(kept)) if block.sample_weights is None else block.sample_weights[kept]
        with np.errstate(over="ignore"):
            state.add(first, RawScores(scores.astype(np.float32), block.labels[kept, 0], weights))
        return state

    def merge(self, first: InOrder[RawScores], second: InOrder[RawScores]) -> InOrder[RawScores]:
        first.merge(second)
        return first


def mean_losses(
    records: Records,
    preparation: Preparation,
    loss: Loss,
    parameters: Floats,
    grid: HyperparameterGrid,
    outputs: int,
) -> NDArray[np.float64]:
    """Return the weighted mean loss of each model, shape (m,); class weights count, as in training.

    Where `preparation` makes folds, the records that belong to none are not looked at.
    """
    return _means(records.total(_MeanLossWork(preparation, loss, parameters, outputs, grid)))


def _means(sums: PairSum) -> NDArray[np.float64]:
    total, weight = sums.value
    return np.asarray(total / np.maximum(weight, 1e-300))


@dataclass(frozen=True, eq=False)
class _MeansWork:
    """What passes share that add up something of each model, and the weights: state of shape (2, m)."""

    preparation: Preparation
    loss: Loss
    parameters: Floats
    outputs: int

    def begin(self) -> PairSum:
        return PairSum.zeros((2, self.parameters.shape[1] // self.outputs))

    def merge(self, first: PairSum, second: PairSum) -> PairSum:
        first.merge(second)
        return first


@dataclass(frozen=True, eq=False)
class _MeanLossWork(_MeansWork):
    grid: HyperparameterGrid

    def update(self, state: PairSum, batch: Batch, first: int) -> PairSum:
        block = self.preparation.block(batch, first)
        with np.errstate(all="ignore"):
            value, _ = loss_of_block(self.loss, block, self.parameters, self.grid, self.outputs)
            weights = np.ones(len(value), value.dtype) if block.sample_weights is None else block.sample_weights
            if block.folds is not None:
                weights = weights * (block.folds < self.preparation.folds)
            sums = np.empty((2, len(self.grid)))
            sums[0], sums[1] = weights @ value, weights.sum(dtype=np.float64)
        state.add(sums)
        return state


def wrong_label_losses(
    records: Records,
    preparation: Preparation,
    loss: Loss,
    parameters: Floats,
    outputs: int,
    left_out: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return what a classifier would lose on average if a record's label were another, shape (m,).

    Parameters
    ----------
    parameters
        For the features as `preparation` leaves them, shape (feature_dim + 1, m * outputs).
    left_out
        The fold whose records count for each model, shape (m,); None counts all.
    """
    return _means(records.total(_WrongLabelWork(preparation, loss, parameters, outputs, left_out)))


@dataclass(frozen=True, eq=False)
class _WrongLabelWork(_MeansWork):
    left_out: NDArray[np.int64] | None

    def update(self, state: PairSum, batch: Batch, first: int) -> PairSum:
        block = self.preparation.block(batch, first)
        with np.errstate(all="ignore"):
            raw = raw_scores(block, self.parameters, self.outputs)
            if self.outputs == 1:
                value, _ = self.loss.value_and_gradient(raw, 1 - block.labels)
            else:  # the mean over all other classes
                own, _ = self.loss.value_and_gradient(raw, block.labels)
                of_label = np.take_along_axis(raw, block.labels.astype(np.intp)[:, :, None], axis=2)[:, :, 0]
                value = own + of_label - (raw.sum(axis=2) - of_label) / (self.outputs - 1)
            counts = np.ones_like(value) if block.sample_weights is None else block.sample_weights[:, None]
            if self.left_out is not None and block.folds is not None:
                counts = counts * (block.folds[:, None] == self.left_out)
            counts = np.broadcast_to(counts, value.shape)
            sums = np.stack([(counts * value).sum(axis=0), counts.sum(axis=0)])
        state.add(sums)
        return state


def best_thresholds(raw: RawScores, settings: Settings) -> list[Choice]:
    """Return each model's best threshold of the published score, and the criterion's value there."""
    scores = np.ascontiguousarray(link(raw.scores, settings.resolved_loss).T)
    weights = None if np.all(raw.weights == raw.weights[:1]) else raw.weights
    return [
        choose_threshold(threshold_curve(column, raw.labels, weights), settings, 0.5)
        if np.isfinite(column).all()
        else Choice(0.5, -np.inf)
        for column in scores
    ]


def as_if_some_were_wrong(
    losses: NDArray[np.float64], wrong: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    """Return mean losses over `count` left-out records and a quarter of a record that has another label.

    Where few left-out records are all labelled right, the mean loss falls with the strength of regularisation
    without end, and the most confident model would be taken; but n records without an error do not show that there
    are none. Chosen by cross-validated losses over 71 tables: a quarter of a record; none is worse on small
    tables that a plane nearly separates, a whole one everywhere else. Related to Laplace's rule of succession.
    """
    return np.asarray((count * losses + WRONG_LABELS * wrong) / (count + WRONG_LABELS))


def standard_error(best: float, count: int) -> float:
    """Return the standard error of a count of errors, as a share of the records; of none as if there were one."""
    return float(np.sqrt(max((1 - best) * count, 1.0)) / count)


def choose_model(
    losses: NDArray[np.float64],
    criteria: NDArray[np.float64],
    count: int,
    settings: Settings,
    *,
    comparable: bool,
) -> int:
    """Return the model with the lowest loss among those whose criterion is as good as the best one's.

    Parameters
    ----------
    losses, criteria
        On left-out records, shape (m,); criteria NaN where there are none.
    count
        Number of those records.
    comparable
        False where the models weigh positives differently: their losses do not compare.

    Notes
    -----
    Chosen: within one standard error of the best count of errors the criterion cannot order the models; the loss
    can.
    """
    finite = np.where(np.isfinite(losses), losses, np.inf)
    if np.isnan(criteria).all() or settings.binary_classifier_model_selection_criteria == "loss_function":
        return int(np.argmin(finite))
    usable = np.where(np.isfinite(losses), criteria, -np.inf)
    if not comparable:
        return int(np.argmax(usable))
    best = float(usable.max())
    return int(np.argmin(np.where(usable >= best - standard_error(best, count), finite, np.inf)))
