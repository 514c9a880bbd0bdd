"""Stochastic gradient descent on all parallel models at once: one parameter matrix, and its update rules.

Parameters of m models are one array (feature_dim + 1, m * outputs) whose last row is the bias. Every
hyperparameter is a vector over the columns. Weights are regularised here, so that gradients stay the loss's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.initial_weights import own_weights, service_weights
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import loss_of_block
from eigenline.algorithms.linear_learner.reports import State
from eigenline.algorithms.linear_learner.rows import Block
from eigenline.algorithms.linear_learner.settings import Settings

EPSILON = 1e-8
RMSPROP_DECAY = 0.9


class Optimizer:
    """State and update rule of all models.

    ``adam``: Kingma and Ba 2015, algorithm 1 with the bias correction in the step size (section 2),
    ``w -= lr sqrt(1 - beta_2^t) / (1 - beta_1^t) m / (sqrt(v) + 1e-8)``. ``rmsprop``: Tieleman and Hinton 2012,
    ``v = 0.9 v + 0.1 g^2; w -= lr g / sqrt(v + 1e-8)``; computed as adam with beta_1 = 0 and beta_2 = 0.9, without
    the correction and with epsilon inside the root, so that both may stand side by side in one matrix.
    ``sgd``: heavy-ball momentum, ``v = momentum v + lr g; w -= v``.

    Parameters
    ----------
    grid
        The models' hyperparameters.
    outputs
        Columns of one model.
    use_bias
        Without it the last row stays 0.
    batch_size
        Given, L1 is the service's: the subgradient ``l1 / batch_size sign(w)`` is added to the gradient (Source:
        three public multiclass jobs of different batch sizes, replayed to 1e-8). None takes the proximal step,
        which makes real zeros (Duchi and Singer 2009, "Forward backward splitting", in the step's own diagonal
        metric).
    """

    def __init__(
        self, grid: HyperparameterGrid, outputs: int, use_bias: bool, batch_size: int | None = None
    ) -> None:
        self.outputs = outputs
        self.use_bias = use_bias
        self.batch_size = batch_size
        self.updates = 0
        self.mean: Floats = np.zeros(0)
        self.square: Floats = np.zeros(0)
        self.set_grid(grid)

    def set_grid(self, grid: HyperparameterGrid) -> None:
        """Set the hyperparameters, one model after the other."""
        self.grid = grid
        names = ("wd", "l1", "momentum", "beta_1", "beta_2", "bias_lr_mult", "bias_wd_mult")
        columns = {name: np.repeat(getattr(grid, name), self.outputs) for name in names}
        rmsprop = np.repeat(grid.optimizer == "rmsprop", self.outputs)
        columns["beta_1"] = np.where(rmsprop, 0, columns["beta_1"])
        columns["beta_2"] = np.where(rmsprop, RMSPROP_DECAY, columns["beta_2"])
        columns["inside"], columns["outside"] = np.where(rmsprop, EPSILON, 0), np.where(rmsprop, 0, EPSILON)
        self._columns, self._rmsprop = columns, rmsprop
        self._is_sgd = bool((grid.optimizer == "sgd").any())
        self._typed: dict[str, Floats] = {}

    def start(self, parameters: Floats) -> None:
        """Make the state for parameters of this shape and dtype."""
        self.mean = np.zeros_like(parameters)
        self.square = parameters[:0].copy() if self._is_sgd else np.zeros_like(parameters)

    def keep(self, models: NDArray[np.intp]) -> None:
        """Drop the state of all other models."""
        columns = columns_of(models, self.outputs)
        self.mean = np.ascontiguousarray(self.mean[:, columns])
        self.square = np.ascontiguousarray(self.square[:, columns])
        self.set_grid(self.grid.take(models))

    def step(self, parameters: Floats, gradient: Floats) -> None:
        """Update parameters in place; the gradient array is used up."""
        column = self._in(parameters.dtype)
        rate = np.repeat(self.grid.learning_rates(self.updates), self.outputs)
        self.updates += 1
        gradient[:-1] += column["wd"] * parameters[:-1]
        if self.batch_size is not None and self._columns["l1"].any():
            gradient[:-1] += column["l1"] / parameters.dtype.type(self.batch_size) * np.sign(parameters[:-1])
        if self._columns["bias_wd_mult"].any():
            gradient[-1] += column["wd"] * column["bias_wd_mult"] * parameters[-1]
        if not self.use_bias:
            gradient[-1] = 0
        if self._is_sgd:
            self._sgd(parameters, gradient, rate, column)
        else:
            self._adaptive(parameters, gradient, rate, column)

    def _in(self, dtype: np.dtype[Any]) -> dict[str, Floats]:
        if not self._typed or self._typed["wd"].dtype != dtype:
            self._typed = {name: values.astype(dtype) for name, values in self._columns.items()}
        return self._typed

    def _adaptive(self, parameters: Floats, gradient: Floats, rate: Floats, column: dict[str, Floats]) -> None:
        one, two = self._columns["beta_1"], self._columns["beta_2"]
        correction = np.sqrt(1 - two**self.updates) / (1 - one**self.updates)
        rate = (rate * np.where(self._rmsprop, 1, correction)).astype(parameters.dtype)
        self.mean *= column["beta_1"]
        self.mean += (1 - column["beta_1"]) * gradient
        np.multiply(gradient, gradient, out=gradient)
        gradient *= 1 - column["beta_2"]
        self.square *= column["beta_2"]
        self.square += gradient
        if self._rmsprop.any():
            np.add(self.square, column["inside"], out=gradient)
            scale = np.sqrt(gradient, out=gradient)
        else:
            scale = np.sqrt(self.square, out=gradient)
        scale += column["outside"]
        np.divide(rate, scale, out=scale)
        self._move(parameters, self.mean * scale, scale, column)

    def _sgd(self, parameters: Floats, gradient: Floats, rate: Floats, column: dict[str, Floats]) -> None:
        rate = rate.astype(parameters.dtype)
        self.mean *= column["momentum"]
        self.mean += rate * gradient
        self._move(parameters, self.mean.copy(), np.broadcast_to(rate, parameters.shape), column)

    def _move(self, parameters: Floats, step: Floats, scale: Floats, column: dict[str, Floats]) -> None:
        """Take the step; then, but for the service's L1, shrink weights by ``scale * l1`` towards 0."""
        step[-1] *= column["bias_lr_mult"]
        parameters -= step
        if self.batch_size is None and self._columns["l1"].any():
            weights = parameters[:-1]
            shrunk = np.maximum(np.abs(weights) - scale[:-1] * column["l1"], 0)
            np.copysign(shrunk, weights, out=weights)


