"""Training by mini-batches: `aws` in stored order as the service, `best` shuffled where an optimizer is named.

One loop serves both. They differ in the order of the records, in what models are compared on, in whether losers
are dropped, and in which epoch's parameters are exported.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.finish import Finished
from eigenline.algorithms.linear_learner.hold_out import HoldOut, hold_out
from eigenline.algorithms.linear_learner.hyperparameter_grid import assumptions
from eigenline.algorithms.linear_learner.minibatches import ordered_minibatches, shuffled_minibatches
from eigenline.algorithms.linear_learner.reports import (
    EpochReport,
    ModelRecord,
    Notice,
    PassReport,
    Report,
    State,
)
from eigenline.algorithms.linear_learner.scoring import binary_sample, choices, mean_losses
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.sgd import ParallelModels, columns_of, make_models
from eigenline.algorithms.linear_learner.training_data import TrainingData, evaluation_blocks

STOPPED = "the job was asked to stop"
FEWEST_MODELS = 4  # so many go on to the end
_ALONE = "alone."


def trains_in_minibatches(settings: Settings) -> bool:
    """Whether mini-batches do all: in `aws`, and where `best` is asked for a first-order method or one epoch.

    A setting that could change nothing asks for nothing: `momentum` is sgd's, and a schedule needs
    `use_lr_scheduler`, a bias multiplier `use_bias`.
    """
    if settings.as_aws or settings.is_set("optimizer") or settings.epochs == 1:
        return True
    asking = ["learning_rate", "beta_1", "beta_2"]
    if settings.use_bias:
        asking.append("bias_lr_mult")
    if settings.use_lr_scheduler:
        asking += ["lr_scheduler_step", "lr_scheduler_factor", "lr_scheduler_minimum_lr"]
    return any(settings.is_set(name) for name in asking)


@dataclass
class EarlyStopping:
    """Watches one number per epoch.

    An epoch improved when its number is less than the lowest one so far by more than `tolerance`, relative to that
    one. The lowest one moves with every decrease, also a small one. `waited` counts epochs without improvement,
    and begins anew too where the number beats the smallest of the previous `patience` ones by the tolerance.
    Training stops when more than `patience` epochs were waited for.

    Source: 41 public jobs. `as_service`, of scores: the test is ``-score < -best (1 - tolerance)``, so that a
    score which stays within the tolerance of the best one improves too (a public job of November 2020 prints
    "Loss improved" for epochs 12, 13 and 14, all of accuracy 0.994956068988).
    """

    patience: int
    tolerance: float
    higher_is_better: bool = False
    as_service: bool = False
    lowest: float = float("inf")
    waited: int = 0
    recent: list[float] = field(default_factory=list)

    def update(self, value: float) -> bool:
        """Add an epoch's number; return whether it improved."""
        value = -value if self.higher_is_better else value
        improved = self._beats(value, self.lowest)
        moved = bool(self.recent) and self._beats(value, min(self.recent))
        self.lowest = min(self.lowest, value)
        self.waited = 0 if improved or moved else self.waited + 1
        self.recent = [*self.recent, value][-self.patience :]
        return improved

    def _beats(self, value: float, other: float) -> bool:
        if other == float("inf"):
            return True
        margin = self.tolerance * (other if self.as_service else abs(other))
        return other - value > margin

    @property
    def stop(self) -> bool:
        """Whether to stop."""
        return self.waited > self.patience

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next epoch depends on, as arrays."""
        return {"stop": np.array([self.lowest, self.waited]), "stop_recent": np.array(self.recent)}

    def restore(self, state: State) -> None:
        """Continue from what `state` returned."""
        self.lowest, self.waited = float(state["stop"][0]), int(state["stop"][1])
        self.recent = [float(value) for value in state["stop_recent"]]


@dataclass(frozen=True, eq=False)
class _Epoch:
    """What an epoch found out about every model, NaN for those that were dropped; each of shape (num_models,).

    `train` is the loss before each update, `loss` the one on other records or else `train`, `criterion` the user's
    criterion where models are compared by it, `rank` what they are compared by: less is better, inf where
    diverged.
    """

    train: NDArray[np.float64]
    loss: NDArray[np.float64]
    criterion: NDArray[np.float64]
    rank: NDArray[np.float64]

    @property
    def winner(self) -> int:
        return int(np.argmin(self.rank))


@dataclass(frozen=True, eq=False)
class _Kept:
    """The parameters that would be exported, (feature_dim + 1, outputs), and the epoch that they are of."""

    number: int
    epoch: _Epoch
    parameters: NDArray[Any]

    def state(self) -> dict[str, NDArray[Any]]:
        epoch = self.epoch
        table = np.stack([epoch.train, epoch.loss, epoch.criterion, epoch.rank])
        return {"kept": np.array(self.number), "kept_table": table, "kept_parameters": self.parameters}


class _Training:
    """All models and what is known of them; `run` yields the epochs."""

    def __init__(self, training_data: TrainingData, held_out: HoldOut | None) -> None:
        settings = training_data.settings
        self.training_data, self.held_out = training_data, held_out
        self.compared_on = training_data.validation if held_out is None else held_out.records
        self.models = make_models(
            settings,
            training_data.candidates,
            training_data.loss,
            training_data.summary.feature_dim,
            training_data.rows.dtype,
        )
        weights_differ = len(np.unique(training_data.candidates.positive_example_weight)) > 1
        # losses under different weights of the positives do not compare
        self.scored = (
            settings.is_binary
            and self.compared_on is not None
            and (
                weights_differ
                if held_out is not None
                else settings.binary_classifier_model_selection_criteria != "loss_function"
            )
        )
        self.stopper = EarlyStopping(
            settings.early_stopping_patience,
            settings.early_stopping_tolerance,
            as_service=settings.as_aws,
        )
        self.kept: _Kept | None = None
        self.epochs_of = np.zeros(len(training_data.candidates), np.int64)
        self.lowest_rank = float("inf")
        self.reason = f"all {settings.epochs} epochs were done"
        self.last_state: State = {}

    def run(self, resume: State | None) -> Iterator[Report]:
        """Train to the last epoch, the early stop, or the signal."""
        settings, stopping = self.training_data.settings, self.training_data.rows.stopping
        first = 0
        if resume is not None:
            first = self._restore(resume)
            yield Notice(f"Resumed from the checkpoint of epoch {first - 1}.")
        for epoch in range(first, settings.epochs):
            if self.stopper.stop:
                break
            train, records = self.models.run_epoch(self._minibatches(epoch))
            if stopping() and (self.kept is not None or records == 0):
                self.reason = STOPPED
                return
            yield self._report(epoch, train, records)
            if self.kept is None:
                self.reason = "every model diverged"
                return
        if self.stopper.stop:
            tolerance, patience = settings.early_stopping_tolerance, settings.early_stopping_patience
            self.reason = (
                f"the last {self.stopper.waited} epochs each improved by less than early_stopping_tolerance="
                f"{tolerance:g} (early_stopping_patience={patience})"
            )

    def _minibatches(self, epoch: int) -> Iterator[Any]:
        size = self.training_data.settings.mini_batch_size
        if self.held_out is None:
            return ordered_minibatches(self.training_data.rows, size)
        return shuffled_minibatches(self.held_out.rows, size, epoch, self.held_out.left_out)

    def _evaluate(self, train: NDArray[np.float64]) -> _Epoch:
        """Compare the models that are alive; vectors over all models."""
        training_data, models = self.training_data, self.models
        train = np.where(np.isfinite(train), train, np.nan)
        loss, criterion = train, np.full(len(train), np.nan)
        if self.compared_on is not None:
            raw = training_data.raw_parameters(models.parameters)
            blocks = evaluation_blocks(self.compared_on)
            loss = mean_losses(blocks, training_data.raw_loss, raw, models.grid, models.outputs)
            if self.scored:
                sample = binary_sample(
                    evaluation_blocks(self.compared_on), raw, training_data.settings, len(train)
                )
                criterion = np.array([choice.value for choice in choices(sample, training_data.settings)])
        rank = -criterion if self.scored else loss
        rank = np.where(np.isfinite(rank) & np.isfinite(loss) & np.isfinite(train), rank, np.inf)
        count = len(training_data.candidates)
        everything = np.full(count, np.inf)
        everything[models.alive] = rank
        spread = models.spread
        return _Epoch(spread(train, count), spread(loss, count), spread(criterion, count), everything)

    def _report(self, number: int, losses: NDArray[np.float64], records: int) -> EpochReport:
        settings, models = self.training_data.settings, self.models
        epoch = self._evaluate(losses)
        self.epochs_of[models.alive] += 1
        best = float(epoch.rank.min())
        improved = self.stopper.update(best)
        # the service exports the last epoch that improved, `best` the best one
        if (improved if settings.as_aws else best < self.lowest_rank) and np.isfinite(best):
            position = int(np.flatnonzero(models.alive == epoch.winner)[0])
            columns = columns_of(np.array([position]), models.outputs)
            self.kept = _Kept(number, epoch, models.parameters[:, columns].copy())
        self.lowest_rank = min(self.lowest_rank, best)
        if self.held_out is not None and np.isfinite(best):
            _drop(models, epoch.rank[models.alive], number)
        criteria = self.training_data.loss.objective_name
        if self.scored:
            criteria = f"sampled_{settings.binary_classifier_model_selection_criteria}"
        self.last_state = self._state(number)
        others = None if self.compared_on is None else epoch.loss
        is_channel = self.training_data.validation is not None
        return EpochReport(
            number,
            settings.epochs,
            records,
            epoch.train,
            others if is_channel else None,
            None if is_channel else others,
            criteria,
            -best if self.scored else best,
            improved,
            self.stopper.waited,
            self.last_state,
        )

    def _state(self, epoch: int) -> State:
        if self.kept is None:
            return {}
        return {
            **self.models.state(),
            **self.stopper.state(),
            **self.kept.state(),
            "epoch": np.array(epoch),
            "epochs_of": self.epochs_of.copy(),
            "lowest_rank": np.array(self.lowest_rank),
        }

    def _restore(self, state: State) -> int:
        self.models.restore(state, self.training_data.candidates)
        self.stopper.restore(state)
        self.kept = _Kept(int(state["kept"]), _Epoch(*state["kept_table"].copy()), state["kept_parameters"].copy())
        self.epochs_of, self.lowest_rank = state["epochs_of"].copy(), float(state["lowest_rank"])
        self.last_state = {name: array for name, array in state.items() if not name.startswith(_ALONE)}
        return int(state["epoch"]) + 1

    def records(self, kept: _Kept) -> list[ModelRecord]:
        """Return one record for each model, with its losses in the exported epoch."""
        last = int(self.epochs_of.max())
        records = []
        for model, epochs in enumerate(map(int, self.epochs_of)):
            outcome = "trained" if epochs == last else f"dropped after {epochs} epochs"
            if not np.isfinite(kept.epoch.rank[model]) and np.isfinite(kept.epoch.train[model]) | (epochs == last):
                outcome = "diverged"
            if model == kept.epoch.winner:
                outcome = "chosen"
            records.append(
                ModelRecord(
                    model,
                    "parallel",
                    epochs,
                    float(kept.epoch.train[model]),
                    float("nan") if self.scored else float(kept.epoch.loss[model]),
                    float(kept.epoch.criterion[model]),
                    outcome,
                    self.training_data.candidates.describe(model),
                )
            )
        return records


def train_in_minibatches(training_data: TrainingData, resume: State | None) -> Iterator[Report | Finished]:
    """Train all models; the last thing yielded is the chosen one.

    Notes
    -----
    Source, of `aws`: the exported parameters are those at the end of the last epoch that improved, of the model
    that is best in it, also where the job did not stop early (28 public jobs with validation, two artifacts).
    Best is, of a binary classifier with a validation channel, by its criterion (a public job of November 2020
    chose model 5 with accuracy 0.99496 and loss 0.0373 over model 7 with loss 0.0370), else by the loss on the
    validation channel, or else by the training loss before each update.
    """
    settings = training_data.settings
    held_out = None if settings.as_aws else hold_out(training_data)
    if held_out is not None:
        yield Notice(f"Models are compared on {held_out.name}.")
    for sentence in assumptions(settings):
        yield Notice(sentence)
    training = _Training(training_data, held_out)
    yield from training.run(resume)
    kept = training.kept
    if kept is None:
        if training.reason == STOPPED:
            return  # nothing has been trained
        yield _diverged(training)
        return
    records = training.records(kept)
    diverged = sum(record.outcome == "diverged" for record in records)
    if diverged:
        yield Notice(f"{diverged} of {len(records)} models diverged and were dropped.", warning=True)
    parameters = kept.parameters
    winner = records[kept.epoch.winner]
    if held_out is not None and held_out.left_out is not None and not training_data.rows.stopping():
        alone = yield from _train_alone(training, kept, resume or {})
        if alone is not None:
            parameters = alone
            yield Notice(f"Model {winner.model} was trained again on all records for {kept.number + 1} epochs.")
    reason = STOPPED if training_data.rows.stopping() else training.reason
    compared_on = "validation" if training_data.validation is not None else "train (its training loss)"
    if held_out is not None:
        compared_on = held_out.name
    epochs = int(training.epochs_of.max())
    yield Finished(parameters, tuple(records), winner, compared_on, None, reason, epochs)


def _diverged(training: _Training) -> Finished:
    """Return a model of NaN, which the caller refuses with the reason."""
    training_data = training.training_data
    shape = (training_data.summary.feature_dim + 1, training.models.outputs)
    nothing = float("nan")
    hyperparameters = training_data.candidates.describe(0)
    record = ModelRecord(0, "parallel", 1, nothing, nothing, nothing, "diverged", hyperparameters)
    return Finished(np.full(shape, np.nan), (record,), record, "nothing", None, training.reason, 1)


def _drop(models: ParallelModels, ranks: NDArray[np.float64], epoch: int) -> None:
    """Go on with the better half after every second epoch, and never with a model that diverged.

    Source: Jamieson and Talwalkar (2016), successive halving.
    """
    keep = int(np.count_nonzero(np.isfinite(ranks)))
    if epoch % 2:
        keep = min(keep, max(-(-len(ranks) // 2), min(FEWEST_MODELS, len(ranks))))
    order = np.argsort(ranks, kind="stable")[: max(keep, 1)]
    if len(order) < len(ranks):
        models.keep(np.sort(order))


def _train_alone(
    training: _Training, kept: _Kept, resume: State
) -> Generator[Report, None, NDArray[np.float64] | None]:
    """Train the winner on every record, held-out ones included, for as many epochs as it had.

    Returns its parameters, or None where the job was asked to stop.
    """
    training_data = training.training_data
    settings, winner = training_data.settings, kept.epoch.winner
    grid = training_data.candidates.take([winner])
    single = make_models(
        settings,
        grid,
        training_data.loss,
        training_data.summary.feature_dim,
        training_data.rows.dtype,
        np.array([winner]),
    )
    first, epochs = 0, kept.number + 1
    found = {name.removeprefix(_ALONE): array for name, array in resume.items() if name.startswith(_ALONE)}
    if found:
        single.restore({**found, "alive": np.array([0])}, grid)
        first = int(found["epochs"])
    for epoch in range(first, epochs):
        losses, _ = single.run_epoch(shuffled_minibatches(training_data.rows, settings.mini_batch_size, epoch))
        if training_data.rows.stopping():
            return None

        def state(done: int = epoch + 1) -> Mapping[str, NDArray[Any]]:
            alone = {**single.state(), "epochs": np.array(done)}
            return {**training.last_state, **{_ALONE + name: array for name, array in alone.items()}}

        yield PassReport("alone", epoch + 1, epochs, losses, state)
    return single.parameters.astype(np.float64)
