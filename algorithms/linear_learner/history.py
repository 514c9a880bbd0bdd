"""The story of every model in `best`: how far it got, how it was judged, and the best parameters seen."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.finish import Finished
from eigenline.algorithms.linear_learner.hold_out import Judges
from eigenline.algorithms.linear_learner.problem import Problem
from eigenline.algorithms.linear_learner.refinement import Refined
from eigenline.algorithms.linear_learner.reports import ModelRecord, State
from eigenline.algorithms.linear_learner.sgd import ParallelModels, columns_of


@dataclass
class History:
    """The story of each parallel model, and the best parameters seen."""

    num_models: int
    epochs: NDArray[np.int64] = field(init=False)
    train: NDArray[np.float64] = field(init=False)
    judged: NDArray[np.float64] = field(init=False)
    best_value: float = float("inf")
    best_model: int = 0
    best_epoch: int = 0
    best_parameters: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        self.epochs = np.zeros(self.num_models, np.int64)
        self.train = np.full(self.num_models, np.nan)
        self.judged = np.full(self.num_models, np.nan)

    def update(
        self, ensemble: ParallelModels, epoch: int, losses: NDArray[np.float64], ranks: NDArray[np.float64]
    ) -> None:
        """Take the losses and ranks (less is better) of an epoch."""
        alive = ensemble.alive
        self.epochs[alive] += 1
        self.train[alive], self.judged[alive] = losses, ranks
        winner = int(np.argmin(ranks))
        if ranks[winner] < self.best_value:
            self.best_value, self.best_epoch = float(ranks[winner]), epoch
            self.best_model = int(alive[winner])
            columns = columns_of(np.array([winner]), ensemble.outputs)
            self.best_parameters = ensemble.parameters[:, columns].astype(np.float64)

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Return everything as arrays."""
        assert self.best_parameters is not None
        numbers = np.array([self.best_value, self.best_model, self.best_epoch])
        return {
            "history_epochs": self.epochs.copy(),
            "history_train": self.train.copy(),
            "history_judged": self.judged.copy(),
            "history_best": numbers,
            "best_parameters": self.best_parameters,
        }

    def restore(self, state: State) -> None:
        """Continue from what `state` returned."""
        self.epochs, self.train = state["history_epochs"].copy(), state["history_train"].copy()
        self.judged = state["history_judged"].copy()
        self.best_value = float(state["history_best"][0])
        self.best_model, self.best_epoch = int(state["history_best"][1]), int(state["history_best"][2])
        self.best_parameters = state["best_parameters"].copy()


def parallel_records(problem: Problem, history: History) -> list[ModelRecord]:
    """Return one record for each parallel model."""
    last = int(history.epochs.max())
    records = []
    for model in range(history.num_models):
        finite = np.isfinite(history.train[model]) and np.isfinite(history.judged[model])
        dropped = f"dropped after {history.epochs[model]} epochs"
        outcome = "trained" if history.epochs[model] == last else dropped
        records.append(
            ModelRecord(
                model,
                "parallel",
                int(history.epochs[model]),
                float(history.train[model]),
                float(history.judged[model]),
                float("nan"),
                outcome if finite else "diverged",
                problem.candidates.describe(model),
            )
        )
    return records


def polished(
    problem: Problem,
    judges: Judges,
    records: list[ModelRecord],
    refined: Refined,
    reason: str,
    epochs: int,
) -> Finished:
    """Return the end of a training that the second-order finish ended, its models added to the story."""
    first = len(records)
    for position in range(len(refined.candidates)):
        records.append(
            ModelRecord(
                first + position,
                "polished",
                epochs,
                float(refined.train_losses[position]),
                float(refined.losses[position]),
                float(refined.criteria[position]),
                "chosen" if position == refined.winner else "polished",
                refined.candidates.describe(position),
            )
        )
    winner = records[first + refined.winner]
    robust = refined.robust
    if robust is not None:
        for position in range(len(robust.candidates)):
            won = robust.won and position == robust.winner
            records.append(
                ModelRecord(
                    len(records),
                    "robust",
                    epochs,
                    float("nan"),
                    float(robust.losses[position]),
                    float(robust.criteria[position]),
                    "chosen" if won else "polished",
                    robust.candidates.describe(position),
                )
            )
        if robust.won:
            records[winner.model] = with_outcome(winner, "polished, then made robust")
            winner = records[len(records) - len(robust.candidates) + robust.winner]
    end = "converged" if refined.converged else "ended"
    story = f"{reason}; then the second-order finish {end} after {refined.passes} passes"
    return Finished(refined.parameters, tuple(records), winner, judges.name, refined.calibration, story, epochs)


def with_outcome(record: ModelRecord, outcome: str) -> ModelRecord:
    """Return the record with another outcome."""
    return replace(record, outcome=outcome)
