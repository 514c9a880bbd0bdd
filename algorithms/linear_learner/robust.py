"""A finish for those who asked for accuracy: generalised cross entropy from the logistic optimum, recalibrated.

Logistic loss lets a few records far on the wrong side steer the plane. Generalised cross entropy bounds what one
record can cost, so it is closer to the count of errors; it is not convex, which is why it starts at the logistic
optimum and is kept only where left-out records are labelled better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.journal import Journal
from eigenline.algorithms.linear_learner.losses import Floats, Logistic
from eigenline.algorithms.linear_learner.objective import Objective
from eigenline.algorithms.linear_learner.polish import Polished, polish_stage
from eigenline.algorithms.linear_learner.reports import Report
from eigenline.algorithms.linear_learner.scoring import ScoreSample, link
from eigenline.algorithms.linear_learner.selection import choose_threshold, threshold_curve
from eigenline.algorithms.linear_learner.settings import Settings

# Takes raw scores of left-out records: (objective, parameters, number of models) -> sample, each record scored by
# the columns that did not see it.
SampleScores: TypeAlias = Callable[[Objective, NDArray[np.float64], int], ScoreSample]
POWER = 0.7
STRENGTHS = (1.0, 1 / 3)  # of L2, relative to the logistic winner's
FEWEST_JUDGES = 1000  # with fewer left-out records, luck decides between two good models: the convex one stays
PASSES, REFIT_PASSES = 7, 8
TOLERANCE = 3e-4


@dataclass(frozen=True)
class GeneralisedCrossEntropy:
    """``(1 - p^q) / q`` with p the probability of the record's own label; q -> 0 is the logistic loss.

    Gradient in the raw score: ``-p^q (1 - p)`` for label 1, ``p^q (1 - p)`` for label 0.

    Source: Zhang and Sabuncu (2018), "Generalized cross entropy loss", equation 6.
    """

    power: float = POWER
    objective_name: ClassVar[str] = Logistic().objective_name
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        sign = 2 * labels - 1
        own = link(sign * raw, "logistic")
        power = own**self.power
        return (1 - power) / self.power, -sign * power * (1 - own)


@dataclass(frozen=True)
class Calibration:
    """The line ``slope * f + intercept`` that makes raw scores log odds."""

    slope: float = 1.0
    intercept: float = 0.0

    def apply(self, raw: Floats) -> Floats:
        """Return calibrated raw scores."""
        return np.asarray(self.slope * raw + self.intercept, raw.dtype)


@dataclass(frozen=True, eq=False)
class RobustFinish:
    """What was tried: per strength the criterion and the calibration; `parameters` of the best, if it won."""

    candidates: HyperparameterGrid
    criteria: NDArray[np.float64]
    losses: NDArray[np.float64]
    logistic_criterion: float
    winner: int
    won: bool
    parameters: NDArray[np.float64]
    sample: ScoreSample
    passes: int


def is_wanted(settings: Settings, judged: ScoreSample) -> bool:
    """Whether labels are to be right, not probabilities, the loss is left to us, and enough records can judge."""
    criterion = settings.binary_classifier_model_selection_criteria
    free = settings.is_binary and not settings.is_set("loss")
    return free and criterion in ("accuracy", "f_beta") and len(judged) >= FEWEST_JUDGES


def fit_calibration(
    raw: NDArray[np.float64], labels: Floats, weights: Floats, positive_weight: float
) -> Calibration:
    """Fit slope and intercept by Newton's method under the user's loss.

    Labels are softened to ``(n + 1) / (n + 2)`` and ``1 / (n + 2)``, so that separable scores have a finite
    slope. Source: Platt (1999), section 2.2; Lin, Lin and Weng (2007).
    """
    positives, negatives = float(weights @ labels), float(weights @ (1 - labels))
    if positives == 0 or negatives == 0:
        return Calibration()
    targets = np.where(labels > 0, (positives + 1) / (positives + 2), 1 / (negatives + 2))
    design = np.stack([raw, np.ones_like(raw)], axis=1)
    weight = weights.astype(np.float64) * (1 + labels * (positive_weight - 1))
    line = np.array([1.0, 0.0])
    for _ in range(30):
        chance = link(design @ line, "logistic")
        gradient = design.T @ (weight * (chance - targets))
        hessian = design.T @ (design * (weight * chance * (1 - chance))[:, None])
        step = np.linalg.solve(hessian + (1e-9 * np.trace(hessian) + 1e-300) * np.eye(2), gradient)
        line = line - step * min(1.0, 2.0 / max(float(np.abs(step).max()), 1e-300))
        if np.abs(step).max() < 1e-10:
            break
    usable = np.isfinite(line).all() and line[0] > 0
    return Calibration(float(line[0]), float(line[1])) if usable else Calibration()


def try_robust(
    objective: Objective,
    state: Polished,
    logistic: ScoreSample,
    sampled: SampleScores,
    settings: Settings,
    refit: RefitStart,
    journal: Journal,
) -> Iterator[Report | RobustFinish]:
    """Descend from the logistic winner's columns, compare on the left-out records, and refit the better one.

    The last thing yielded is the outcome; there is none where the job was asked to stop.

    Parameters
    ----------
    objective, state
        The logistic winner's columns only (one per fold), and where they stand.
    logistic
        Its raw scores of the left-out records.
    sampled
        Takes such scores of other columns.
    refit
        Objective over all records, and the winner's refitted parameters.
    journal
        Where the descents leave their states, and find them in a resumed job.
    """
    columns = len(objective.candidates)
    scales = (1.0,) if settings.is_set("wd") else STRENGTHS
    repeated = np.tile(np.arange(columns), len(scales))
    strengths = np.repeat(scales, columns)
    candidates = objective.candidates.take(repeated)
    candidates = candidates.with_values(wd=candidates.wd * strengths)
    robust = replace(
        objective,
        loss=GeneralisedCrossEntropy(),
        candidates=candidates,
        left_out=objective.left_out[repeated],
    )
    begin = state.parameters[:, repeated]
    most = settings.passes(PASSES)
    end = yield from polish_stage("robust", robust, begin, most, TOLERANCE, state.curvature, journal)
    if end is None or objective.rows.stopping():
        return
    sample = sampled(robust, end.parameters, len(scales))
    if objective.rows.stopping():
        return  # the pass was perhaps cut short
    raw, labels, weights = sample.arrays()
    positive = float(candidates.positive_example_weight[0])
    judged = [_judge(column, labels, weights, positive, settings) for column in raw.T.astype(np.float64)]
    plain = _judge(logistic.arrays()[0][:, 0].astype(np.float64), labels, weights, positive, settings)
    criteria = np.array([found.criterion for found in judged])
    best = int(np.argmax(criteria))
    won = bool(criteria[best] > plain.criterion)
    calibration = judged[best].calibration
    parameters, passes = refit.parameters, end.passes
    if won:
        seen = float(refit.objective.candidates.wd[0])
        strength = refit.objective.candidates.with_values(wd=np.array([seen * scales[best]]))
        full = replace(refit.objective, loss=GeneralisedCrossEntropy(), candidates=strength)
        most = settings.passes(REFIT_PASSES)
        folds = slice(best * columns, (best + 1) * columns)
        start = end.parameters[:, folds].mean(axis=1, keepdims=True)
        steps = polish_stage("robust refit", full, start, most, TOLERANCE, state.curvature, journal)
        final = yield from steps
        if final is None or objective.rows.stopping():
            return
        parameters, passes = final.parameters * calibration.slope, passes + final.passes
        parameters[-1] += calibration.intercept
    single = ScoreSample(len(labels))
    single.update(calibration.apply(raw[:, [best]]), labels, weights)
    losses = np.array([found.loss for found in judged])
    paths = candidates.take(np.arange(0, len(repeated), columns))
    yield RobustFinish(paths, criteria, losses, plain.criterion, best, won, parameters, single, passes)


@dataclass(frozen=True, eq=False)
class RefitStart:
    """The objective over all records, and where its descent starts."""

    objective: Objective
    parameters: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Judgement:
    criterion: float
    loss: float
    calibration: Calibration


def _judge(
    raw: NDArray[np.float64], labels: Floats, weights: Floats, positive_weight: float, settings: Settings
) -> _Judgement:
    calibration = fit_calibration(raw, labels, weights, positive_weight)
    calibrated = calibration.apply(raw)
    scores = link(calibrated, "logistic").astype(np.float32)
    choice = choose_threshold(threshold_curve(scores, labels, weights), settings, 0.5)
    value, _ = Logistic().value_and_gradient(calibrated[:, None], labels[:, None])
    weight = weights * (1 + labels * (positive_weight - 1))
    loss = float((value[:, 0] * weight).sum() / weights.sum())
    return _Judgement(choice.value, loss, calibration)
