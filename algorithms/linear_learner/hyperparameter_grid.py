"""The parallel models' hyperparameters, one vector of length m each, and what `auto` explores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.settings import Settings

# Source: Developer Guide of 2018 for the defaults; the grid is what the real container's log shows
# (verified against the per-epoch losses of all 32 models of a public job).
AWS_GRID: dict[str, tuple[float, ...]] = {
    "wd": (1e-4, 1e-2, 1.0, 100.0),
    "learning_rate": (0.005, 0.1),
    "lr_scheduler_minimum_lr": (1e-5, 1e-4),
    "lr_scheduler_step": (10, 100),
}
# Chosen: a denser ladder of L2 strengths where linear models on standardised features have their optimum,
# and the service's two step sizes; the schedule's other values never won in our trials.
BEST_GRID: dict[str, tuple[float, ...]] = {
    "wd": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1),
    "learning_rate": (0.005, 0.02),
    "lr_scheduler_step": (10, 100),
}
FIXED: dict[str, float] = {
    "wd": 0.0,
    "l1": 0.0,
    "learning_rate": 0.005,
    "momentum": 0.0,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "bias_lr_mult": 10.0,
    "bias_wd_mult": 0.0,
    "lr_scheduler_step": 100,
    "lr_scheduler_factor": 0.99,
    "lr_scheduler_minimum_lr": 1e-5,
}
AUTO_NUM_MODELS = 32


@dataclass(frozen=True, eq=False)
class HyperparameterGrid:
    """Hyperparameters of m models; every field has shape (m,), float64."""

    learning_rate: NDArray[np.float64]
    wd: NDArray[np.float64]
    l1: NDArray[np.float64]
    momentum: NDArray[np.float64]
    beta_1: NDArray[np.float64]
    beta_2: NDArray[np.float64]
    bias_lr_mult: NDArray[np.float64]
    bias_wd_mult: NDArray[np.float64]
    lr_scheduler_step: NDArray[np.float64]
    lr_scheduler_factor: NDArray[np.float64]
    lr_scheduler_minimum_lr: NDArray[np.float64]
    positive_example_weight: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.learning_rate)

    def take(self, chosen: NDArray[np.intp] | list[int]) -> HyperparameterGrid:
        """Return the hyperparameters of some of the models."""
        return HyperparameterGrid(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def with_values(self, **values: NDArray[np.float64]) -> HyperparameterGrid:
        """Return the same models with some vectors replaced."""
        return replace(self, **values)

    def learning_rates(self, updates: int) -> NDArray[np.float64]:
        """Step sizes after `updates` updates: ``max(lr * factor^(updates // step), minimum_lr)``.

        A floor above the initial step size is no floor.
        """
        shrunk = self.learning_rate * self.lr_scheduler_factor ** (updates // self.lr_scheduler_step)
        return np.maximum(shrunk, np.minimum(self.lr_scheduler_minimum_lr, self.learning_rate))

    def describe(self, model: int) -> dict[str, float]:
        """Return one model's values by name, counts as integers."""
        values = {field.name: float(getattr(self, field.name)[model]) for field in fields(self)}
        values["lr_scheduler_step"] = int(values["lr_scheduler_step"])
        return values


def make_grid(settings: Settings, balanced_weight: float) -> HyperparameterGrid:
    """Lay out the models: what the user set is the same in all, what is `auto` is explored.

    Parameters
    ----------
    settings
        The request. With ``num_models=auto`` 32 models are trained.
    balanced_weight
        Negatives divided by positives, which ``balanced`` stands for.

    Notes
    -----
    Model 0 of ``num_models=1`` has exactly the defaults of the documentation. More models than the grid has
    points repeat the grid with L2 strengths between its steps (Chosen: a finer ladder is what helps).
    """
    grid = AWS_GRID if settings.as_aws else BEST_GRID
    given = {name: float(getattr(settings, name)) for name in FIXED if getattr(settings, name) != AUTO}
    free = {name: values for name, values in grid.items() if name not in given}
    count = AUTO_NUM_MODELS if settings.num_models == AUTO else settings.num_models
    if settings.optimizer == "sgd" and "learning_rate" in free:
        free["learning_rate"] = (0.005, 0.05)
    points = _points(free, count)
    columns = {
        name: np.array([point.get(name, given.get(name, fixed)) for point in points])
        for name, fixed in FIXED.items()
    }
    if not settings.use_lr_scheduler:
        columns["lr_scheduler_factor"] = np.ones(count)
    weights = _positive_weights(settings.positive_example_weight_mult, balanced_weight)
    columns["positive_example_weight"] = np.resize(np.array(weights), count)
    if len(weights) > 1 and count > 1:
        # neighbours on the ladder take turns, so that every weight meets every L2 strength
        order = (np.arange(count) + np.arange(count) // 4) % len(weights)
        columns["positive_example_weight"] = np.array(weights)[order]
    return HyperparameterGrid(**columns)


def _points(free: Mapping[str, tuple[float, ...]], count: int) -> list[dict[str, float]]:
    if count == 1:
        defaults = {"wd": 0.0, "learning_rate": 0.005, "lr_scheduler_step": 100, "lr_scheduler_minimum_lr": 1e-5}
        return [{name: defaults[name] for name in free}]
    grid = [dict(zip(free, values, strict=True)) for values in product(*free.values())]
    points = []
    for index in range(count):
        point = dict(grid[index % len(grid)])
        lap = index // len(grid)
        if lap and "wd" in point:
            point["wd"] *= 10 ** (-0.5 / lap)
        elif lap and "learning_rate" in point:
            point["learning_rate"] *= 2.0**-lap
        points.append(point)
    return points


def _positive_weights(value: Any, balanced_weight: float) -> list[float]:
    if value == "balanced":
        return [balanced_weight]
    if value == AUTO:
        # Chosen: AWS gives no formula; unweighted, balanced and the geometric mean span what can help.
        return [1.0, balanced_weight**0.5, balanced_weight]
    return [float(value)]
