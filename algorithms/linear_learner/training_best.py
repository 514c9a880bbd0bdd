"""Training as well as we can: parallel models in shuffled mini-batches, losers dropped, the winner polished.

docs/linear_learner.md explains it on one page.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.finish import Finished
from eigenline.algorithms.linear_learner.history import History, parallel_records, polished, with_outcome
from eigenline.algorithms.linear_learner.hold_out import Judges, choose_judges
from eigenline.algorithms.linear_learner.journal import Journal
from eigenline.algorithms.linear_learner.minibatch_trainer import EarlyStopping
from eigenline.algorithms.linear_learner.minibatches import shuffled_minibatches
from eigenline.algorithms.linear_learner.problem import Problem, evaluation_blocks
from eigenline.algorithms.linear_learner.refinement import WIDE, Refined, refine
from eigenline.algorithms.linear_learner.reports import EpochReport, Notice, PolishReport, Report, State
from eigenline.algorithms.linear_learner.scoring import binary_sample, choices, mean_losses
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.sgd import ParallelModels, make_models

# Naming one of these asks for a particular first-order method, which is then left to do the whole job.
FIRST_ORDER = (
    "optimizer",
    "learning_rate",
    "momentum",
    "beta_1",
    "beta_2",
    "bias_lr_mult",
    "lr_scheduler_step",
    "lr_scheduler_factor",
    "lr_scheduler_minimum_lr",
)
# Parallel epochs before the second-order finish: 32 models, 16, 8. Chosen: a fourth one, of 4 models, costs as
# much as two passes of the finish, and did not lower the cross-validated errors of ten tasks.
LEADING_EPOCHS = 3
STOPPED = "the job was asked to stop"


def may_polish(settings: Settings) -> bool:
    """Whether the job may end with second-order steps: no optimizer was asked for, and not a single epoch."""
    return settings.epochs > 1 and not any(settings.is_set(name) for name in FIRST_ORDER)


def _epoch_limit(settings: Settings) -> int:
    return min(settings.epochs, LEADING_EPOCHS) if may_polish(settings) else settings.epochs


def train_best(problem: Problem, resume: State | None) -> Iterator[Report | Finished]:
    """Run the parallel epochs and the finish; the last thing yielded is the chosen model."""
    settings = problem.settings
    polishing = may_polish(settings)
    wide = polishing and problem.survey.feature_dim > WIDE
    judges = choose_judges(problem, folds_allowed=polishing and not wide)
    yield Notice(f"Models are compared on {judges.name}.")
    if wide:
        yield from _second_order_alone(problem, judges, resume or {})
        return
    history = History(len(problem.candidates))
    stopper = EarlyStopping(settings.early_stopping_patience, settings.early_stopping_tolerance)
    ensemble = make_models(
        settings, problem.candidates, problem.loss, problem.survey.feature_dim, problem.rows.dtype
    )
    first = 0
    state: State = resume or {}
    if resume is not None:
        ensemble.restore(resume, problem.candidates)
        history.restore(resume)
        stopper.lowest, stopper.waited = float(resume["best"]), int(resume["waited"])
        first = int(resume["epoch"]) + 1
        yield Notice(f"Resumed from the checkpoint of epoch {first - 1}.")
    limit = _epoch_limit(settings)
    reason = f"all {limit} epochs were done"
    for epoch in range(first, limit):
        if stopper.stop:
            break
        losses, records = ensemble.run_epoch(
            shuffled_minibatches(judges.rows, settings.mini_batch_size, epoch, judges.left_out)
        )
        if problem.rows.stopping():
            reason = STOPPED
            if history.best_parameters is not None:
                break
            if records == 0:
                return
        report = _report(problem, judges, ensemble, history, stopper, epoch, losses, records)
        state = report.state
        yield report
        if history.best_parameters is None:
            reason = "every model diverged"
            break
        if stopper.stop:
            reason = (
                f"the last {stopper.waited} epochs each improved by less than early_stopping_tolerance="
                f"{stopper.tolerance:g} (early_stopping_patience={stopper.patience})"
            )
            break
    yield from _end(problem, judges, history, ensemble, Journal(state, resume or {}), reason)


def _second_order_alone(problem: Problem, judges: Judges, resume: State) -> Iterator[Report | Finished]:
    """Train wide models by full passes from zero: an update per mini-batch would touch every weight.

    Chosen: the parallel models are then as many L2 strengths; all of them descend in the same passes.
    """
    settings = problem.settings
    yield Notice(
        f"With {problem.survey.feature_dim} features, models are trained by second-order full passes alone; "
        "name an optimizer to train by mini-batches."
    )
    shape = (problem.survey.feature_dim + 1, settings.num_outputs)
    start = np.zeros(shape)
    start[-1] = settings.init_bias if settings.use_bias else 0
    for step in refine(problem, judges, start, problem.candidates.take([0]), Journal({}, resume)):
        if isinstance(step, Refined):
            reason = STOPPED if problem.rows.stopping() else "the features are many"
            yield polished(problem, judges, [], step, reason, 0)
        else:
            yield step


def _report(
    problem: Problem,
    judges: Judges,
    ensemble: ParallelModels,
    history: History,
    stopper: EarlyStopping,
    epoch: int,
    losses: NDArray[np.float64],
    records: int,
) -> EpochReport:
    losses = np.where(np.isfinite(losses), losses, np.nan)
    judged: NDArray[np.float64] | None = None
    ranks = losses
    count = len(problem.candidates)
    if judges.records is not None:
        raw = problem.raw_parameters(ensemble.parameters)
        blocks = evaluation_blocks(judges.records)
        judged = mean_losses(blocks, problem.raw_loss, raw, ensemble.grid, ensemble.outputs)
        ranks = judged
        if problem.settings.is_binary and len(np.unique(problem.candidates.positive_example_weight)) > 1:
            # losses under different weights of the positives do not compare
            sample = binary_sample(evaluation_blocks(judges.records), raw, problem.settings, len(ensemble.alive))
            ranks = -np.array([choice.value for choice in choices(sample, problem.settings)])
    ranks = np.where(np.isfinite(ranks) & np.isfinite(losses), ranks, np.inf)
    history.update(ensemble, epoch, losses, ranks)
    value = float(ranks.min())
    improved = stopper.update(value)
    train, others = ensemble.spread(losses, count), None if judged is None else ensemble.spread(judged, count)
    if np.isfinite(value):
        _drop(ensemble, ranks, epoch, may_polish(problem.settings))
    is_channel = problem.validation is not None
    state: State = {}
    if history.best_parameters is not None:
        state = {
            **ensemble.state(),
            **history.state(),
            "epoch": np.array(epoch),
            "best": np.array(stopper.lowest),
            "waited": np.array(stopper.waited),
        }
    return EpochReport(
        epoch,
        _epoch_limit(problem.settings),
        records,
        train,
        others if is_channel else None,
        None if is_channel else others,
        problem.loss.objective_name,
        value,
        improved,
        stopper.waited,
        state,
    )


def _drop(ensemble: ParallelModels, ranks: NDArray[np.float64], epoch: int, polishing: bool) -> None:
    """Go on with the better half, every epoch before a polish and every second one otherwise.

    Source: Jamieson and Talwalkar (2016), successive halving. Models that diverged go at once.
    """
    finite = int(np.count_nonzero(np.isfinite(ranks)))
    keep = finite
    if polishing or epoch % 2:
        keep = min(finite, max(-(-len(ranks) // 2), min(4, len(ranks))))
    order = np.argsort(ranks, kind="stable")[: max(keep, 1)]
    if len(order) < len(ranks):
        ensemble.keep(np.sort(order))


def _end(
    problem: Problem, judges: Judges, history: History, ensemble: ParallelModels, journal: Journal, reason: str
) -> Iterator[Report | Finished]:
    records = parallel_records(problem, history)
    diverged = sum(record.outcome == "diverged" for record in records)
    if diverged:
        yield Notice(f"{diverged} of {len(records)} models diverged and were dropped.", warning=True)
    epochs = int(history.epochs.max())
    winner = history.best_model
    parameters = history.best_parameters
    if parameters is None:
        parameters = np.full((problem.survey.feature_dim + 1, ensemble.outputs), np.nan)
    trained = bool(np.isfinite(parameters).all())
    if trained and may_polish(problem.settings) and not problem.rows.stopping():
        for step in refine(problem, judges, parameters, problem.candidates.take([winner]), journal):
            if not isinstance(step, Refined):
                yield step
            elif step.judged:
                ending = STOPPED if problem.rows.stopping() else reason
                yield polished(problem, judges, records, step, ending, epochs)
                return
    if judges.left_out is not None and trained and not problem.rows.stopping():
        alone = yield from _train_alone(problem, winner, history.best_epoch + 1, journal)
        if alone is not None:
            parameters = alone
            yield Notice(f"Model {winner} was trained again on all records for {history.best_epoch + 1} epochs.")
    if problem.rows.stopping():
        reason = STOPPED
    chosen = with_outcome(records[winner], "chosen")
    records[winner] = chosen
    yield Finished(parameters, tuple(records), chosen, judges.name, None, reason, epochs)


def _train_alone(
    problem: Problem, winner: int, epochs: int, journal: Journal
) -> Generator[Report, None, NDArray[np.float64] | None]:
    """Train one model on every record, hold-out included, as it was trained among the others.

    Returns its parameters, or None where the job was asked to stop.
    """
    settings, stage = problem.settings, "alone"
    candidates = problem.candidates.take([winner])
    single = make_models(
        settings, candidates, problem.loss, problem.survey.feature_dim, problem.rows.dtype, np.array([winner])
    )
    first, resume = 0, journal.resumed(stage)
    if resume is not None:
        single.restore({**resume, "alive": np.array([0])}, candidates)
        first = int(resume["epochs"])
    for epoch in range(first, epochs):
        losses, _ = single.run_epoch(shuffled_minibatches(problem.rows, settings.mini_batch_size, epoch))
        if problem.rows.stopping():
            return None
        journal.note(stage, lambda done=epoch + 1: {**single.state(), "epochs": np.array(done)})  # type: ignore[misc]
        yield PolishReport(stage, epoch + 1, epochs, float(losses[0]), journal.state)
    return single.parameters.astype(np.float64)
