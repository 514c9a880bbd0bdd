"""How the models of the second-order finish are compared: by losses, criteria and scores of the judges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.hold_out import Judges
from eigenline.algorithms.linear_learner.objective import Objective, raw_scores
from eigenline.algorithms.linear_learner.polish import Polished
from eigenline.algorithms.linear_learner.problem import Problem, evaluation_blocks
from eigenline.algorithms.linear_learner.scoring import ScoreSample, as_float32, choices, link, mean_losses


def judge(
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
    sample = sample_raw_scores(problem, judges, objective, state.parameters, count)
    if problem.rows.stopping():
        return losses, nothing, None  # the pass was perhaps cut short
    scores = linked(sample, settings.resolved_loss)
    return losses, np.array([choice.value for choice in choices(scores, settings)]), sample


def sample_raw_scores(
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


def linked(sample: ScoreSample, loss: str) -> ScoreSample:
    """Return the sample with raw scores turned into published ones."""
    raw, labels, weights = sample.arrays()
    result = ScoreSample(len(labels))
    result.update(as_float32(link(raw, loss)), labels, weights)
    return result


def pick(
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


def column_of(sample: ScoreSample, model: int) -> ScoreSample:
    """Return the sample with one model's scores."""
    scores, labels, weights = sample.arrays()
    single = ScoreSample(len(labels))
    single.update(scores[:, [model]], labels, weights)
    return single
