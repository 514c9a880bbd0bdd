"""The second-order finish of `best`: a path of L2 strengths around the winner, judged, then refitted on all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner.candidates import Candidates
from algorithms.linear_learner.hold_out import Judges
from algorithms.linear_learner.losses import Floats
from algorithms.linear_learner.objective import Objective
from algorithms.linear_learner.polish import Polished, polish
from algorithms.linear_learner.problem import Problem
from algorithms.linear_learner.reports import PolishReport, Report
from algorithms.linear_learner.scoring import ScoreSample, as_float32, binary_sample, choices, link

# L2 strengths that are tried, relative to the best of the parallel models; and without any lead.
AROUND = (0.15, 0.4, 1.0, 2.5)
LADDER = tuple(10.0 ** (power / 2) for power in range(-12, 3))
PATH_PASSES, REFIT_PASSES = 10, 20
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-8}


@dataclass(frozen=True, eq=False)
class Refined:
    """The outcome: parameters of one model, who was compared and how, and honest scores for the threshold."""

    parameters: Floats
    candidates: Candidates
    winner: int
    train_losses: NDArray[np.float64]
    losses: NDArray[np.float64]
    criteria: NDArray[np.float64]
    calibration: ScoreSample | None
    passes: int
    converged: bool


def refine(
    problem: Problem, judges: Judges, start: Floats, lead: Candidates, budget: int | None
) -> Iterator[Report | Refined]:
    """Descend all strengths together from `start`, judge them, and refit the best on every record.

    Parameters
    ----------
    start
        Parameters (feature_dim + 1, outputs) of the best parallel model.
    lead
        Its hyperparameters (one model).
    budget
        Most passes over the training data; None for as many as it takes.
    """
    path = _path(problem, judges, lead)
    folds = np.array(judges.folds)
    columns = path.take(np.repeat(np.arange(len(path)), len(folds)))
    objective = _objective(problem, judges, columns, np.tile(folds, len(path)))
    begin = np.tile(start.astype(np.float64), (1, len(columns)))
    alone = len(path) == 1 and judges.folds == (-1,)
    limit = REFIT_PASSES * 5 if alone else PATH_PASSES * (4 if objective.rows.dtype is np.float64 else 1)
    if budget is not None:
        limit = min(limit, budget if alone or judges.folds == (-1,) else max(1, budget // 2))
    state: Polished | None = None
    for state in polish(objective, begin, limit, TOLERANCE[objective.rows.dtype]):
        best = float(np.nanmin(state.evaluation.loss))
        yield PolishReport("path", state.passes, limit, best)
    assert state is not None
    losses, criteria, sample = _judge(problem, judges, objective, state, len(path))
    winner = _pick(problem, losses, criteria, sample)
    train_losses = state.evaluation.loss.reshape(len(path), -1).mean(axis=1)
    outputs = objective.outputs
    first = winner * len(folds) * outputs
    parameters = state.parameters[:, first : first + outputs]
    passes, converged = state.passes, bool(state.converged[winner * len(folds)])
    refit_budget = None if budget is None else budget - passes
    if not problem.rows.stopping() and (refit_budget is None or refit_budget > 0) and not alone:
        for step in _refit(problem, judges, parameters, _for_all(path.take([winner]), judges), refit_budget, state):
            yield PolishReport("refit", step.passes, REFIT_PASSES, float(step.evaluation.loss[0]))
        parameters, converged = step.parameters, bool(step.converged[0])
        passes += step.passes
    calibration = None if sample is None else _column(sample, winner)
    yield Refined(parameters, path, winner, train_losses, losses, criteria, calibration, passes, converged)


def _for_all(winner: Candidates, judges: Judges) -> Candidates:
    """Return the winner for training on all records: its L2 shrinks as the number of records grows.

    L2 is a normal prior of the weights; next to a mean over n records its strength is that of the prior over n.
    """
    seen = 1 if judges.folds == (-1,) else 1 - 1 / judges.rows.folds
    return winner.with_values(wd=winner.wd * seen)


def _refit(
    problem: Problem,
    judges: Judges,
    parameters: Floats,
    winner: Candidates,
    budget: int | None,
    state: Polished,
) -> Iterator[Polished]:
    objective = _objective(problem, judges, winner, np.array([-1]))
    limit = REFIT_PASSES * (5 if objective.rows.dtype is np.float64 else 1)
    limit = limit if budget is None else min(limit, budget)
    return polish(
        objective, parameters.astype(np.float64), limit, TOLERANCE[objective.rows.dtype], state.curvature
    )


def _objective(problem: Problem, judges: Judges, candidates: Candidates, left_out: NDArray[np.int64]) -> Objective:
    settings = problem.settings
    rows = judges.rows if (left_out >= 0).any() else replace(judges.rows, folds=0)
    return Objective(rows, problem.loss, candidates, left_out, settings.num_outputs, settings.use_bias)


def _path(problem: Problem, judges: Judges, lead: Candidates) -> Candidates:
    settings = problem.settings
    alone = settings.num_models == 1 or judges.name.startswith("train")
    strengths = lead.wd
    if not settings.is_set("wd") and not alone:
        crossed = len(judges.folds) > 4
        strengths = np.array(LADDER) if crossed else np.maximum(lead.wd[0], 1e-6) * np.array(AROUND)
    weights = np.unique(problem.candidates.positive_example_weight) if not alone else lead.positive_example_weight
    repeated = lead.take(np.zeros(len(strengths) * len(weights), np.intp))
    return repeated.with_values(
        wd=np.tile(strengths, len(weights)),
        positive_example_weight=np.repeat(weights, len(strengths)),
    )


def _judge(
    problem: Problem, judges: Judges, objective: Objective, state: Polished, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], ScoreSample | None]:
    """Return each strength's loss and criterion on the judging records, and the scores behind them."""
    settings = problem.settings
    nothing = np.full(count, np.nan)
    sample = None
    if judges.records is not None and not isinstance(judges.records, list):
        from algorithms.linear_learner.scoring import mean_losses

        raw = problem.raw_parameters(state.parameters)
        columns = objective.candidates
        losses = mean_losses(judges.records.blocks(), problem.raw_loss, raw, columns, objective.outputs)
        if settings.is_binary:
            sample = binary_sample(judges.records.blocks(), raw, settings, count)
    elif judges.folds == (-1,):
        return state.evaluation.loss, nothing, None
    else:
        losses = np.nanmean(state.evaluation.held_out_loss.reshape(count, -1), axis=1)
        if settings.is_binary:
            sample = _out_of_fold_scores(problem, judges, objective, state, count)
    criteria = nothing if sample is None else np.array([choice.value for choice in choices(sample, settings)])
    return losses, criteria, sample


