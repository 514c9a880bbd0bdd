"""Second-order descent of many models side by side: L-BFGS, OWL-QN where there is L1, corners rounded ever less.

Every pass evaluates all models that have not converged, each at its own trial point. A model whose trial does not
descend retries with a shorter step in the next pass, while the others go on; so m models cost one model's passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.checkpoint import Checkpoint
from eigenline.algorithms.linear_learner.losses import Floats, Loss, error_of, smoothed
from eigenline.algorithms.linear_learner.objective import Evaluation, Objective
from eigenline.algorithms.linear_learner.preconditioner import Curvature, estimate_curvature
from eigenline.algorithms.linear_learner.reports import PassReport, State

MEMORY: Final = 10  # pairs of steps and gradient changes that stand for the Hessian
SUFFICIENT: Final = 1e-4  # share of the predicted descent that a step has to reach (Armijo)
SHORTEN: Final = 0.3
# Widths, in mean errors, over which the corners of non-smooth losses are rounded, one round after the other.
SMOOTHING: Final = (0.3, 0.03, 0.003)


@dataclass(frozen=True, eq=False)
class Point:
    """Where the models stand after some passes.

    Attributes
    ----------
    parameters
        Shape (feature_dim + 1, models * outputs), normalised units.
    evaluation
        What was measured there.
    passes, converged
        Passes made; whether each model has converged.
    curvature
        The preconditioner, for a later descent nearby.
    """

    parameters: NDArray[np.float64]
    evaluation: Evaluation
    passes: int
    converged: NDArray[np.bool_]
    curvature: Curvature | None


def descend(
    objective: Objective,
    start: NDArray[np.float64],
    *,
    stage: str,
    passes: int,
    tolerance: float,
    curvature: Curvature | None,
    checkpoint: Checkpoint,
    observe: Callable[[Point], None] = lambda point: None,
) -> Generator[PassReport, None, Point]:
    """Descend from `start`, yielding after every pass; return where that ended.

    Parameters
    ----------
    stage
        The stage's name in checkpoints; in reports without what follows a full stop.
    passes
        At most so many.
    tolerance
        A model has converged when no entry of its gradient is larger than this, relative to its loss.
    curvature
        An estimate of the Hessian, where there already is one.
    checkpoint
        Where the stage's state is kept, and found in a resumed job.
    observe
        Receives every point that was reached.

    Raises
    ------
    Stopped
        Where the job was asked to stop; what was observed last is the best so far.

    Notes
    -----
    Losses with corners are rounded first over 30 %, then 3 % and 0.3 % of the mean error, which leaves at most
    0.15 % between the rounded and the true objective.
    """
    kinked = smoothed(objective.loss, 1.0) != objective.loss
    widths = SMOOTHING if kinked else (0.0,)
    used, first = 0, 0
    point: Point | None = None
    resume = checkpoint.resumed(stage)
    if resume is not None:
        used, first = int(resume["used"]), int(resume["round"])
    for number in range(first, len(widths)):
        if resume is not None and number == first:
            width = float(resume["width"])
            descent = Descent(objective, len(start), tolerance, None)
            descent.restore(resume)
        else:
            evaluation = objective.evaluate(start) if point is None else point.evaluation
            middle = float(np.nanmedian(evaluation.loss)) or 1.0
            width = widths[number] * error_of(objective.loss, middle)
            descent = _begun(objective, start, evaluation, tolerance, width, curvature)
        left = passes - used
        allowed = left if number + 1 == len(widths) else left // 2
        loss = smoothed(objective.loss, width) if width else objective.loss
        while True:
            start = descent.point.reshape(start.shape)
            point = Point(start, descent.evaluation, used + descent.passes, descent.done, descent.curvature)
            observe(point)
            place = {"round": number, "used": used, "width": width}
            checkpoint.note(stage, lambda at=place, by=descent: _state(by, at))  # type: ignore[misc]
            yield PassReport(stage.split(".")[0], point.passes, passes, point.evaluation.loss, checkpoint.state)
            if descent.passes >= allowed or descent.done.all():
                break
            descent.step(objective, loss)
        used += descent.passes
    checkpoint.close()
    assert point is not None
    return point


def _begun(
    objective: Objective,
    start: NDArray[np.float64],
    evaluation: Evaluation,
    tolerance: float,
    width: float,
    curvature: Curvature | None,
) -> Descent:
    """Return a descent at `start`, where `evaluation` is that of the loss without rounding."""
    loss = objective.loss
    if width:
        loss, curvature = smoothed(loss, width), None
        evaluation = objective.evaluate(start, loss)
    if curvature is None:
        curvature = estimate_curvature(objective, start[:, : objective.outputs], loss)
    descent = Descent(objective, len(start), tolerance, curvature)
    descent.begin(start, evaluation)
    return descent


def _state(descent: Descent, place: dict[str, float]) -> State:
    return {**descent.state(), **{name: np.array(value) for name, value in place.items()}}


class Descent:
    """Where each model stands, its pairs, and the step it tries next. Arrays are (rows, models, outputs)."""

    def __init__(self, objective: Objective, rows: int, tolerance: float, curvature: Curvature | None) -> None:
        models = len(objective)
        self.curvature = curvature
        self.wd = objective.grid.wd
        self.l1 = objective.grid.l1[None, :, None]
        self.has_l1 = bool(objective.grid.l1.any())
        self.shape = (rows, models, objective.outputs)
        self.tolerance = tolerance
        self.noise = 1e-15 if objective.preparation.dtype is np.float64 else 3e-7
        wide = int(np.prod(self.shape)) > 1_000_000
        self.kept = np.float32 if wide else np.float64  # the pairs of wide models are most of the memory
        self.pairs: deque[tuple[Floats, Floats, NDArray[np.float64]]] = deque(
            maxlen=MEMORY // 2 if wide else MEMORY
        )
        self.passes = 0
        self.length = np.ones(models)
        self.scale = np.ones(models)
        self.stalled = np.zeros(models, np.int64)
        self.steepness = np.full(models, np.inf)  # the smallest so far of each model's largest slope

    def begin(self, start: NDArray[np.float64], evaluation: Evaluation) -> None:
        """Start at `start`, shape (rows, models * outputs), with what a pass measured there."""
        self.passes = 1
        self.evaluation = evaluation
        self.point = start.reshape(self.shape).copy()
        self.gradient = evaluation.gradient.reshape(self.shape)
        self.value = evaluation.smooth + self._penalty(self.point, slice(None))
        self.slope = self._pseudo_gradient()
        if self.curvature is None:
            self.scale = 1 / np.maximum(np.sqrt(_dot(self.slope, self.slope)), 1.0)
        self.direction = -self._newton(self.slope)
        self.done = self._converged()

    def step(self, objective: Objective, loss: Loss) -> None:
        """Make one pass: every model that has not converged tries its step, accepts or refuses it."""
        active = np.flatnonzero(~self.done)
        everything = len(active) == len(self.done)
        trial = self._trial(active)
        part = objective if everything else objective.take(active)
        found = part.evaluate(trial.reshape(len(trial), -1), loss)
        self._accept(active, trial, found)

    def _trial(self, active: NDArray[np.intp]) -> NDArray[np.float64]:
        point = self.point[:, active]
        trial = point + self.length[None, active, None] * self.direction[:, active]
        if self.has_l1:
            orthant = np.where(point != 0, np.sign(point), -np.sign(self.slope[:, active]))
            crossed = (np.sign(trial) != orthant) & (self.l1[:, active] > 0)
            crossed[-1] = False
            trial[crossed] = 0
        return np.asarray(trial)

    def _accept(self, active: NDArray[np.intp], trial: NDArray[np.float64], found: Evaluation) -> None:
        self.passes += 1
        value = found.smooth + self._penalty(trial, active)
        gradient = found.gradient.reshape(trial.shape)
        step = trial - self.point[:, active]
        before = self.value[active]
        with np.errstate(invalid="ignore", over="ignore"):
            promised = SUFFICIENT * _dot(self.slope[:, active], step) + self.noise * np.abs(before)
            good = value <= before + promised
            gain = before - value
        taken = active[good]
        change = gradient - self.gradient[:, active]
        self._remember(active, np.where(good[None, :, None], step, 0), np.where(good[None, :, None], change, 0))
        self.evaluation = _merged(self.evaluation, found, taken, good, self.shape[2])
        self.gradient = self.evaluation.gradient.reshape(self.shape)
        self.point[:, taken] = trial[:, good]
        self.value[taken] = value[good]
        self.length[active] *= SHORTEN
        self.length[taken] = 1.0
        self.slope = self._pseudo_gradient()
        # at the end only the gradient can tell progress from rounding
        steepness = np.abs(self.slope).max(axis=(0, 2))
        progress = np.ones(len(self.done), np.bool_)
        progress[taken] = gain[good] > 4 * self.noise * np.abs(self.value[taken])
        progress |= steepness < 0.9 * self.steepness
        self.steepness = np.minimum(self.steepness, steepness)
        self.stalled[taken] = np.where(progress[taken], 0, self.stalled[taken] + 1)
        self.done = self.done | self._converged() | (self.stalled >= 5) | (self.length < 1e-6)
        moving = taken[~self.done[taken]]
        if len(moving):
            self.direction[:, moving] = self._direction(moving)

    def state(self) -> State:
        """Return everything that the next step depends on, as arrays."""
        known: dict[str, Any] = {
            "passes": np.array(self.passes),
            "point": self.point.copy(),
            "value": self.value.copy(),
            "direction": self.direction.copy(),
            "length": self.length.copy(),
            "scale": self.scale.copy(),
            "stalled": self.stalled.copy(),
            "steepness": self.steepness.copy(),
            "done": self.done.copy(),
            "loss": self.evaluation.loss.copy(),
            "held_out_loss": self.evaluation.held_out_loss.copy(),
            "smooth": self.evaluation.smooth.copy(),
            "gradient": self.evaluation.gradient.copy(),
        }
        if self.curvature is not None:
            known |= {"curvature_vectors": self.curvature.vectors, "curvature_values": self.curvature.values}
        if self.pairs:
            steps, changes, inverses = zip(*self.pairs, strict=True)
            known |= {"steps": np.stack(steps), "changes": np.stack(changes), "inverses": np.stack(inverses)}
        return known

    def restore(self, state: State) -> None:
        """Stand where `state` was taken."""
        self.passes = int(state["passes"])
        self.point, self.value = state["point"].copy(), state["value"].copy()
        self.length, self.scale = state["length"].copy(), state["scale"].copy()
        self.stalled, self.steepness = state["stalled"].copy(), state["steepness"].copy()
        self.direction, self.done = state["direction"].copy(), state["done"].copy()
        self.evaluation = Evaluation(
            state["loss"].copy(), state["held_out_loss"].copy(), state["smooth"].copy(), state["gradient"].copy()
        )
        self.gradient = self.evaluation.gradient.reshape(self.shape)
        self.slope = self._pseudo_gradient()
        if "curvature_values" in state:
            self.curvature = Curvature(state["curvature_vectors"], state["curvature_values"])
        if "steps" in state:
            self.pairs.extend(zip(state["steps"], state["changes"], state["inverses"], strict=True))

    def _remember(self, active: NDArray[np.intp], step: NDArray[np.float64], change: NDArray[np.float64]) -> None:
        with np.errstate(all="ignore"):
            product = _dot(step, change)
            squares = _dot(change, change)
            good = product > 1e-10 * squares
            if self.curvature is not None:  # the same ratio, in the metric of the curvature
                squares = _dot(change, self.curvature.solve(change, self.wd[active]))
            self.scale[active] = np.where(good, product / np.where(squares > 0, squares, 1), self.scale[active])
        kept = np.zeros((2, *self.shape), self.kept)
        kept[0][:, active], kept[1][:, active] = step, change
        inverse = np.zeros(len(self.done))
        inverse[active] = np.where(good, 1 / np.where(good, product, 1), 0)
        self.pairs.append((kept[0], kept[1], inverse))

    def _direction(self, models: NDArray[np.intp]) -> NDArray[np.float64]:
        """Return minus the inverse Hessian's estimate times the gradient, of some models.

        Source: Nocedal and Wright (2006), algorithm 7.4 (two loops); Andrew and Gao (2007) for L1.
        """
        slope = self.slope[:, models]
        vector = slope.copy()
        everything = len(models) == len(self.done)
        pairs = [
            (step, change, inverse) if everything else (step[:, models], change[:, models], inverse[models])
            for step, change, inverse in self.pairs
        ]
        factors = []
        for step, change, inverse in reversed(pairs):
            factor = inverse * _dot(step, vector)
            vector -= factor[None, :, None] * change
            factors.append(factor)
        vector = self._newton(vector, models)
        for (step, change, inverse), factor in zip(pairs, reversed(factors), strict=True):
            vector += (factor - inverse * _dot(change, vector))[None, :, None] * step
        if self.has_l1:
            vector = np.where((self.l1[:, models] > 0) & (vector * slope <= 0), 0, vector)
        uphill = _dot(vector, slope) <= 0
        vector = np.where(uphill[None, :, None], slope * self.scale[None, models, None], vector)
        return np.negative(vector)

    def _newton(self, vector: NDArray[np.float64], models: Any = slice(None)) -> NDArray[np.float64]:
        """Apply the first guess of the inverse Hessian: the estimated curvature, or a multiple of the identity."""
        if self.curvature is not None:
            vector = self.curvature.solve(vector, self.wd[models])
        return vector * self.scale[None, models, None]

    def _pseudo_gradient(self) -> NDArray[np.float64]:
        """Return the steepest one-sided derivative of the objective with its L1 part."""
        if not self.has_l1:
            return self.gradient
        result = self.gradient.copy()
        weights, gradient = self.point[:-1], self.gradient[:-1]
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0)
        result[:-1] = np.where(weights != 0, gradient + self.l1 * np.sign(weights), at_zero)
        return result

    def _penalty(self, point: NDArray[np.float64], models: Any) -> NDArray[np.float64]:
        if not self.has_l1:
            return np.zeros(point.shape[1])
        return np.asarray((self.l1[:, models] * np.abs(point[:-1])).sum(axis=(0, 2)))

    def _converged(self) -> NDArray[np.bool_]:
        steepest = np.abs(self.slope).max(axis=(0, 2))
        return np.asarray(steepest <= self.tolerance * np.maximum(np.abs(self.value), 1e-3))


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("dmc,dmc->m", left, right, dtype=np.float64))


def _merged(
    old: Evaluation, new: Evaluation, taken: NDArray[np.intp], good: NDArray[np.bool_], outputs: int
) -> Evaluation:
    """Return what is known of all models, `taken` of them as newly measured."""
    loss, held_out, smooth = old.loss.copy(), old.held_out_loss.copy(), old.smooth.copy()
    loss[taken], held_out[taken], smooth[taken] = new.loss[good], new.held_out_loss[good], new.smooth[good]
    gradient = old.gradient.copy()
    width = len(gradient)
    gradient.reshape(width, -1, outputs)[:, taken] = new.gradient.reshape(width, -1, outputs)[:, good]
    return Evaluation(loss, held_out, smooth, gradient)
