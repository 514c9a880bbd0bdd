"""The second-order finish of `best`: a path of L2 strengths around the winner, judged, then refitted on all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from algorithms.linear_learner.candidates import Candidates
from algorithms.linear_learner.hold_out import Judges
from algorithms.linear_learner.losses import Floats
from algorithms.linear_learner.objective import Objective, raw_scores
from algorithms.linear_learner.polish import Polished, polish
from algorithms.linear_learner.problem import Problem, evaluation_blocks
from algorithms.linear_learner.reports import PolishReport, Report
from algorithms.linear_learner.robust import RefitStart, RobustFinish, is_wanted, try_robust
from algorithms.linear_learner.scoring import ScoreSample, as_float32, choices, link, mean_losses

# L2 strengths that are tried, relative to the best of the parallel models; and without any lead.
AROUND = (0.15, 0.4, 1.0, 2.5)
WIDE = 20_000  # with more features the parallel models are these strengths, see `training_best`
WIDE_LADDER = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
LADDER = tuple(10.0 ** (power / 2) for power in range(-12, 3))
PATH_PASSES, REFIT_PASSES = 8, 20
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-10}


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
    robust: RobustFinish | None


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
    losses, criteria, raw = _judge(problem, judges, objective, state, len(path))
    winner = _pick(problem, losses, criteria, raw)
    per_model = len(folds) * objective.outputs
    parameters = state.parameters[:, winner * per_model : winner * per_model + objective.outputs]
    passes, converged = state.passes, bool(state.converged[winner * len(folds)])
    left = None if budget is None else budget - passes
    everything = _objective(problem, judges, _for_all(problem, path.take([winner]), judges), np.array([-1]))
    if not problem.rows.stopping() and (left is None or left > 0) and not alone:
        refit_limit = REFIT_PASSES * (5 if objective.rows.dtype is np.float64 else 1)
        refit_limit = refit_limit if left is None else min(refit_limit, left)
        tolerance = TOLERANCE[objective.rows.dtype]
        for step in polish(everything, parameters, refit_limit, tolerance, state.curvature):
            yield PolishReport("refit", step.passes, refit_limit, float(step.evaluation.loss[0]))
            parameters, converged, refit_passes = step.parameters, bool(step.converged[0]), step.passes
        passes += refit_passes
    calibration = None if raw is None else _column(raw, winner)
    robust: RobustFinish | None = None
    if calibration is not None and budget is None and is_wanted(problem.settings) and not problem.rows.stopping():
        own = np.arange(winner * len(folds), (winner + 1) * len(folds))
        steps = try_robust(
            _objective(problem, judges, objective.candidates.take(own), objective.left_out[own]),
            replace(state, parameters=state.parameters[:, own]),
            calibration,
            partial(_raw_scores, problem, judges),
            problem.settings,
            RefitStart(everything, parameters),
        )
        for report in steps:
            if isinstance(report, RobustFinish):
                robust = report
            else:
                yield report
        assert robust is not None
        passes += robust.passes
        if robust.won:
            parameters, calibration = robust.parameters, robust.sample
    yield Refined(
        parameters,
        path,
        winner,
        state.evaluation.loss.reshape(len(path), -1).mean(axis=1),
        losses,
        criteria,
        None if calibration is None else _linked(calibration, problem.settings.resolved_loss),
        passes,
        converged,
        robust,
    )


def _for_all(problem: Problem, winner: Candidates, judges: Judges) -> Candidates:
    """Return the winner for training on all records: an L2 that was found shrinks as the records grow.

    L2 is a normal prior of the weights; next to a mean over n records its strength is that of the prior over n.
    """
    fixed = judges.folds == (-1,) or problem.settings.is_set("wd")
    seen = 1 if fixed else 1 - 1 / judges.rows.folds
    return winner.with_values(wd=winner.wd * seen)


def _objective(problem: Problem, judges: Judges, candidates: Candidates, left_out: NDArray[np.int64]) -> Objective:
    settings = problem.settings
    rows = judges.rows if (left_out >= 0).any() else replace(judges.rows, folds=0)
    return Objective(rows, problem.loss, candidates, left_out, settings.num_outputs, settings.use_bias)


def _path(problem: Problem, judges: Judges, lead: Candidates) -> Candidates:
    settings = problem.settings
    alone = settings.num_models == 1 or judges.name.startswith("train")
    strengths = lead.wd
    if not settings.is_set("wd") and judges.name.startswith("train") and settings.num_models != 1:
        # nothing can tell strengths apart: a standard normal prior of the normalised weights
        strengths = np.array([1 / problem.survey.total_weight])
    if not settings.is_set("wd") and not alone:
        if len(judges.folds) > 4:
            strengths = np.array(LADDER)
        elif problem.survey.feature_dim > WIDE:
            strengths = np.array(WIDE_LADDER)
        else:
            strengths = np.maximum(lead.wd[0], 1e-6) * np.array(AROUND)
    weights = np.unique(problem.candidates.positive_example_weight) if not alone else lead.positive_example_weight
    repeated = lead.take(np.zeros(len(strengths) * len(weights), np.intp))
    return repeated.with_values(
        wd=np.tile(strengths, len(weights)),
        positive_example_weight=np.repeat(weights, len(strengths)),
    )


def _judge(
    problem: Problem, judges: Judges, objective: Objective, state: Polished, count: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], ScoreSample | None]:
    """Return each strength's loss and criterion on the judging records, and the raw scores behind them."""
    settings = problem.settings
    nothing = np.full(count, np.nan)
    if judges.name.startswith("train"):
        return state.evaluation.loss, nothing, None
    if judges.folds == (-1,):
        assert judges.records is not None
        raw = problem.raw_parameters(state.parameters)
        blocks = evaluation_blocks(judges.records)
        losses = mean_losses(blocks, problem.raw_loss, raw, objective.candidates, objective.outputs)
    else:
        losses = np.nanmean(state.evaluation.held_out_loss.reshape(count, -1), axis=1)
    if not settings.is_binary:
        return losses, nothing, None
    sample = _raw_scores(problem, judges, objective, state.parameters, count)
    linked = _linked(sample, settings.resolved_loss)
    return losses, np.array([choice.value for choice in choices(linked, settings)]), sample


def _raw_scores(
    problem: Problem, judges: Judges, objective: Objective, parameters: NDArray[np.float64], count: int
) -> ScoreSample:
    """Score every judging record by the models that did not see it; raw scores of `count` models."""
    sample = ScoreSample(16_000_000 // (count + 2))
    if judges.folds == (-1,):
        assert judges.records is not None
        raw_units = problem.raw_parameters(parameters)
        for block in evaluation_blocks(judges.records):
            scores = as_float32(raw_scores(block, raw_units, 1))
            sample.update(scores, block.labels[:, 0], block.sample_weights)
        return sample
    for block, raw in objective.scores(parameters):
        assert block.folds is not None
        for position, fold in enumerate(judges.folds):
            inside = block.folds == fold
            if inside.any():
                weights = None if block.sample_weights is None else block.sample_weights[inside]
                scores = as_float32(raw[inside][:, position :: len(judges.folds)])
                sample.update(scores, block.labels[inside, 0], weights)
    return sample


def _linked(sample: ScoreSample, loss: str) -> ScoreSample:
    raw, labels, weights = sample.arrays()
    result = ScoreSample(len(labels))
    result.update(as_float32(link(raw, loss)), labels, weights)
    return result


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
