"""Mini-batch training of all parallel models as one parameter matrix."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.candidates import Candidates
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import loss_of_block
from eigenline.algorithms.linear_learner.optimizers import Optimizer, columns_of
from eigenline.algorithms.linear_learner.reports import State
from eigenline.algorithms.linear_learner.rows import Block
from eigenline.algorithms.linear_learner.settings import Settings


@dataclass(eq=False)
class Ensemble:
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
    def candidates(self) -> Candidates:
        """Hyperparameters of the models that are alive."""
        return self.optimizer.candidates

    def run_epoch(self, batches: Iterable[Block]) -> tuple[NDArray[np.float64], int]:
        """Update on every mini-batch; return the mean loss before each update, shape (m,), and the records.

        A model that overflows turns NaN and stays so; it harms no other, as no product mixes columns.
        """
        total = np.zeros(len(self.alive))
        weight, records = 0.0, 0
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            for block in batches:
                value, slope = loss_of_block(self.loss, block, self.parameters, self.candidates, self.outputs)
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

    def restore(self, state: State, candidates: Candidates) -> None:
        """Continue from a state that `state` returned."""
        self.alive = state["alive"].copy()
        self.parameters = state["parameters"].copy()
        self.optimizer.mean = state["optimizer_mean"].copy()
        self.optimizer.square = state["optimizer_square"].copy()
        self.optimizer.updates = int(state["updates"])
        self.optimizer.set_candidates(candidates.take(self.alive))


def make_ensemble(
    settings: Settings,
    candidates: Candidates,
    loss: Loss,
    feature_dim: int,
    dtype: type[np.floating[Any]],
    numbers: NDArray[np.intp] | None = None,
) -> Ensemble:
    """Draw initial parameters: uniform in +-init_scale or normal with init_sigma, and init_bias.

    Each model has its own stream of random numbers, so that a model starts alike whatever is trained beside it.
    """
    numbers = np.arange(len(candidates)) if numbers is None else numbers
    outputs = settings.num_outputs
    parameters = np.empty((feature_dim + 1, len(numbers) * outputs), dtype)
    for position, number in enumerate(numbers):
        generator = np.random.default_rng([settings.seed, 1, int(number)])
        shape = (feature_dim, outputs)
        if settings.init_method == "uniform":
            drawn = generator.uniform(-settings.init_scale, settings.init_scale, shape)
        else:
            drawn = generator.normal(0, settings.init_sigma, shape)
        parameters[:-1, position * outputs : (position + 1) * outputs] = drawn
    parameters[-1] = settings.init_bias if settings.use_bias else 0
    name = "adam" if settings.optimizer == "auto" else settings.optimizer
    optimizer = Optimizer(name, candidates, outputs, settings.use_bias)
    optimizer.start(parameters)
    return Ensemble(np.asarray(numbers, np.intp), parameters, optimizer, loss, outputs)
