"""Full passes over the records, each a step of every model: what the second-order finish is made of.

Every pass evaluates all models, each at its own trial point. A model whose trial does not descend retries with
a shorter step in the next pass, while the others go on; so m models cost one model's passes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.curvature import Curvature, estimate_curvature
from eigenline.algorithms.linear_learner.descent import Descent
from eigenline.algorithms.linear_learner.journal import Journal
from eigenline.algorithms.linear_learner.losses import softened
from eigenline.algorithms.linear_learner.objective import Evaluation, Objective
from eigenline.algorithms.linear_learner.reports import PolishReport, Report, State

# Widths, in mean losses, over which the kinks of non-smooth losses are rounded, one round after the other.
SMOOTHING = (0.3, 0.03, 0.003)


@dataclass(frozen=True, eq=False)
class Polished:
    """Parameters (feature_dim + 1, columns) after some passes, and what the last one measured.

    `state` returns the arrays from which `polish` goes on; it is for now, not for after the next pass.
    """

    parameters: NDArray[np.float64]
    evaluation: Evaluation
    passes: int
    converged: NDArray[np.bool_]
    curvature: Curvature | None
    state: Callable[[], State]


def polish_stage(
    name: str,
    objective: Objective,
    start: NDArray[np.float64],
    passes: int,
    tolerance: float,
    curvature: Curvature | None,
    journal: Journal,
) -> Generator[Report, None, Polished | None]:
    """Polish as a stage of the finish: pass by pass reported, and noted in the journal, from where that stands.

    Returns where it ended; None where the job was asked to stop before the first pass was done.
    """
    state: Polished | None = None
    for state in polish(objective, start, passes, tolerance, curvature, journal.resumed(name)):
        journal.note(name, state.state)
        loss = float(np.nanmin(state.evaluation.loss))
        yield PolishReport(name, state.passes, passes, loss, journal.state)
    if not objective.rows.stopping():
        journal.close()
    return state


@dataclass(frozen=True)
class _Round:
    """One round of rounding: its number, the passes before it, and the width (0 rounds nothing)."""

    number: int
    used: int
    width: float

    def allowed(self, passes: int, rounds: int) -> int:
        """Return how many of all `passes` this round may take: half of what is left, the last round all."""
        left = passes - self.used
        return left if self.number + 1 == rounds else left // 2


def polish(
    objective: Objective,
    parameters: NDArray[np.float64],
    passes: int,
    tolerance: float,
    curvature: Curvature | None = None,
    resume: State | None = None,
) -> Iterator[Polished]:
    """Descend from `parameters`, yielding the state after every pass; at most `passes` of them.

    Parameters
    ----------
    tolerance
        A model has converged when no entry of its gradient is larger than this, relative to the scale of
        its loss where that is above 1.
    curvature
        An estimate of the Hessian, where there already is one.
    resume
        A state of the same descent, to go on from; the first thing yielded then is where that stood.

    Notes
    -----
    Losses with kinks are rounded first over 30 %, then 3 % and 0.3 % of the mean loss, which leaves at most
    0.15 % between the rounded and the true objective. When the job is asked to stop, nothing more is yielded.
    """
    widths = SMOOTHING if softened(objective.loss, 1.0) != objective.loss else (0.0,)
    evaluation: Evaluation | None = None
    used, first = 0, 0
    if resume is not None:
        used, first = int(resume["used"]), int(resume["round"])
    else:
        evaluation = objective.evaluate(parameters)
    for number in range(first, len(widths)):
        if resume is not None and number == first:
            current = _Round(number, used, float(resume["width"]))
            descent = _descent(objective, len(parameters), tolerance, None)
            descent.restore(resume)
        else:
            if objective.rows.stopping():
                return
            assert evaluation is not None
            scale = float(np.nanmedian(evaluation.loss)) or 1.0
            current = _Round(number, used, widths[number] * scale if widths[number] else 0.0)
            descent = _begun(objective, parameters, evaluation, tolerance, current, curvature)
        allowed = current.allowed(passes, len(widths))
        for _ in _descend(objective, descent, allowed, current.width):
            parameters, evaluation = descent.point.reshape(parameters.shape), descent.evaluation
            yield _polished(descent, parameters, current)
        used += descent.passes


def _descent(objective: Objective, rows: int, tolerance: float, curvature: Curvature | None) -> Descent:
    return Descent(objective, (rows, len(objective.candidates), objective.outputs), tolerance, curvature)


def _begun(
    objective: Objective,
    start: NDArray[np.float64],
    evaluation: Evaluation,
    tolerance: float,
    current: _Round,
    curvature: Curvature | None,
) -> Descent:
    """Return a descent at `start`, where `evaluation` is that of the loss without rounding."""
    loss = objective.loss
    if current.width:
        loss, curvature = softened(loss, current.width), None
        evaluation = objective.evaluate(start, loss)
    if curvature is None:
        curvature = estimate_curvature(objective, start[:, : objective.outputs], loss)
    descent = _descent(objective, len(start), tolerance, curvature)
    descent.begin(start.reshape(descent.shape), evaluation)
    return descent


def _descend(objective: Objective, descent: Descent, passes: int, width: float) -> Iterator[None]:
    """Make up to `passes` passes, stopping for the caller after each, the first time before any."""
    loss = softened(objective.loss, width) if width else objective.loss
    while not objective.rows.stopping():
        yield
        if descent.passes >= passes or descent.done.all():
            return
        trial = descent.propose()
        found = objective.evaluate(trial.reshape(len(trial), -1), loss)
        if objective.rows.stopping():
            return
        descent.judge(trial, found)


def _polished(descent: Descent, parameters: NDArray[np.float64], current: _Round) -> Polished:
    def state() -> State:
        place = {"round": current.number, "used": current.used, "width": current.width}
        return {**descent.state(), **{name: np.array(value) for name, value in place.items()}}

    passes = current.used + descent.passes
    return Polished(parameters, descent.evaluation, passes, descent.done, descent.curvature, state)
