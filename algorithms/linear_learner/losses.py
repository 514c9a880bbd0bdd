"""The losses: value and gradient in the raw score, one small class each.

Conventions
-----------
`raw` holds raw scores ``f = x @ w + b`` of n records and m models, shape (n, m); for softmax (n, m, c).
`labels` has shape (n, 1). `value_and_gradient` returns the loss of each record, shape (n, m), and what the
optimizer descends: the gradient of ``gradient_scale * value`` in `raw`, in the shape and dtype of `raw`.

Source: formulas of the AWS notebook *linear_learner_class_weights_loss_functions*.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.floating[Any]]


def rounded_absolute(error: Floats, width: float) -> tuple[Floats, Floats]:
    """Return ``|e|``, or ``e^2/(2 width) + width/2`` within +-width, and its slope."""
    if width == 0:
        return np.abs(error), np.sign(error)
    slope = np.clip(error / width, -1, 1)
    return slope * (error - slope * (width / 2)) + width / 2, slope


def ramp(argument: Floats, width: float) -> tuple[Floats, Floats]:
    """Return ``max(u, 0) = (u + |u|) / 2`` and its slope, with the kink rounded over +-width."""
    if width == 0:
        return np.maximum(argument, 0), (argument > 0).astype(argument.dtype)
    value, slope = rounded_absolute(argument, width)
    return (argument + value) / 2, (slope + 1) / 2


class Loss(Protocol):
    """What the trainers ask of a loss."""

    @property
    def objective_name(self) -> str:
        """Name of the objective in the job's log."""

    @property
    def gradient_scale(self) -> float:
        """The optimizer descends this times the value."""

    @property
    def smoothing(self) -> float:
        """Half width over which a corner is rounded; 0 where there is none, or it is not rounded."""

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""


@dataclass(frozen=True)
class Logistic:
    """``log(1 + exp(f)) - y f`` for labels y in {0, 1}: cross entropy of the sigmoid of f.

    Stable form ``max(f, 0) - y f + log(1 + exp(-|f|))``; gradient ``sigmoid(f) - y``. `weighted` only tells that
    positives count by another weight, which the service's name of the objective says.
    """

    weighted: bool = False
    gradient_scale: ClassVar[float] = 1.0
    smoothing: ClassVar[float] = 0.0

    @property
    def objective_name(self) -> str:
        """Name of the objective in the job's log."""
        return f"binary_classification_{'weighted_' if self.weighted else ''}cross_entropy_objective"

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        decay = np.abs(raw)
        np.negative(decay, out=decay)
        np.exp(decay, out=decay)
        denominator = decay + 1
        value = np.maximum(raw, 0)
        value -= labels * raw
        # log, not log1p: numpy has a vectorised log only, and what it loses is below 1e-7 a record
        value += np.log(denominator)
        gradient = np.where(raw >= 0, 1, decay)
        gradient /= denominator
        gradient -= labels
        return value, gradient


@dataclass(frozen=True)
class Hinge:
    """``y max((m+1)/2 - f, 0) + (1-y) max((m-1)/2 + f, 0)`` for labels y in {0, 1} and margin m.

    With ``s = 2y - 1`` both branches are ``max(m/2 - s (f - 1/2), 0)``: the natural decision point is 1/2.
    `smoothing` > 0 replaces the kink by a parabola of that half width (see `smoothed`).
    """

    margin: float = 1.0
    smoothing: float = 0.0
    objective_name: ClassVar[str] = "hinge_loss_objective"
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        sign = 2 * labels - 1
        value, slope = ramp(self.margin / 2 - sign * (raw - 0.5), self.smoothing)
        return value, -sign * slope


@dataclass(frozen=True)
class Squared:
    """``(y - f)^2``; the gradient is ``f - y``, that of half the value.

    Source: a real job's objective equals its mse, and the artifact's head operator is MXNet's
    LinearRegressionOutput, whose gradient is ``f - y``.
    """

    objective_name: ClassVar[str] = "mse_objective"
    gradient_scale: ClassVar[float] = 0.5
    smoothing: ClassVar[float] = 0.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        error = raw - labels
        return error * error, error


@dataclass(frozen=True)
class Absolute:
    """``|y - f|``; the gradient is ``sign(f - y)``. `smoothing` rounds the kink (see `smoothed`)."""

    smoothing: float = 0.0
    objective_name: ClassVar[str] = "absolute_loss_objective"
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        return rounded_absolute(raw - labels, self.smoothing)


@dataclass(frozen=True)
class Quantile:
    """``q max(y - f, 0) + (1-q) max(f - y, 0)``: its minimiser is the conditional q-quantile.

    Equal to ``|e|/2 + (1/2 - q) e`` with ``e = f - y``. Source: Koenker and Bassett (1978), equation 2.2.
    """

    quantile: float = 0.5
    smoothing: float = 0.0
    objective_name: ClassVar[str] = "quantile_loss_objective"
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        error = raw - labels
        value, slope = rounded_absolute(error, self.smoothing)
        tilt = 0.5 - self.quantile
        return value / 2 + tilt * error, slope / 2 + tilt


