"""The parallel models' hyperparameters, a vector of length m each: what the user set and what `auto` explores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.hyperparameters import AUTO
from eigenline.algorithms.linear_learner.settings import Settings

# Source: 33 public jobs with everything auto; position m of 32 is 8 wd + 4 lr + 2 minimum + step.
AWS_GRID: dict[str, tuple[float, ...]] = {
    "wd": (1e-4, 1e-2, 1.0, 100.0),
    "learning_rate": (0.005, 0.1),
    "lr_scheduler_minimum_lr": (1e-5, 1e-4),
    "lr_scheduler_step": (10, 100),
}
# Source: 20 public multiclass jobs: model 0, and the medians of what the others draw.
AWS_MULTICLASS: dict[str, float] = {
    "learning_rate": 0.02,
    "l1": 0.02,
    "wd": 0.02,
    "lr_scheduler_step": 10,
    "lr_scheduler_factor": 0.98,
    "lr_scheduler_minimum_lr": 1e-5,
}
# Chosen: a denser ladder of L2 strengths where linear models on standardised features have their optimum,
# and the service's two step sizes; the schedule's other values never won in our trials.
BEST_GRID: dict[str, tuple[float, ...]] = {
    "wd": (1e-6, 1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 1e-1),
    "learning_rate": (0.005, 0.02),
    "lr_scheduler_step": (10, 100),
}
# Source: Developer Guide of 2018, "Linear learner hyperparameters", defaults.
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
    """Hyperparameters of m models; every field has shape (m,), float64 but for the optimizers' names."""

    optimizer: NDArray[np.str_]
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
        return replace(self, **values)  # type: ignore[arg-type]

    def beside(self, other: HyperparameterGrid) -> HyperparameterGrid:
        """Return these models followed by others."""
        pairs = {field.name: (getattr(self, field.name), getattr(other, field.name)) for field in fields(self)}
        return HyperparameterGrid(**{name: np.concatenate(pair) for name, pair in pairs.items()})

    def learning_rates(self, updates: int) -> NDArray[np.float64]:
        """Step sizes after `updates` updates: ``max(lr * factor^(updates // step), minimum_lr)``."""
        shrunk = self.learning_rate * self.lr_scheduler_factor ** (updates // self.lr_scheduler_step)
        return np.maximum(shrunk, self.lr_scheduler_minimum_lr)

    def describe(self, model: int) -> dict[str, Any]:
        """Return one model's values by name, counts as integers."""
        values = {field.name: getattr(self, field.name)[model].item() for field in fields(self)}
        values["lr_scheduler_step"] = int(values["lr_scheduler_step"])
        return values


def make_grid(settings: Settings, balanced_weight: float, feature_dim: int) -> HyperparameterGrid:
    """Lay out the parallel models.

    Parameters
    ----------
    settings
        The request.
    balanced_weight
        Negatives divided by positives, which ``balanced`` stands for.
    feature_dim
        Number of features; the service's number of multiclass models depends on it.

    Notes
    -----
    `best`, and binary classification and regression in `aws`: a grid; what the user set is the same in all models.
    Chosen, as no public job shows it, for `aws` where `wd`, `l1`, `learning_rate` or a schedule is set. More
    models than the grid has points repeat the grid with L2 strengths between its steps, and a single model has
    the documentation's defaults (Chosen).

    Multiclass in `aws`: see `_multiclass_columns`.
    """
    if settings.as_aws and settings.num_outputs > 1:
        columns = _multiclass_columns(settings, feature_dim)
    else:
        columns = _grid_columns(settings)
    count = len(columns["wd"])
    if not settings.use_lr_scheduler:
        columns["lr_scheduler_factor"] = np.ones(count)
    if not settings.use_lr_scheduler or not settings.as_aws:
        # a floor above the step size is no floor, but for the service
        smallest = np.minimum(columns["lr_scheduler_minimum_lr"], columns["learning_rate"])
        columns["lr_scheduler_minimum_lr"] = smallest
    weights = [1.0]
    if settings.is_binary:
        weights = _positive_weights(settings.positive_example_weight_mult, balanced_weight)
    columns["positive_example_weight"] = np.resize(np.array(weights), count)
    if len(weights) > 1 and count > 1:
        # neighbours on the ladder take turns, so that every weight meets every L2 strength
        order = (np.arange(count) + np.arange(count) // 4) % len(weights)
        columns["positive_example_weight"] = np.array(weights)[order]
    return HyperparameterGrid(**columns)


def assumptions(settings: Settings) -> Iterator[str]:
    """Yield, for `aws`, one sentence for each choice that no public job of the service confirms."""
    if not settings.as_aws:
        return
    multiclass = settings.num_outputs > 1
    explored = ("wd", "l1", "learning_rate", "optimizer", "lr_scheduler_step", "lr_scheduler_minimum_lr")
    given = [name for name in explored if settings.is_set(name)]
    if multiclass:
        if settings.num_models == AUTO:
            yield "The number of models, 32 d / (d + classes) rounded down, is read from two jobs of the service."
        given = [name for name in given if name.startswith("lr_scheduler") or name == "optimizer"]
        if not settings.use_lr_scheduler:
            given.append("use_lr_scheduler")
    if given:
        yield (
            f"What the service explores around a given {', '.join(given)} is not known: here "
            f"{'it is' if len(given) == 1 else 'they are'} the same in all models."
        )
    if settings.init_method == "normal":
        yield "init_method=normal: the weights are MXNet's; that the service draws them so is not verified."
    if settings.positive_example_weight_mult == AUTO:
        yield "positive_example_weight_mult=auto: models take 1, balanced and between by turns, our choice."
    if settings.is_binary:
        yield "The threshold is the best of 500 evenly spaced scores, which one public artifact confirms."


def _grid_columns(settings: Settings) -> dict[str, Any]:
    grid = AWS_GRID if settings.as_aws else BEST_GRID
    given = {name: float(getattr(settings, name)) for name in FIXED if getattr(settings, name) != AUTO}
    if not settings.use_lr_scheduler:
        given = {name: value for name, value in given.items() if not name.startswith("lr_scheduler")}
    free = {name: values for name, values in grid.items() if name not in given}
    count = AUTO_NUM_MODELS if settings.num_models == AUTO else settings.num_models
    if settings.optimizer == "sgd" and "learning_rate" in free:
        free["learning_rate"] = (0.005, 0.05)
    points = _points(free, count)
    columns: dict[str, Any] = {
        name: np.array([point.get(name, given.get(name, fixed)) for point in points])
        for name, fixed in FIXED.items()
    }
    columns["optimizer"] = np.full(count, "adam" if settings.optimizer == AUTO else settings.optimizer)
    return columns


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


def _multiclass_columns(settings: Settings, feature_dim: int) -> dict[str, Any]:
    """Draw the service's multiclass models.

    Model 0 is adam with the given values, or `AWS_MULTICLASS`. In the others, step size, L1 and L2 are random
    multiples of model 0's, so that **what the user sets is explored too**; schedule, optimizer and bias multiplier
    are drawn outright.

    Source: 20 public jobs, whose winners' values are reproduced; the one that a test has, to the last digit. The
    numbers are those of ``numpy.random.RandomState(0)``, log-uniform, drawn in the order of the lines below.

    Chosen: the number of models under `auto`, ``32 d / (d + classes)`` rounded down, as 28 for 22 features and 27
    for 19, with three classes each, is all that is known; and that a given schedule, optimizer, bias multiplier,
    momentum or beta is the same in all models.
    """
    count = settings.num_models
    if count == AUTO:
        count = max(1, AUTO_NUM_MODELS * feature_dim // (feature_dim + settings.num_classes))
    assert isinstance(count, int)
    first = {
        name: value if getattr(settings, name) == AUTO else float(getattr(settings, name))
        for name, value in AWS_MULTICLASS.items()
    }
    random, others = np.random.RandomState(0), count - 1

    def between(low: float, high: float, size: int) -> NDArray[np.float64]:
        if high == 0:  # all multiples of a given 0; the draws are made all the same
            return 0 * random.uniform(size=size)
        return np.asarray(np.exp(random.uniform(np.log(low), np.log(high), size)))

    def around(name: str, width: float) -> NDArray[np.float64]:
        return between(first[name] / width, first[name] * width, others)

    drawn = {
        "learning_rate": around("learning_rate", 8),
        "l1": around("l1", 20),
        "wd": around("wd", 20),
        "lr_scheduler_step": np.round(between(10, 1000, others)),
        "lr_scheduler_factor": 1 - between(0.004, 0.1, count)[:others],
        "lr_scheduler_minimum_lr": between(1e-6, 1e-3, count)[:others],
    }
    optimizer = np.array(["adam", "rmsprop"])[random.randint(0, 2, others)]
    bias_multiplier = np.ones(others)
    if settings.use_bias:
        bias_multiplier = np.array([1.0, 10.0])[random.randint(0, 2, others)]
    columns: dict[str, Any] = {name: np.full(count, value) for name, value in FIXED.items()}
    columns |= {name: np.concatenate([[first[name]], values]) for name, values in drawn.items()}
    columns["bias_lr_mult"] = np.concatenate([[10.0], bias_multiplier])
    columns["optimizer"] = np.concatenate([["adam"], optimizer])
    explored = ("learning_rate", "l1", "wd")
    for name in FIXED:
        if name not in explored and getattr(settings, name) != AUTO:
            columns[name] = np.full(count, float(getattr(settings, name)))
    if settings.optimizer != AUTO:
        columns["optimizer"] = np.full(count, settings.optimizer)
    return columns


def _positive_weights(value: Any, balanced_weight: float) -> list[float]:
    if value == "balanced":
        return [balanced_weight]
    if value == AUTO:
        # Chosen: AWS gives no formula; unweighted, balanced and the geometric mean span what can help.
        return [1.0, balanced_weight**0.5, balanced_weight]
    return [float(value)]