def _out_of_fold_scores(
    problem: Problem, judges: Judges, objective: Objective, state: Polished, count: int
) -> ScoreSample:
    """Score every left-out record by the models that did not see it."""
    sample = ScoreSample(64_000_000 // (count + 2))
    for block, raw in objective.scores(state.parameters):
        assert block.folds is not None
        for position, fold in enumerate(judges.folds):
            inside = block.folds == fold
            if inside.any():
                scores = link(raw[inside][:, position :: len(judges.folds)], problem.settings.resolved_loss)
                weights = None if block.sample_weights is None else block.sample_weights[inside]
                sample.update(as_float32(scores), block.labels[inside, 0], weights)
    return sample


def _pick(
    problem: Problem,
    losses: NDArray[np.float64],
    criteria: NDArray[np.float64],
    sample: ScoreSample | None,
) -> int:
    """Return the model with the lowest loss among those whose criterion is as good as the best one's.

    Chosen: within half a standard error of the best count of errors the criterion cannot tell models apart;
    the loss can. Losses under different weights of the positives do not compare, so there the criterion
    alone decides.
    """
    finite = np.where(np.isfinite(losses), losses, np.inf)
    if sample is None or problem.settings.binary_classifier_model_selection_criteria == "loss_function":
        return int(np.argmin(finite))
    if len(np.unique(problem.candidates.positive_example_weight)) > 1:
        return int(np.argmax(np.where(np.isfinite(losses), criteria, -np.inf)))
    count = len(sample.arrays()[1])
    best = float(np.max(criteria[np.isfinite(finite)]))
    margin = 0.5 * np.sqrt(max((1 - best) * count, 1.0)) / count
    return int(np.argmin(np.where(criteria >= best - margin, finite, np.inf)))


def _column(sample: ScoreSample, model: int) -> ScoreSample:
    scores, labels, weights = sample.arrays()
    single = ScoreSample(len(labels))
    single.update(scores[:, [model]], labels, weights)
    return single
