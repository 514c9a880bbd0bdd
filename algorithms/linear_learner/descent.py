"""Second-order descent of many models side by side: L-BFGS, and OWL-QN where there is L1."""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.curvature import Curvature
from eigenline.algorithms.linear_learner.losses import Floats
from eigenline.algorithms.linear_learner.objective import Evaluation, Objective
from eigenline.algorithms.linear_learner.reports import State

MEMORY = 10  # pairs of steps and gradient changes that stand for the Hessian
SUFFICIENT = 1e-4  # share of the predicted descent that a step has to reach (Armijo)
SHORTEN = 0.3
# What a checkpoint holds beside the pairs: fields of the descent, and of its last evaluation in their order there.
_KEPT = ("passes", "point", "value", "direction", "length", "scale", "stalled", "steepness", "done")
_MEASURED = ("loss", "held_out_loss", "smooth", "gradient")


class Descent:
    """Where each model stands, its pairs, and the step it tries next. Arrays are (rows, models, outputs)."""

    def __init__(
        self, objective: Objective, shape: tuple[int, int, int], tolerance: float, curvature: Curvature | None
    ) -> None:
        self.curvature = curvature
        self.wd = objective.candidates.wd
        self.l1 = objective.candidates.l1[None, :, None]
        self.has_l1 = bool(objective.candidates.l1.any())
        self.shape = shape
        self.tolerance = tolerance
        self.noise = 1e-15 if objective.rows.dtype is np.float64 else 3e-7
        wide = int(np.prod(shape)) > 1_000_000
        self.kept = np.float32 if wide else np.float64  # the pairs of wide models are most of the memory
        memory = MEMORY // 2 if wide else MEMORY
        self.pairs: deque[tuple[Floats, Floats, NDArray[np.float64]]] = deque(maxlen=memory)
        self.scale = np.ones(shape[1])
        self.stalled = np.zeros(shape[1], np.int64)
        self.steepness = np.full(shape[1], np.inf)  # the smallest so far of each model's largest slope

    def begin(self, point: NDArray[np.float64], evaluation: Evaluation) -> None:
        """Start at `point`, shape (rows, models, outputs), with what a pass measured there."""
        self.passes = 1
        self.evaluation = evaluation
        self.point = point.copy()
        self.gradient = evaluation.gradient.reshape(self.shape)
        self.value = evaluation.smooth + self._penalty(point)
        slope = self._pseudo_gradient()
        norm = np.sqrt(_dot(slope, slope))
        self.length = np.ones(self.shape[1])
        self.scale = np.ones(self.shape[1]) if self.curvature is not None else 1 / np.maximum(norm, 1.0)
        self.direction = -self._newton(slope)
        self.slope = slope
        self.done = self._converged(slope)

    def propose(self) -> NDArray[np.float64]:
        """Return the next trial point of every model; those that are done stay."""
        length = np.where(self.done, 0, self.length)[None, :, None]
        trial = self.point + length * self.direction
        if self.has_l1:
            orthant = np.where(self.point != 0, np.sign(self.point), -np.sign(self.slope))
            crossed = (np.sign(trial) != orthant) & (self.l1 > 0)
            crossed[-1] = False
            trial[crossed] = 0
        return trial

    def judge(self, trial: NDArray[np.float64], found: Evaluation) -> None:
        """Accept or refuse each model's trial, and lay out the next direction."""
        self.passes += 1
        value = found.smooth + self._penalty(trial)
        gradient = found.gradient.reshape(self.shape)
        step = trial - self.point
        slack = self.noise * np.abs(self.value)
        with np.errstate(invalid="ignore"):
            accepted = (value <= self.value + SUFFICIENT * _dot(self.slope, step) + slack) & ~self.done
        self.evaluation = _merged(self.evaluation, found, accepted, self.shape[2])
        gain = np.where(accepted, self.value - value, 0)
        mask = accepted[None, :, None]
        self._remember(np.where(mask, step, 0), np.where(mask, gradient - self.gradient, 0))
        self.point = np.where(mask, trial, self.point)
        self.gradient = np.where(mask, gradient, self.gradient)
        self.value = np.where(accepted, value, self.value)
        self.length = np.where(accepted, 1.0, self.length * SHORTEN)
        self.slope = self._pseudo_gradient()
        # at the end only the gradient can tell progress from rounding
        steepness = np.abs(self.slope).max(axis=(0, 2))
        progress = (gain > 4 * self.noise * np.abs(self.value)) | (steepness < 0.9 * self.steepness)
        self.steepness = np.minimum(self.steepness, steepness)
        self.stalled = np.where(accepted & progress, 0, self.stalled + (accepted & ~progress))
        self.done = self.done | self._converged(self.slope) | (self.stalled >= 5) | (self.length < 1e-6)
        direction = self._direction()
        self.direction = np.where(mask, direction, self.direction)

    def state(self) -> State:
        """Return everything that the next step depends on, as arrays."""
        known = {name: np.array(getattr(self, name)) for name in _KEPT}
        known |= {name: getattr(self.evaluation, name).copy() for name in _MEASURED}
        if self.curvature is not None:
            known |= {"curvature_vectors": self.curvature.vectors, "curvature_values": self.curvature.values}
        if self.pairs:
            steps, changes, inverses = zip(*self.pairs, strict=True)
            known |= {"steps": np.stack(steps), "changes": np.stack(changes), "inverses": np.stack(inverses)}
        return known

    def restore(self, state: State) -> None:
        """Stand where `state` was taken."""
        for name in _KEPT:
            setattr(self, name, state[name].copy())
        self.passes = int(self.passes)
        self.evaluation = Evaluation(*(state[name].copy() for name in _MEASURED))
        self.gradient = self.evaluation.gradient.reshape(self.shape)
        self.slope = self._pseudo_gradient()
        if "curvature_values" in state:
            self.curvature = Curvature(state["curvature_vectors"], state["curvature_values"])
        if "steps" in state:
            self.pairs.extend(zip(state["steps"], state["changes"], state["inverses"], strict=True))

    def _remember(self, step: NDArray[np.float64], change: NDArray[np.float64]) -> None:
        product = _dot(step, change)
        squares = _dot(change, change)
        good = product > 1e-10 * squares
        if self.curvature is not None:  # the same ratio, in the metric of the curvature
            squares = _dot(change, self.curvature.solve(change, self.wd))
        self.scale = np.where(good, product / np.where(squares > 0, squares, 1), self.scale)
        inverse = np.where(good, 1 / np.where(good, product, 1), 0)
        self.pairs.append((step.astype(self.kept), change.astype(self.kept), inverse))

    def _direction(self) -> NDArray[np.float64]:
        """Return minus the inverse Hessian's estimate times the gradient.

        Source: Nocedal and Wright (2006), algorithm 7.4 (two loops); Andrew and Gao (2007) for L1.
        """
        vector = self.slope.copy()
        factors = []
        for step, change, inverse in reversed(self.pairs):
            factor = inverse * _dot(step, vector)
            vector -= factor[None, :, None] * change
            factors.append(factor)
        vector = self._newton(vector)
        for (step, change, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            vector += (factor - inverse * _dot(change, vector))[None, :, None] * step
        if self.has_l1:
            vector = np.where((self.l1 > 0) & (vector * self.slope <= 0), 0, vector)
        uphill = _dot(vector, self.slope) <= 0
        vector = np.where(uphill[None, :, None], self.slope * self.scale[None, :, None], vector)
        return np.negative(vector)

    def _newton(self, vector: NDArray[np.float64]) -> NDArray[np.float64]:
        """Apply the first guess of the inverse Hessian: the estimated curvature, or a multiple of the identity."""
        if self.curvature is not None:
            vector = self.curvature.solve(vector, self.wd)
        return vector * self.scale[None, :, None]

    def _pseudo_gradient(self) -> NDArray[np.float64]:
        """Return the steepest one-sided derivative of the objective with its L1 part."""
        if not self.has_l1:
            return self.gradient
        result = self.gradient.copy()
        weights, gradient = self.point[:-1], self.gradient[:-1]
        at_zero = np.sign(gradient) * np.maximum(np.abs(gradient) - self.l1, 0)
        result[:-1] = np.where(weights != 0, gradient + self.l1 * np.sign(weights), at_zero)
        return result

    def _penalty(self, point: NDArray[np.float64]) -> NDArray[np.float64]:
        return (
            np.asarray((self.l1 * np.abs(point[:-1])).sum(axis=(0, 2))) if self.has_l1 else np.zeros(self.shape[1])
        )

    def _converged(self, slope: NDArray[np.float64]) -> NDArray[np.bool_]:
        return np.asarray(np.abs(slope).max(axis=(0, 2)) <= self.tolerance * np.maximum(np.abs(self.value), 1e-3))


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.einsum("dmc,dmc->m", left, right, dtype=np.float64))


def _merged(old: Evaluation, new: Evaluation, accepted: NDArray[np.bool_], outputs: int) -> Evaluation:
    columns = np.repeat(accepted, outputs)
    return Evaluation(
        np.where(accepted, new.loss, old.loss),
        np.where(accepted, new.held_out_loss, old.held_out_loss),
        np.where(accepted, new.smooth, old.smooth),
        np.where(columns, new.gradient, old.gradient),
    )
