"""One update of all parallel models at once: adam, sgd with momentum, rmsprop; L1 by its proximal step.

Parameters of m models are one array (feature_dim + 1, m * outputs) whose last row is the bias. Every
hyperparameter is a vector over the columns. Weights are regularised here, so that gradients stay the loss's.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.candidates import Candidates

Floats: TypeAlias = NDArray[np.floating[Any]]
EPSILON = 1e-8


class Optimizer:
    """State and update rule of all models.

    Parameters
    ----------
    name
        ``adam`` (Kingma and Ba 2015, algorithm 1 with the bias correction in the step size, section 2),
        ``sgd`` (heavy-ball momentum: ``v = momentum v - lr g; w += v``) or ``rmsprop``
        (Tieleman and Hinton 2012: ``s = 0.9 s + 0.1 g^2; w -= lr g / sqrt(s)``).
    candidates
        The models' hyperparameters.
    outputs
        Columns of one model.
    use_bias
        Without it the last row stays 0.
    """

    def __init__(self, name: str, candidates: Candidates, outputs: int, use_bias: bool) -> None:
        self.name = name
        self.outputs = outputs
        self.use_bias = use_bias
        self.updates = 0
        self.mean: Floats = np.zeros(0)
        self.square: Floats = np.zeros(0)
        self.set_candidates(candidates)

    def set_candidates(self, candidates: Candidates) -> None:
        """Set the hyperparameters, one model after the other."""
        self.candidates = candidates
        self._columns = {
            name: np.repeat(getattr(candidates, name), self.outputs)
            for name in ("wd", "l1", "momentum", "beta_1", "beta_2", "bias_lr_mult", "bias_wd_mult")
        }
        self._typed: dict[str, Floats] = {}

    def start(self, parameters: Floats) -> None:
        """Make the state for parameters of this shape and dtype."""
        self.mean = np.zeros_like(parameters)
        self.square = np.zeros_like(parameters) if self.name != "sgd" else parameters[:0].copy()

    def keep(self, models: NDArray[np.intp]) -> None:
        """Drop the state of all other models."""
        columns = columns_of(models, self.outputs)
        self.mean = np.ascontiguousarray(self.mean[:, columns])
        self.square = np.ascontiguousarray(self.square[:, columns])
        self.set_candidates(self.candidates.take(models))

    def step(self, parameters: Floats, gradient: Floats) -> None:
        """Update parameters in place; the gradient array is used up."""
        column = self._in(parameters.dtype)
        rate = np.repeat(self.candidates.learning_rates(self.updates), self.outputs)
        self.updates += 1
        gradient[:-1] += column["wd"] * parameters[:-1]
        if self._columns["bias_wd_mult"].any():
            gradient[-1] += column["wd"] * column["bias_wd_mult"] * parameters[-1]
        if not self.use_bias:
            gradient[-1] = 0
        if self.name == "adam":
            self._adam(parameters, gradient, rate, column)
        elif self.name == "rmsprop":
            self._rmsprop(parameters, gradient, rate, column)
        else:
            self._sgd(parameters, gradient, rate, column)

    def _in(self, dtype: np.dtype[Any]) -> dict[str, Floats]:
        if not self._typed or self._typed["wd"].dtype != dtype:
            self._typed = {name: values.astype(dtype) for name, values in self._columns.items()}
        return self._typed

    def _adam(self, parameters: Floats, gradient: Floats, rate: Floats, column: dict[str, Floats]) -> None:
        one, two = self._columns["beta_1"], self._columns["beta_2"]
        correction = np.sqrt(1 - two**self.updates) / (1 - one**self.updates)
        rate = (rate * correction).astype(parameters.dtype)
        self.mean *= column["beta_1"]
        self.mean += (1 - column["beta_1"]) * gradient
        np.multiply(gradient, gradient, out=gradient)
        gradient *= 1 - column["beta_2"]
        self.square *= column["beta_2"]
        self.square += gradient
        scale = np.sqrt(self.square, out=gradient)
        scale += EPSILON
        np.divide(rate, scale, out=scale)
        self._move(parameters, self.mean * scale, scale, column)

    def _rmsprop(self, parameters: Floats, gradient: Floats, rate: Floats, column: dict[str, Floats]) -> None:
        self.square *= 0.9
        self.square += 0.1 * gradient * gradient
        scale = rate.astype(parameters.dtype) / np.sqrt(self.square + EPSILON)
        self._move(parameters, gradient * scale, scale, column)

    def _sgd(self, parameters: Floats, gradient: Floats, rate: Floats, column: dict[str, Floats]) -> None:
        rate = rate.astype(parameters.dtype)
        self.mean *= column["momentum"]
        self.mean += rate * gradient
        self._move(parameters, self.mean.copy(), np.broadcast_to(rate, parameters.shape), column)

    def _move(self, parameters: Floats, step: Floats, scale: Floats, column: dict[str, Floats]) -> None:
        """Take the step, then shrink weights by ``scale * l1`` towards 0: the proximal map of l1 |w|.

        Source: Duchi and Singer (2009), "Forward backward splitting", with the step's own diagonal metric.
        """
        step[-1] *= column["bias_lr_mult"]
        parameters -= step
        if self._columns["l1"].any():
            weights = parameters[:-1]
            shrunk = np.maximum(np.abs(weights) - scale[:-1] * column["l1"], 0)
            np.copysign(shrunk, weights, out=weights)


def columns_of(models: NDArray[np.intp], outputs: int) -> NDArray[np.intp]:
    """Return the columns of some models, in the models' order."""
    return np.asarray((models[:, None] * outputs + np.arange(outputs)).ravel())
