"""An estimate of the Hessian from the records that matter: it turns L-BFGS steps into near-Newton ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import Objective, raw_scores
from eigenline.algorithms.linear_learner.rows import Block, Preparation
from eigenline.algorithms.records import InOrder, PairSum, uniform

# A factorisation costs O(d^3); beyond this many features it costs more than the passes it saves.
MOST_FEATURES: Final = 1200
SAMPLED_ROWS: Final = 6000  # and at least eight per feature
DAMPING: Final = 1e-4  # of the mean eigenvalue, for directions that no sampled record spans
LOOK_AT: Final = 4  # every fourth record shows how important they are in all, which only sets the sample's size
STEP: Final = 0.05  # half width of the differences that give a loss's second derivative


@dataclass(frozen=True, eq=False)
class Curvature:
    """Eigenvectors and eigenvalues of the estimated Hessian of the mean loss, weights and bias together.

    Attributes
    ----------
    vectors, values
        Shapes (feature_dim + 1, feature_dim + 1) and (feature_dim + 1,).
    """

    vectors: NDArray[Any]
    values: NDArray[Any]

    def solve(self, right: NDArray[np.float64], wd: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return ``(H + wd_m I)^-1 right`` of each model m; `right` is (feature_dim + 1, models, outputs)."""
        rows = len(right)
        turned = self.vectors.T @ right.reshape(rows, -1).astype(self.vectors.dtype)
        turned = turned.reshape(right.shape) / (self.values[:, None, None] + wd[None, :, None])
        return np.asarray((self.vectors @ turned.reshape(rows, -1)).reshape(right.shape), np.float64)


def estimate_curvature(objective: Objective, parameters: NDArray[np.float64], loss: Loss) -> Curvature | None:
    """Estimate the Hessian at one model's `parameters` (feature_dim + 1, outputs); None where d is too large.

    Notes
    -----
    ``H = sum_i s_i D_i x_i x_i^T / sum_i s_i`` with ``D_i`` the second derivative of record i's loss. Of many
    records a sample is taken, with probability proportional to ``D_i (1 + |x_i|^2)``, at most 1, and weighted by
    its inverse, so the estimate is unbiased, and costs O(r d^2) for r sampled records however many there are. The
    norm matters: a feature that is rarely present has a few records with enormous normalised values, and a sample
    without them would promise that its weight may move freely. Softmax uses the mean of its classes' diagonal
    blocks for all of them.

    Source: sub-sampled Newton methods with non-uniform sampling, Xu, Yang, Roosta, Re and Mahoney (2016).
    """
    width = len(parameters)
    if width - 1 > MOST_FEATURES:
        return None
    derivatives = _SecondDerivatives(
        objective.preparation,
        loss,
        objective.effective(parameters),
        objective.outputs,
        float(objective.grid.positive_example_weight[0]),
        objective.use_bias,
    )
    sampled = max(SAMPLED_ROWS, 8 * width)
    scale = np.inf  # of few records, all
    if objective.records.count is None or objective.records.count > sampled:
        total = float(objective.records.total(_ImportanceWork(derivatives)).value[0])
        if not total > 0 or not np.isfinite(total):
            return None
        scale = sampled / total
    found = objective.records.total(_SampleWork(derivatives, scale))
    if not found.rows.items:
        return None
    rows = np.concatenate(found.rows.values)
    # of an array with itself BLAS computes one half only
    hessian = np.asarray(rows.T @ rows, np.float64) / max(float(found.weight.value[0]), 1e-300)
    if not np.isfinite(hessian).all() or not hessian.any():
        return None
    values, vectors = np.linalg.eigh(hessian.astype(objective.preparation.dtype))
    values = np.maximum(values, 0)
    return Curvature(vectors, values + DAMPING * values.mean())