@dataclass(frozen=True)
class Huber:
    """``e^2/2`` where ``|e| < delta``, else ``delta |e| - delta^2/2``; the gradient is e cut to +-delta.

    `smoothing` > delta widens the parabola and keeps the lines (see `smoothed`): a delta far below the errors is a
    kink. Source: Huber (1964), section 4.
    """

    delta: float = 1.0
    smoothing: float = 0.0
    objective_name: ClassVar[str] = "huber_loss_objective"
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        error = raw - labels
        if self.smoothing > self.delta:
            value, slope = rounded_absolute(error, self.smoothing)
            return self.delta * value - self.delta**2 / 2, self.delta * slope
        slope = np.clip(error, -self.delta, self.delta)
        return slope * (error - slope / 2), slope


@dataclass(frozen=True)
class EpsInsensitiveSquared:
    """``max(0, e^2 - eps^2)``; the gradient is ``e`` where ``|e| > eps``, that of half the value.

    Chosen: half, so that the loss becomes squared_loss as eps goes to 0.
    """

    insensitivity: float = 0.01
    objective_name: ClassVar[str] = "eps_insensitive_squared_loss_objective"
    gradient_scale: ClassVar[float] = 0.5
    smoothing: ClassVar[float] = 0.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        error = raw - labels
        value = np.maximum(error * error - self.insensitivity**2, 0)
        return value, np.where(value > 0, error, 0)


@dataclass(frozen=True)
class EpsInsensitiveAbsolute:
    """``max(0, |e| - eps)``, the loss of support vector regression. `smoothing` rounds the corners."""

    insensitivity: float = 0.01
    smoothing: float = 0.0
    objective_name: ClassVar[str] = "eps_insensitive_absolute_loss_objective"
    gradient_scale: ClassVar[float] = 1.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw score."""
        error = raw - labels
        above, up = ramp(error - self.insensitivity, self.smoothing)
        below, down = ramp(-error - self.insensitivity, self.smoothing)
        return above + below, up - down


@dataclass(frozen=True)
class Softmax:
    """``log sum_j exp(f_j) - f_y``: cross entropy of the softmax; the gradient is ``softmax(f) - onehot(y)``."""

    objective_name: ClassVar[str] = "multiclass_cross_entropy_objective"
    gradient_scale: ClassVar[float] = 1.0
    smoothing: ClassVar[float] = 0.0

    def value_and_gradient(self, raw: Floats, labels: Floats) -> tuple[Floats, Floats]:
        """Return each record's loss and the gradient in the raw scores of shape (n, m, c)."""
        index = labels.astype(np.intp)[:, :, None]
        shifted = raw - raw.max(axis=2, keepdims=True)
        of_label = np.take_along_axis(shifted, index, axis=2)
        np.exp(shifted, out=shifted)
        total = shifted.sum(axis=2, keepdims=True)
        value = (np.log(total) - of_label)[:, :, 0]
        shifted /= total
        rows = np.arange(len(raw))
        shifted[rows, :, index[:, 0, 0]] -= 1
        return value, shifted


def smoothed(loss: Loss, width: float) -> Loss:
    """Return the loss with its corners rounded over +-`width`, or the loss itself where it has none.

    The rounded loss lies within ``width / 2`` above the true one and has a continuous gradient, which
    second-order steps need. Source: Nesterov (2005), "Smooth minimization of non-smooth functions".
    """
    if isinstance(loss, Hinge):
        return Hinge(loss.margin, width)
    if isinstance(loss, Absolute):
        return Absolute(width)
    if isinstance(loss, Quantile):
        return Quantile(loss.quantile, width)
    if isinstance(loss, EpsInsensitiveAbsolute):
        return EpsInsensitiveAbsolute(loss.insensitivity, width)
    if isinstance(loss, Huber) and width > loss.delta:
        return Huber(loss.delta, width)
    return loss


def error_of(loss: Loss, value: float) -> float:
    """Return the error whose loss is about `value`: what the width of a rounded kink is measured by."""
    return value / loss.delta if isinstance(loss, Huber) and loss.delta > 0 else value


def make_loss(
    name: str,
    *,
    margin: float = 1.0,
    quantile: float = 0.5,
    insensitivity: float = 0.01,
    delta: float = 1.0,
    weighted: bool = False,
) -> Loss:
    """Return the loss of AWS's name with its parameters, in the units of the labels it will see."""
    makers: dict[str, Callable[[], Loss]] = {
        "logistic": lambda: Logistic(weighted),
        "hinge_loss": lambda: Hinge(margin),
        "squared_loss": Squared,
        "absolute_loss": Absolute,
        "quantile_loss": lambda: Quantile(quantile),
        "huber_loss": lambda: Huber(delta),
        "eps_insensitive_squared_loss": lambda: EpsInsensitiveSquared(insensitivity),
        "eps_insensitive_absolute_loss": lambda: EpsInsensitiveAbsolute(insensitivity),
        "softmax_loss": Softmax,
    }
    return makers[name]()