def columns_of(models: NDArray[np.intp], outputs: int) -> NDArray[np.intp]:
    """Return the columns of some models, in the models' order."""
    return np.asarray((models[:, None] * outputs + np.arange(outputs)).ravel())


@dataclass(eq=False)
class ParallelModels:
    """The models that are still trained.

    Attributes
    ----------
    alive
        Numbers of the models, ascending; shape (m,).
    parameters
        Shape (feature_dim + 1, m * outputs), in normalised units; the last row is the bias.
    optimizer
        Its state, for the same models.
    """

    alive: NDArray[np.intp]
    parameters: Floats
    optimizer: Optimizer
    loss: Loss
    outputs: int

    @property
    def grid(self) -> HyperparameterGrid:
        """Hyperparameters of the models that are alive."""
        return self.optimizer.grid

    def run_epoch(self, batches: Iterable[Block]) -> tuple[NDArray[np.float64], int]:
        """Update on every mini-batch; return the mean loss before each update, shape (m,), and the records.

        A model that overflows turns NaN and stays so; it harms no other, as no product mixes columns.
        """
        total = np.zeros(len(self.alive))
        weight, records = 0.0, 0
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for block in batches:
                value, slope = loss_of_block(self.loss, block, self.parameters, self.grid, self.outputs)
                size, seen = float(len(value)), len(value)
                if block.sample_weights is None:
                    total += value.sum(axis=0, dtype=np.float64)
                else:
                    size = float(block.sample_weights.sum(dtype=np.float64))
                    total += block.sample_weights @ value
                    slope *= block.sample_weights.reshape((-1,) + (1,) * (slope.ndim - 1))
                records += seen
                if size <= 0:
                    continue
                weight += size
                self._update(block, slope.reshape(seen, -1), size)
        return total / max(weight, 1e-300), records

    def _update(self, block: Block, slope: Floats, size: float) -> None:
        slope /= slope.dtype.type(size)
        gradient = np.empty_like(self.parameters)
        gradient[:-1] = block.features.T @ slope
        np.sum(slope, axis=0, out=gradient[-1])
        self.optimizer.step(self.parameters, gradient)

    def keep(self, models: NDArray[np.intp]) -> None:
        """Go on with some of the models, given by position among those alive."""
        self.alive = self.alive[models]
        self.parameters = np.ascontiguousarray(self.parameters[:, columns_of(models, self.outputs)])
        self.optimizer.keep(models)

    def spread(self, values: NDArray[np.float64], num_models: int) -> NDArray[np.float64]:
        """Return values of the living models as a vector over all models, NaN for the others."""
        result = np.full(num_models, np.nan)
        result[self.alive] = values
        return result

    def state(self) -> dict[str, NDArray[Any]]:
        """Return everything that the next epoch depends on, as arrays."""
        return {
            "alive": self.alive.copy(),
            "parameters": self.parameters.copy(),
            "optimizer_mean": self.optimizer.mean.copy(),
            "optimizer_square": self.optimizer.square.copy(),
            "updates": np.array(self.optimizer.updates),
        }

    def restore(self, state: State, grid: HyperparameterGrid) -> None:
        """Continue from a state that `state` returned; `grid` is that of all models."""
        self.alive = state["alive"].copy()
        self.parameters = state["parameters"].copy()
        self.optimizer.mean = state["optimizer_mean"].copy()
        self.optimizer.square = state["optimizer_square"].copy()
        self.optimizer.updates = int(state["updates"])
        self.optimizer.set_grid(grid.take(self.alive))


def make_models(
    settings: Settings,
    grid: HyperparameterGrid,
    loss: Loss,
    feature_dim: int,
    dtype: type[np.floating[Any]],
    numbers: NDArray[np.intp] | None = None,
) -> ParallelModels:
    """Draw initial parameters: uniform in +-init_scale or normal with init_sigma, and init_bias.

    Parameters
    ----------
    numbers
        The models' numbers, which their own streams of random numbers depend on; None counts from 0. The service's
        one stream runs through all models.
    """
    numbers = np.arange(len(grid)) if numbers is None else numbers
    outputs = settings.num_outputs
    parameters = np.empty((feature_dim + 1, len(numbers) * outputs), dtype)
    if settings.as_aws:
        parameters[:-1] = service_weights(settings, feature_dim, len(numbers))
    else:
        parameters[:-1] = own_weights(settings, feature_dim, numbers)
    parameters[-1] = settings.init_bias if settings.use_bias else 0
    optimizer = Optimizer(grid, outputs, settings.use_bias, settings.mini_batch_size if settings.as_aws else None)
    optimizer.start(parameters)
    return ParallelModels(np.asarray(numbers, np.intp), parameters, optimizer, loss, outputs)
