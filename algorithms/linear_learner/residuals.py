"""How far a regressor's predictions are from the labels: R2, and how many are how far off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

_BINS: Final = 40
_TAIL: Final = 0.005  # of the residuals, at either end: a few far ones would make one bin of all others


@dataclass(frozen=True, eq=False)
class Residuals:
    """Labels less predictions.

    Attributes
    ----------
    r2
        Share of the labels' variance that the predictions explain, ``1 - sum w (y - p)^2 / sum w (y - mean y)^2``;
        NaN where all labels are equal.
    edges
        Of the bins, shape (bins + 1,), in the unit of the label. The outermost bins hold what is beyond them too.
    counts
        Weight of the records in each bin, shape (bins,).
    """

    r2: float
    edges: NDArray[np.float64]
    counts: NDArray[np.float64]


def residuals_of(
    predictions: NDArray[np.floating], labels: NDArray[np.floating], weights: NDArray[np.floating]
) -> Residuals | None:
    """Return the residuals of some records; None where fewer than two are finite.

    Parameters
    ----------
    predictions, labels, weights
        Shape (n,).
    """
    residuals = labels.astype(np.float64) - predictions
    sound = np.isfinite(residuals) & (weights > 0)
    if np.count_nonzero(sound) < 2:
        return None
    residuals, y, w = residuals[sound], labels[sound].astype(np.float64), weights[sound].astype(np.float64)
    spread = float(w @ np.square(y - np.average(y, weights=w)))
    r2 = 1 - float(w @ np.square(residuals)) / spread if spread > 0 else float("nan")
    low, high = np.quantile(residuals, (_TAIL, 1 - _TAIL))
    if not high - low > 1e-9 * max(abs(low), abs(high)):  # all the same
        margin = max(abs(low), abs(high), 1e-6)
        low, high = low - margin, high + margin
    counts, edges = np.histogram(np.clip(residuals, low, high), _BINS, (low, high), weights=w)
    return Residuals(r2, edges, counts)
