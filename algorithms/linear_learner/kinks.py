"""The two functions with a kink that losses are made of, and their rounded forms."""

from __future__ import annotations

from typing import Any, TypeAlias

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