@dataclass(frozen=True, eq=False)
class _SecondDerivatives:
    """How important a block's records are: second derivatives and squared lengths.

    Attributes
    ----------
    preparation, loss
        What makes blocks of batches; the loss.
    parameters
        One model's, for the features as blocks hold them.
    outputs, positive_weight, use_bias
        Raw scores of one record; the weight of positives; whether there is a bias.
    """

    preparation: Preparation
    loss: Loss
    parameters: Floats
    outputs: int
    positive_weight: float
    use_bias: bool

    def of(self, block: Block) -> Floats:
        """Return the second derivative of each record's loss in its raw score, shape (n,).

        Central differences of the slope serve all losses, corners included: a corner is as steep as the difference
        across it. Softmax does not change when all scores move; there ``p (1 - p)`` is the derivative, and equals
        ``|s| (1 - |s|)`` for the slopes ``s = p - onehot(y)``.
        """
        raw = raw_scores(block, self.parameters, self.outputs)
        if self.outputs > 1:
            slope = np.abs(self.loss.value_and_gradient(raw, block.labels)[1][:, 0])
            second = (slope * (1 - slope)).mean(axis=1)
        else:
            step = self.loss.smoothing or STEP
            up, down = (self.loss.value_and_gradient(raw + move, block.labels)[1][:, 0] for move in (step, -step))
            second = np.maximum(up - down, 0) / (2 * step)
        if self.positive_weight != 1:
            second = second * (1 + block.labels[:, 0] * (self.positive_weight - 1))
        for weights in (block.class_weights, block.sample_weights):
            second = second if weights is None else second * weights
        return np.asarray(second)

    def squared_lengths(self, block: Block) -> Floats:
        """Return ``1 + sum_j ((x_j - shift_j) factor_j)^2`` of each record, shape (n,), at least 1.

        Taken from raw features as ``x^2 . f^2 - 2 x . (shift f^2) + const`` where those are what blocks hold.
        """
        scaler, folded = self.preparation.scaler, self.preparation.folded
        squares = scaler.factor**2 if folded else np.ones_like(scaler.factor)
        shift = scaler.shift if folded else np.zeros_like(scaler.shift)
        features: Any = block.features
        dtype = self.preparation.dtype
        squared = features * features  # element by element, also of a sparse array
        crossed = features @ (2 * shift * squares).astype(dtype)
        constant = float(1 + (shift**2 * squares).sum())
        return np.asarray(np.maximum(squared @ squares.astype(dtype) - crossed + constant, 1))


@dataclass(frozen=True, eq=False)
class _ImportanceWork:
    """Adds up ``D_i (1 + |x_i|^2)`` over every fourth record, times four."""

    derivatives: _SecondDerivatives

    def begin(self) -> PairSum:
        return PairSum.zeros(1)

    def update(self, state: PairSum, batch: Batch, first: int) -> PairSum:
        start = -first % LOOK_AT
        if start < len(batch):
            block = self.derivatives.preparation.block(batch.every(LOOK_AT, start), first)
            with np.errstate(all="ignore"):
                importance = self.derivatives.of(block) * self.derivatives.squared_lengths(block)
            state.add(LOOK_AT * importance.sum(dtype=np.float64, keepdims=True))
        return state

    def merge(self, first: PairSum, second: PairSum) -> PairSum:
        first.merge(second)
        return first


@dataclass(frozen=True, eq=False)
class _Sample:
    rows: InOrder[Floats]
    weight: PairSum


@dataclass(frozen=True, eq=False)
class _SampleWork:
    """Collects the records that a hash of their position draws, each times the root of its factor."""

    derivatives: _SecondDerivatives
    scale: float

    def begin(self) -> _Sample:
        return _Sample(InOrder(), PairSum.zeros(1))

    def update(self, state: _Sample, batch: Batch, first: int) -> _Sample:
        preparation = self.derivatives.preparation
        block = preparation.block(batch, first)
        weights = block.sample_weights
        count = np.float64(len(batch)) if weights is None else weights.sum(dtype=np.float64)
        state.weight.add(np.array([count]))
        with np.errstate(all="ignore"):
            second = self.derivatives.of(block)
            if np.isfinite(self.scale):
                chance: Floats = np.minimum(second * self.derivatives.squared_lengths(block) * self.scale, 1.0)
                drawn = uniform(np.arange(first, first + len(batch)), preparation.seed + 2) < chance
                chosen = np.flatnonzero(drawn)
                factor: Floats = second[chosen] / chance[chosen]
            else:
                chosen = np.flatnonzero(second > 0)
                factor = second[chosen]
            if len(chosen):
                state.rows.add(first, self._weighted(block, chosen, factor))
        return state

    def merge(self, first: _Sample, second: _Sample) -> _Sample:
        first.rows.merge(second.rows)
        first.weight.merge(second.weight)
        return first

    def _weighted(self, block: Block, chosen: NDArray[np.intp], factor: Floats) -> Floats:
        preparation = self.derivatives.preparation
        every: Any = block.features
        features: Any = every[chosen]
        if preparation.folded:
            features = preparation.scaler.normalise(features, preparation.dtype)
        dense = features.toarray() if is_sparse(features) else features
        extended = np.empty((len(chosen), dense.shape[1] + 1), preparation.dtype)
        extended[:, :-1] = dense
        extended[:, -1] = 1.0 if self.derivatives.use_bias else 0.0
        extended *= np.sqrt(factor)[:, None]
        return extended
