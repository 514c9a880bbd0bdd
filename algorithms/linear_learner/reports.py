"""What training tells while it runs and when it is done; the container prints these, nobody else knows how."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.data_summary import DataSummary
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.model import LinearLearnerModel
from eigenline.algorithms.linear_learner.scaling import Scaler
from eigenline.algorithms.linear_learner.thresholds import ThresholdCurve

State: TypeAlias = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Notice:
    """A sentence for the person who reads the log.

    Attributes
    ----------
    text
        One or two sentences.
    warning
        Whether something should be looked at.
    about_result
        Whether the model is not what was asked for, which an estimator warns of too.
    """

    text: str
    warning: bool = False
    about_result: bool = False


@dataclass(frozen=True, eq=False)
class Prepared:
    """The data are summarised and the models laid out."""

    summary: DataSummary
    scaler: Scaler
    candidates: HyperparameterGrid
    objective_name: str


@dataclass(frozen=True, eq=False)
class EpochReport:
    """One epoch of all parallel models.

    Attributes
    ----------
    epoch, limit, records
        Counted from 0; how many there may be; records trained on.
    train_loss, validation_loss
        Shape (num_models,), NaN for models that were dropped; the second None without a validation channel.
    held_out_loss
        The same on the internal hold-out, None without one.
    criteria, value
        What early stopping watches, and its best value over the models.
    improved, waited
        Whether that is progress, and for how many epochs there was none.
    state
        What a resumed job needs.
    """

    epoch: int
    limit: int
    records: int
    train_loss: NDArray[np.float64]
    validation_loss: NDArray[np.float64] | None
    held_out_loss: NDArray[np.float64] | None
    criteria: str
    value: float
    improved: bool
    waited: int
    state: State


@dataclass(frozen=True, eq=False)
class PassReport:
    """One full pass over the records.

    Attributes
    ----------
    stage
        What the pass belongs to: ``start``, ``path``, ``robust``, ``refit``, ...
    passes, limit
        Made in this stage so far; at most so many.
    losses
        Mean training loss of each model of the stage.
    state
        Returns what a resumed job needs, as it is when called; it may be large, so it is only made on demand.
    """

    stage: str
    passes: int
    limit: int
    losses: NDArray[np.float64]
    state: Callable[[], State]

    @property
    def loss(self) -> float:
        """The lowest of the losses."""
        return float(np.min(np.where(np.isfinite(self.losses), self.losses, np.inf)))


@dataclass(frozen=True)
class ModelRecord:
    """One trained model as `models.csv` lists it: hyperparameters, how far it got, and its losses."""

    model: int
    stage: str
    epochs: int
    train_loss: float
    selection_loss: float
    criterion: float
    outcome: str
    hyperparameters: Mapping[str, Any]


Report: TypeAlias = Notice | Prepared | EpochReport | PassReport


@dataclass(frozen=True, eq=False)
class Trained:
    """The result of a training.

    Attributes
    ----------
    model
        What is served.
    weights, bias
        The same in float64: shapes (feature_dim, outputs) and (outputs,), raw units.
    summary, scaler
        What the data looked like.
    records
        Every model that was trained.
    winner
        The chosen model's hyperparameters.
    selected_on, calibrated_on
        Names of the records that model and threshold were chosen on.
    stop_reason
        A sentence.
    curve
        Binary: the threshold curve that the threshold was read from.
    """

    model: LinearLearnerModel
    weights: NDArray[np.float64]
    bias: NDArray[np.float64]
    summary: DataSummary
    scaler: Scaler
    records: tuple[ModelRecord, ...]
    winner: ModelRecord
    selected_on: str
    calibrated_on: str
    stop_reason: str
    epochs: int
    curve: ThresholdCurve | None
    optimizer: str
