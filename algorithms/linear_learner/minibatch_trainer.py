"""Training as the service does it: stored order, whole mini-batches, its grid, its early stop and restore.

Source: public logs and artifacts, and a reconstruction that matches their losses; see docs/linear_learner.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.finish import Finished
from eigenline.algorithms.linear_learner.minibatches import ordered_minibatches
from eigenline.algorithms.linear_learner.problem import Problem
from eigenline.algorithms.linear_learner.reports import EpochReport, ModelRecord, Notice, Report, State
from eigenline.algorithms.linear_learner.scoring import binary_sample, choices, mean_losses
from eigenline.algorithms.linear_learner.sgd import Ensemble, make_ensemble


@dataclass
class EarlyStopping:
    """Watches one number per epoch.

    An epoch improved when the number moved by at least `tolerance`, relative to the best one so far, in the
    right direction. The best one moves with every decrease, also a small one. Training stops after
    `patience` + 1 epochs in a row without improvement.

    Source: two public logs (improved through epoch 5, stopped after epoch 9 with patience 3; a cumulative
    decrease of 0.12 % over three epochs did not count).
    """

    patience: int
    tolerance: float
    higher_is_better: bool = False
    best: float = float("inf")
    waited: int = 0

    def update(self, value: float) -> bool:
        """Take an epoch's number; return whether it improved."""
        value = -value if self.higher_is_better else value
        # a score of 0 is a possible best value: then any gain is an improvement
        gain = self.best - value
        improved = self.best == float("inf") or (gain > 0 and gain >= self.tolerance * abs(self.best))
        self.best = min(self.best, value)
        self.waited = 0 if improved else self.waited + 1
        return improved

    @property
    def stop(self) -> bool:
        """Whether to stop."""
        return self.waited > self.patience


class _Run:
    """The epochs so far: snapshots of the last ones, histories, early stopping."""

    def __init__(self, problem: Problem) -> None:
        settings = problem.settings
        self.problem = problem
        self.uses_score = (
            problem.validation is not None
            and settings.is_binary
            and settings.binary_classifier_model_selection_criteria != "loss_function"
        )
        self.stopper = EarlyStopping(
            settings.early_stopping_patience, settings.early_stopping_tolerance, self.uses_score
        )
        # (parameters, train losses, selection values: the higher the better) of the last epochs
        self.recent: deque[tuple[Any, NDArray[np.float64], NDArray[np.float64]]] = deque(
            maxlen=settings.early_stopping_patience + 1
        )

    def state(self, ensemble: Ensemble, epoch: int) -> State:
        parameters, losses, values = zip(*self.recent, strict=True)
        return {
            **ensemble.state(),
            "epoch": np.array(epoch),
            "best": np.array(self.stopper.best),
            "waited": np.array(self.stopper.waited),
            "recent_parameters": np.stack(parameters),
            "recent_losses": np.stack(losses),
            "recent_values": np.stack(values),
        }

    def restore(self, state: State) -> int:
        self.stopper.best, self.stopper.waited = float(state["best"]), int(state["waited"])
        self.recent.extend(
            zip(state["recent_parameters"], state["recent_losses"], state["recent_values"], strict=True)
        )
        return int(state["epoch"]) + 1


def train_as_aws(problem: Problem, resume: State | None) -> Iterator[Report | Finished]:
    """Train all models to the early stop; the last thing yielded is the chosen model.

    The exported epoch is the first of the final run of epochs without improvement: after an early stop,
    ``last - patience`` (verified on one real artifact); without one, nearly always the last epoch.
    """
    settings, rows = problem.settings, problem.rows
    ensemble = make_ensemble(settings, problem.candidates, problem.loss, problem.survey.feature_dim, rows.dtype)
    run = _Run(problem)
    first = 0
    if resume is not None:
        ensemble.restore(resume, problem.candidates)
        first = run.restore(resume)
        yield Notice(f"Resumed from the checkpoint of epoch {first - 1}.")
    reason = f"all {settings.epochs} epochs were done"
    epoch = first - 1
    for epoch in range(first, settings.epochs):
        if run.stopper.stop:
            break
        losses, records = ensemble.run_epoch(ordered_minibatches(rows, settings.mini_batch_size))
        if rows.stopping() and not run.recent and records == 0:
            return  # nothing has been trained
        if rows.stopping() and run.recent:
            reason = "the job was asked to stop"
            break
        yield _report(run, ensemble, epoch, losses, records)
        if run.stopper.stop:
            reason = _reason(run.stopper)
            break
    yield from _choose(run, reason, epoch + 1)


def _reason(stopper: EarlyStopping) -> str:
    return (
        f"the last {stopper.waited} epochs each improved by less than early_stopping_tolerance="
        f"{stopper.tolerance:g} (early_stopping_patience={stopper.patience})"
    )


def _report(run: _Run, ensemble: Ensemble, epoch: int, losses: NDArray[np.float64], records: int) -> EpochReport:
    problem, stopper = run.problem, run.stopper
    losses = np.where(np.isfinite(losses), losses, np.nan)
    validation = None
    values = -losses
    criteria = problem.loss.objective_name
    if problem.validation is not None:
        raw = problem.raw_parameters(ensemble.parameters)
        validation = mean_losses(
            problem.validation.blocks(), problem.raw_loss, raw, ensemble.candidates, ensemble.outputs
        )
        values = -validation
        if run.uses_score:
            blocks = problem.validation.blocks()
            sample = binary_sample(blocks, raw, problem.settings, len(losses))
            values = np.array([choice.value for choice in choices(sample, problem.settings)])
            criteria = f"sampled_{problem.settings.binary_classifier_model_selection_criteria}"
    values = np.where(np.isfinite(values) & np.isfinite(losses), values, -np.inf)
    best = float(values.max())
    improved = stopper.update(best if run.uses_score else -best)
    run.recent.append((ensemble.parameters.copy(), losses, values))
    return EpochReport(
        epoch,
        problem.settings.epochs,
        records,
        losses,
        validation,
        None,
        criteria,
        best if run.uses_score else -best,
        improved,
        stopper.waited,
        run.state(ensemble, epoch),
    )


def _choose(run: _Run, reason: str, epochs: int) -> Iterator[Report | Finished]:
    problem = run.problem
    back = min(max(run.stopper.waited - 1, 0), len(run.recent) - 1)
    parameters, losses, values = list(run.recent)[-1 - back]
    diverged = int(np.count_nonzero(~np.isfinite(values)))
    if diverged:
        yield Notice(f"{diverged} of {len(values)} models diverged and were dropped.", warning=True)
    winner = int(np.argmax(values))
    outputs = problem.settings.num_outputs
    records = []
    for model in range(len(values)):
        selection = float(values[model] if run.uses_score else -values[model])
        records.append(
            ModelRecord(
                model,
                "parallel",
                epochs,
                float(losses[model]),
                float("nan") if run.uses_score else selection,
                selection if run.uses_score else float("nan"),
                "chosen" if model == winner else "trained" if np.isfinite(values[model]) else "diverged",
                problem.candidates.describe(model),
            )
        )
    yield Finished(
        parameters[:, winner * outputs : (winner + 1) * outputs],
        tuple(records),
        records[winner],
        "validation" if problem.validation is not None else "train (its training loss)",
        None,
        reason,
        epochs,
    )
