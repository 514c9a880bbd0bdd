"""How much of the data the components explain: of the total variance, and of records not trained on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.pca.blocks import Array64, blocks, column_sums, squared_norm
from eigenline.algorithms.pca.model import PCAModel
from eigenline.algorithms.pca.moments import check_width
from eigenline.algorithms.pca.training import TrainedPCA
from eigenline.algorithms.records import PairSum

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
        Shape (num_components,), float64: the part of it along each component.
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
    """Return what the components explain of the records that they were trained on."""
    descending = np.sort(trained.eigenvalues)[::-1]
    return Explained(trained.num_records, trained.model.feature_dim, trained.total_variance, descending)


def components_needed(trained: TrainedPCA, shares: Iterable[float] = SHARES) -> Mapping[float, int | None]:
    """Return how many components explain at least each share; None where more are needed than were found.

    Parameters
    ----------
    trained
        A model with its total variance.
    shares
        Of the total variance, each from 0 to 1.
    """
    explained = of_training(trained)
    eigenvalues = explained.captured if trained.spectrum is None else trained.spectrum
    if explained.total <= 0:
        return dict.fromkeys(shares, 0)
    cumulative = np.cumsum(eigenvalues) / explained.total
    # All eigenvalues add up to the total, except for rounding: the last one settles what rounding left.
    slack = 0.0 if trained.spectrum is None else abs(1 - float(cumulative[-1]))
    counts = {share: int(np.searchsorted(cumulative, share - slack)) + 1 for share in shares}
    return {share: count if count <= len(cumulative) else None for share, count in counts.items()}


@dataclass(eq=False)
class ExplainedSums:
    """What `ExplainedWork` adds up: the attributes of `Explained`, `captured` in the model's order."""

    num_records: int
    total: PairSum
    captured: PairSum


@dataclass(frozen=True, eq=False)
class ExplainedWork:
    """The work of a pass for what a model explains of any records; a `Work`.

    Distances are taken from the model's mean, also where the mean of the records is elsewhere: that is the error
    that a reconstruction makes.

    Attributes
    ----------
    model
        With feature_dim as the records have it.
    """

    model: PCAModel

    def begin(self) -> ExplainedSums:
        """Return the sums over no record."""
        return ExplainedSums(0, PairSum.zeros(()), PairSum.zeros(self.model.num_components))

    def update(self, state: ExplainedSums, batch: Batch, first: int) -> ExplainedSums:
        """Add records; values that are not finite make the total so."""
        model, features = self.model, batch.features
        check_width(batch, model.feature_dim, first)
        mean = np.zeros(model.feature_dim) if model.mean is None else model.mean.astype(np.float64)
        origin = None if is_sparse(features) or model.mean is None else mean
        rest = mean if origin is None else np.zeros_like(mean)
        shift = rest @ model.components.astype(np.float64)
        # Sparse records cannot be moved to the mean first, and removing it afterwards costs digits, which
        # float64 has.
        for block in blocks(features, origin, np.float64 if is_sparse(features) else np.float32):
            away = 2 * float(column_sums(block) @ rest) - block.shape[0] * float(rest @ rest)
            state.total.add(np.asarray(squared_norm(block) - away))
            projections = np.asarray(block @ model.components, np.float64) - shift
            state.captured.add(np.einsum("ij,ij->j", projections, projections))
        state.num_records += len(batch)
        return state

    def merge(self, first: ExplainedSums, second: ExplainedSums) -> ExplainedSums:
        """Add the sums over later records."""
        first.num_records += second.num_records
        first.total.merge(second.total)
        first.captured.merge(second.captured)
        return first

    def finish(self, state: ExplainedSums) -> Explained:
        """Return what the components explain, strongest first."""
        strongest_first = np.argsort(-self.model.singular_values, kind="stable")
        captured = state.captured.value[strongest_first]
        return Explained(state.num_records, self.model.feature_dim, float(state.total.value), captured)
