"""An estimate of the Hessian from the records that matter: it turns L-BFGS steps into near-Newton ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import is_sparse
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import Objective, raw_scores
from eigenline.algorithms.linear_learner.rows import Block

# A factorisation costs O(d^3); beyond this many features it costs more than the passes it saves.
MOST_FEATURES = 1200
SAMPLED_ROWS = 6000  # and at least eight per feature
DAMPING = 1e-4  # of the mean eigenvalue, for directions that no sampled record spans
LOOK_AT = 4  # every fourth block tells how important the records are in all, which only sets the sample's size
STEP = 0.05  # half width of the differences that give a loss's second derivative


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
        rows, models, outputs = right.shape
        turned = self.vectors.T @ right.reshape(rows, -1).astype(self.vectors.dtype)
        turned = turned.reshape(right.shape) / (self.values[:, None, None] + wd[None, :, None])
        return np.asarray((self.vectors @ turned.reshape(rows, -1)).reshape(rows, models, outputs), np.float64)


def estimate_curvature(objective: Objective, parameters: NDArray[np.float64], loss: Loss) -> Curvature | None:
    """Estimate the Hessian at one model's `parameters` (feature_dim + 1, outputs); None where d is too large.

    Notes
    -----
    ``H = sum_i s_i D_i x_i x_i^T / sum_i s_i`` with ``D_i`` the second derivative of record i's loss. Records
    are sampled with probability proportional to ``D_i (1 + |x_i|^2)``, at most 1, and weighted by its inverse,
    so the estimate is unbiased, and costs O(r d^2) for r sampled records however many there are. The norm
    matters: a feature that is rarely present has a few records with enormous normalised values, and a sample
    without them would promise that its weight may move freely. Softmax uses the mean of its classes' diagonal
    blocks for all of them.

    Source: sub-sampled Newton methods with non-uniform sampling, Xu, Yang, Roosta, Re and Mahoney (2016).
    """
    width = len(parameters)
    if width - 1 > MOST_FEATURES:
        return None
    single = replace(objective, candidates=objective.candidates.take([0]), left_out=np.array([-1]))
    rows = single.rows
    effective = (rows.scaler.fold(parameters) if rows.folded else parameters).astype(rows.dtype)
    norms = _Norms(single)
    total, looked_at, records, count = 0.0, 0, 0, 0.0
    for number, block in enumerate(rows.blocks()):
        records += len(block.labels)
        weights = block.sample_weights
        count += len(block.labels) if weights is None else float(weights.sum(dtype=np.float64))
        if number % LOOK_AT == 0:
            importance = _second_derivatives(single, block, effective, loss) * norms.of(block)
            total += float(importance.sum(dtype=np.float64))
            looked_at += len(block.labels)
    if not total > 0 or not np.isfinite(total):
        return None
    total *= records / looked_at
    sampled = max(SAMPLED_ROWS, 8 * width)
    generator = np.random.default_rng([rows.seed, 2])
    hessian = np.zeros((width, width))
    for block in rows.blocks():
        second = _second_derivatives(single, block, effective, loss)
        chance = np.minimum(second * norms.of(block) * (sampled / total), 1.0)
        chosen = np.flatnonzero(generator.random(len(second)) < chance)
        if len(chosen):
            hessian += _outer(single, block, chosen, second[chosen] / chance[chosen])
    values, vectors = np.linalg.eigh((hessian / count).astype(rows.dtype))
    values = np.maximum(values, 0)
    return Curvature(vectors, values + DAMPING * values.mean())


def _second_derivatives(objective: Objective, block: Block, parameters: Floats, loss: Loss) -> Floats:
    """Return the second derivative of each record's loss in its raw score, shape (n,).

    Central differences of the slope serve all losses, kinks included: a kink is as steep as the difference
    across it. Softmax does not change when all scores move; there ``p (1 - p)`` is the derivative, and equals
    ``|s| (1 - |s|)`` for the slopes ``s = p - onehot(y)``.
    """
    raw = raw_scores(block, parameters, objective.outputs)
    if objective.outputs > 1:
        slope = np.abs(loss.value_and_gradient(raw, block.labels)[1][:, 0])
        second = (slope * (1 - slope)).mean(axis=1)
    else:
        step = float(getattr(loss, "smoothing", 0.0)) or STEP
        up, down = (loss.value_and_gradient(raw + move, block.labels)[1][:, 0] for move in (step, -step))
        second = np.maximum(up - down, 0) / (2 * step)
    positive = objective.candidates.positive_example_weight[0]
    if positive != 1:
        second = second * (1 + block.labels[:, 0] * (positive - 1))
    for weights in (block.class_weights, block.sample_weights):
        second = second if weights is None else second * weights
    return np.asarray(second)


class _Norms:
    """Squares of the normalised records' lengths, bias included: ``1 + sum_j ((x_j - shift_j) factor_j)^2``.

    Taken from raw features as ``x^2 . f^2 - 2 x . (shift f^2) + const`` where those are what blocks hold.
    """

    def __init__(self, objective: Objective) -> None:
        scaler, self._dtype = objective.rows.scaler, objective.rows.dtype
        self._folded = objective.rows.folded
        squares = scaler.factor**2 if self._folded else np.ones_like(scaler.factor)
        shift = scaler.shift if self._folded else np.zeros_like(scaler.shift)
        self._squares = squares.astype(self._dtype)
        self._cross = (2 * shift * squares).astype(self._dtype)
        self._constant = float(1 + (shift**2 * squares).sum())

    def of(self, block: Block) -> Floats:
        """Return the squared lengths of a block's records, shape (n,), at least 1."""
        features: Any = block.features
        squared = features * features  # element by element, also of a sparse array
        return np.asarray(np.maximum(squared @ self._squares - features @ self._cross + self._constant, 1))


def _outer(objective: Objective, block: Block, chosen: NDArray[np.intp], factor: Floats) -> Floats:
    every: Any = block.features
    features: Any = every[chosen]
    if objective.rows.folded:
        features = objective.rows.scaler.normalise(features, objective.rows.dtype)
    dense = features.toarray() if is_sparse(features) else features
    extended = np.empty((len(chosen), dense.shape[1] + 1), objective.rows.dtype)
    extended[:, :-1] = dense
    extended[:, -1] = 1.0 if objective.use_bias else 0.0
    extended *= np.sqrt(factor)[:, None]
    return np.asarray(extended.T @ extended)  # of an array with itself BLAS computes one half only
