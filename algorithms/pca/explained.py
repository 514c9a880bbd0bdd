"""How much of the data the components explain: against the total variance, and on records never trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.pca.blocks import Array64, blocks, column_sums, squared_norm
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.training import TrainedPCA

SHARES: Final = (0.90, 0.95, 0.99)


@dataclass(frozen=True, eq=False)
class Explained:
    """What the components explain of some records, strongest component first.

    Attributes
    ----------
    num_records, feature_dim
        Size of the data.
    total
        Sum of squared distances of the records from the model's mean (from zero without one): everything there
        is to explain.
    captured
        Shape (num_components,): the part of it along each component.
    """

    num_records: int
    feature_dim: int
    total: float
    captured: Array64

    @property
    def ratios(self) -> Array64:
        """Share of the *total* variance of each component; ``s^2 / sum(s^2)`` would leave out what was dropped."""
        return self.captured / self.total if self.total > 0 else np.zeros_like(self.captured)

    @property
    def cumulative(self) -> Array64:
        """Share of the total that the first 1, 2, ... components explain together; never above 1."""
        return np.minimum(np.cumsum(self.ratios), 1.0)

    @property
    def reconstruction_error(self) -> float:
        """Mean squared distance between a record and its reconstruction from the projection."""
        return max(0.0, self.total - float(self.captured.sum())) / max(1, self.num_records)

    @property
    def reconstruction_rmse(self) -> float:
        """Root mean squared error of a single reconstructed value, in the units of the features."""
        return math.sqrt(self.reconstruction_error / self.feature_dim)


def of_training(trained: TrainedPCA) -> Explained:
    """What the components explain of the records that they were trained on."""
    descending = np.sort(trained.eigenvalues)[::-1]
    return Explained(trained.num_records, trained.model.feature_dim, trained.total_variance, descending)


def components_needed(trained: TrainedPCA, shares: Iterable[float] = SHARES) -> Mapping[float, int | None]:
    """Number of components that explain at least each share; None where only "more than were kept" is known."""
    explained = of_training(trained)
    eigenvalues = explained.captured if trained.spectrum is None else trained.spectrum
    if explained.total <= 0:
        return dict.fromkeys(shares, 0)
    cumulative = np.cumsum(eigenvalues) / explained.total
    # All eigenvalues add up to the total, except for rounding: the last one settles what rounding left.
    slack = 0.0 if trained.spectrum is None else abs(1 - float(cumulative[-1]))
    counts = {share: int(np.searchsorted(cumulative, share - slack)) + 1 for share in shares}
    return {share: count if count <= len(cumulative) else None for share, count in counts.items()}


def measure(state: Explained | None, model: PCAModel, features: Features) -> Explained:
    """Add records to what a model explains: a streamed state that begins with None and merges by adding.

    Distances are taken from the model's mean, also for a test channel whose own mean is elsewhere: that is the
    error a reconstruction makes.
    """
    mean = np.zeros(model.feature_dim) if model.mean is None else model.mean.astype(np.float64)
    origin = None if is_sparse(features) or model.mean is None else mean
    rest = mean if origin is None else np.zeros_like(mean)
    shift = rest @ model.components.astype(np.float64)
    total, captured = 0.0, np.zeros(model.num_components)
    # Sparse records stay where they are, so the digits that centring costs must be there to be lost.
    for block in blocks(features, origin, np.float64 if is_sparse(features) else np.float32):
        total += squared_norm(block) - 2 * float(column_sums(block) @ rest) + block.shape[0] * float(rest @ rest)
        projections = np.asarray(block @ model.components, np.float64) - shift
        captured += np.einsum("ij,ij->j", projections, projections)
    strongest_first = np.argsort(-model.singular_values, kind="stable")
    added = Explained(int(features.shape[0]), model.feature_dim, total, captured[strongest_first])
    return added if state is None else merge(state, added)


def merge(first: Explained, second: Explained) -> Explained:
    """What the same model explains of both states' records."""
    return Explained(
        first.num_records + second.num_records,
        first.feature_dim,
        first.total + second.total,
        first.captured + second.captured,
    )
