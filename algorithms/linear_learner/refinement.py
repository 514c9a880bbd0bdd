"""The second-order finish of `best`: a path of L2 strengths around the winner, judged, then refitted on all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.hold_out import Judges
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.journal import Journal
from eigenline.algorithms.linear_learner.judging import column_of, judge, linked, pick, sample_raw_scores
from eigenline.algorithms.linear_learner.losses import Floats
from eigenline.algorithms.linear_learner.objective import Objective
from eigenline.algorithms.linear_learner.polish import Polished, polish_stage
from eigenline.algorithms.linear_learner.problem import Problem
from eigenline.algorithms.linear_learner.reports import Report
from eigenline.algorithms.linear_learner.robust import RefitStart, RobustFinish, is_wanted, try_robust
from eigenline.algorithms.linear_learner.scoring import ScoreSample

# L2 strengths that are tried, relative to the best of the parallel models; and without any lead.
AROUND = (0.15, 0.4, 1.0, 2.5)
WIDE = 20_000  # with more features the parallel models are these strengths, see `training_best`
WIDE_LADDER = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
LADDER = tuple(10.0 ** (power / 2) for power in range(-12, 3))
PATH_PASSES, REFIT_PASSES = 8, 20
# In float64, so on small data, where passes cost next to nothing: so many times as many.
PATH_PATIENCE, REFIT_PATIENCE = 4, 5
WIDE_PATIENCE = (
    3  # from zero and without an estimate of the Hessian; on text, fewer passes chose badly among strengths
)
TOLERANCE = {np.float32: 3e-4, np.float64: 1e-10}


@dataclass(frozen=True, eq=False)
class Refined:
    """The outcome: parameters of one model, who was compared and how, and honest scores for the threshold.

    `judged` is False where the job was asked to stop before the strengths could be compared: then the
    parameters are those of the lowest training loss so far.
    """

    parameters: NDArray[np.float64]
    candidates: HyperparameterGrid
    winner: int
    train_losses: NDArray[np.float64]
    losses: NDArray[np.float64]
    criteria: NDArray[np.float64]
    calibration: ScoreSample | None
    passes: int
    converged: bool
    robust: RobustFinish | None = None
    judged: bool = True


def refine(
    problem: Problem, judges: Judges, start: Floats, lead: HyperparameterGrid, journal: Journal
) -> Iterator[Report | Refined]:
    """Descend all strengths together from `start`, judge them, and refit the best on every record.

    The last thing yielded is a `Refined`, unless the job was asked to stop before the first pass was done.

    Parameters
    ----------
    start
        Parameters (feature_dim + 1, outputs) of the best parallel model.
    lead
        Its hyperparameters (one model).
    journal
        Where each stage leaves its state, and finds it in a resumed job.
    """
    path = _path(problem, judges, lead)
    folds = np.array(judges.folds)
    columns = path.take(np.repeat(np.arange(len(path)), len(folds)))
    objective = _objective(problem, judges, columns, np.tile(folds, len(path)))
    begin = np.tile(start.astype(np.float64), (1, len(columns)))
    alone = len(path) == 1 and judges.folds == (-1,)
    most = REFIT_PASSES * REFIT_PATIENCE if alone else PATH_PASSES * _patience(problem, PATH_PATIENCE)
    tolerance = TOLERANCE[problem.rows.dtype]
    most = problem.settings.passes(most)
    state = yield from polish_stage("path", objective, begin, most, tolerance, None, journal)
    if state is None:
        return
    found = judge(problem, judges, objective, state, len(path)) if not problem.rows.stopping() else None
    if found is None or problem.rows.stopping():
        yield _unjudged(path, state, len(folds), objective.outputs)
        return
    losses, criteria, raw = found
    winner = pick(problem, losses, criteria, raw)
    own = np.arange(winner * len(folds), (winner + 1) * len(folds))
    columns_of_winner = slice(own[0] * objective.outputs, (own[-1] + 1) * objective.outputs)
    of_winner = state.parameters[:, columns_of_winner].reshape(len(start), len(folds), objective.outputs)
    refined = Refined(
        of_winner.mean(axis=1),  # nearer to the optimum of all records than any fold's own
        path,
        winner,
        _mean_of_folds(state, len(path)),
        losses,
        criteria,
        None if raw is None else linked(column_of(raw, winner), problem.settings.resolved_loss),
        state.passes,
        bool(state.converged[own[0]]),
    )
    everything = _objective(problem, judges, _for_all(problem, path.take([winner]), judges), np.array([-1]))
    if not alone:
        most = problem.settings.passes(REFIT_PASSES * _patience(problem, REFIT_PATIENCE))
        steps = polish_stage("refit", everything, refined.parameters, most, tolerance, state.curvature, journal)
        refit = yield from steps
        if refit is not None:
            refined = replace(
                refined,
                parameters=refit.parameters,
                converged=bool(refit.converged[0]),
                passes=state.passes + refit.passes,
            )
    if raw is not None and is_wanted(problem.settings, raw) and not problem.rows.stopping():
        robust_steps = try_robust(
            _objective(problem, judges, objective.candidates.take(own), objective.left_out[own]),
            replace(state, parameters=state.parameters[:, columns_of_winner]),
            column_of(raw, winner),
            partial(sample_raw_scores, problem, judges),
            problem.settings,
            RefitStart(everything, refined.parameters),
            journal,
        )
        for step in robust_steps:
            if isinstance(step, RobustFinish):
                refined = _with_robust(refined, step, problem.settings.resolved_loss)
            else:
                yield step
    yield refined


def _patience(problem: Problem, factor: int) -> int:
    if problem.rows.dtype is np.float64:
        return factor
    return WIDE_PATIENCE if problem.survey.feature_dim > WIDE else 1


def _mean_of_folds(state: Polished, count: int) -> NDArray[np.float64]:
    return np.asarray(state.evaluation.loss.reshape(count, -1).mean(axis=1))


def _unjudged(path: HyperparameterGrid, state: Polished, folds: int, outputs: int) -> Refined:
    losses = _mean_of_folds(state, len(path))
    winner = int(np.argmin(np.where(np.isfinite(losses), losses, np.inf)))
    first = winner * folds * outputs
    nothing = np.full(len(path), np.nan)
    parameters = state.parameters[:, first : first + outputs]
    return Refined(parameters, path, winner, losses, nothing, nothing, None, state.passes, False, judged=False)


def _with_robust(refined: Refined, robust: RobustFinish, loss: str) -> Refined:
    passes = refined.passes + robust.passes
    if not robust.won:
        return replace(refined, robust=robust, passes=passes)
    calibration = linked(robust.sample, loss)
    return replace(refined, robust=robust, passes=passes, parameters=robust.parameters, calibration=calibration)


def _for_all(problem: Problem, winner: HyperparameterGrid, judges: Judges) -> HyperparameterGrid:
    """Return the winner for training on all records: an L2 that was found shrinks as the records grow.

    L2 is a normal prior of the weights; next to a mean over n records its strength is that of the prior over n.
    """
    fixed = judges.folds == (-1,) or problem.settings.is_set("wd")
    seen = 1 if fixed else 1 - 1 / judges.rows.folds
    return winner.with_values(wd=winner.wd * seen)


def _objective(
    problem: Problem, judges: Judges, candidates: HyperparameterGrid, left_out: NDArray[np.int64]
) -> Objective:
    settings = problem.settings
    rows = judges.rows if (left_out >= 0).any() else replace(judges.rows, folds=0)
    threads = problem.threads
    return Objective(rows, problem.loss, candidates, left_out, settings.num_outputs, settings.use_bias, threads)


def _path(problem: Problem, judges: Judges, lead: HyperparameterGrid) -> HyperparameterGrid:
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
