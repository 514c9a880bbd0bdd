"""The regularised objective of many models and its gradient, from one full pass over the records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, is_sparse
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.rows import Block, Preparation
from eigenline.algorithms.records import PairSum, Records


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What one pass found out about m models.

    Attributes
    ----------
    loss
        Mean loss over the records that a model is trained on, shape (m,), as it is reported.
    held_out_loss
        The same over the records of the model's own left-out fold; NaN where it leaves out none.
    smooth
        ``gradient_scale * loss + wd/2 |w|^2``, shape (m,): the differentiable part of the objective.
    gradient
        Of `smooth`, shape (feature_dim + 1, m * outputs), float64.
    """

    loss: NDArray[np.float64]
    held_out_loss: NDArray[np.float64]
    smooth: NDArray[np.float64]
    gradient: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Objective:
    """``gradient_scale * sum_i s_i c_i loss(f_i, y_i) / sum_i s_i + wd/2 |w|^2 + l1 |w|_1`` of each model.

    s_i is the record's own weight, c_i its class's. Parameters are normalised ones, the last row the bias.

    Attributes
    ----------
    records, preparation
        The records, and what turns them into blocks.
    loss, grid
        The loss; the models' hyperparameters.
    left_out
        The fold that each model does not see, shape (m,); -1 for none.
    outputs, use_bias
        Raw scores of one model; whether the bias may move.
    """

    records: Records
    preparation: Preparation
    loss: Loss
    grid: HyperparameterGrid
    left_out: NDArray[np.int64]
    outputs: int = 1
    use_bias: bool = True

    def __len__(self) -> int:
        return len(self.grid)

    def take(self, models: NDArray[np.intp]) -> Objective:
        """Return the objective of some of the models."""
        return replace(self, grid=self.grid.take(models), left_out=self.left_out[models])

    def effective(self, parameters: NDArray[np.float64]) -> Floats:
        """Return parameters for the features as blocks hold them, in the working precision."""
        preparation = self.preparation
        folded = preparation.scaler.fold(parameters) if preparation.folded else parameters
        return folded.astype(preparation.dtype)

    def evaluate(self, parameters: NDArray[np.float64], loss: Loss | None = None) -> Evaluation:
        """Make one pass: two products over all records and all models."""
        loss = loss or self.loss
        work = _LossWork(
            self.preparation,
            loss,
            self.grid,
            self.left_out,
            self.effective(parameters),
            self.outputs,
        )
        found = self.records.total(work)
        sums = found.sums.value
        sums[1] = np.maximum(sums[1], 1e-300)
        totals, products = found.totals.value, found.products.value
        folded = self.preparation.folded
        gradient = (
            self.preparation.scaler.fold_gradient(products, totals) if folded else np.vstack([products, totals])
        )
        gradient /= np.repeat(sums[1], self.outputs)
        return self._regularised(parameters, gradient, sums, loss.gradient_scale)

    def _regularised(
        self,
        parameters: NDArray[np.float64],
        gradient: NDArray[np.float64],
        sums: NDArray[np.float64],
        scale: float,
    ) -> Evaluation:
        wd = np.repeat(self.grid.wd, self.outputs)
        bias_wd = wd * np.repeat(self.grid.bias_wd_mult, self.outputs)
        gradient[:-1] += wd * parameters[:-1]
        gradient[-1] += bias_wd * parameters[-1]
        if not self.use_bias:
            gradient[-1] = 0
        squares = wd * np.einsum("dk,dk->k", parameters[:-1], parameters[:-1]) + bias_wd * parameters[-1] ** 2
        mean = sums[0] / sums[1]
        held_out = np.full_like(mean, np.nan)
        np.divide(sums[2], sums[3], out=held_out, where=sums[3] > 0)
        penalty = squares.reshape(-1, self.outputs).sum(axis=1) / 2
        return Evaluation(mean, held_out, scale * mean + penalty, gradient)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of the slopes times the features, of the slopes, and of losses and weights (seen, then left out)."""

    products: PairSum
    totals: PairSum
    sums: PairSum


@dataclass(frozen=True, eq=False)
class _LossWork:
    """Adds up losses and gradients of all models."""

    preparation: Preparation
    loss: Loss
    grid: HyperparameterGrid
    left_out: NDArray[np.int64]
    parameters: Floats
    outputs: int

    def begin(self) -> _Sums:
        width, columns = self.parameters.shape
        return _Sums(
            PairSum.zeros((width - 1, columns)), PairSum.zeros(columns), PairSum.zeros((4, len(self.left_out)))
        )

    def update(self, state: _Sums, batch: Batch, first: int) -> _Sums:
        block = self.preparation.block(batch, first)
        with np.errstate(all="ignore"):
            value, slope = loss_of_block(self.loss, block, self.parameters, self.grid, self.outputs)
            sums, factor = self._weigh(block, value)
            if factor is not None:
                slope *= factor
            slope = slope.reshape(len(slope), -1)
            # in this order BLAS is faster by a fifth: the slopes are few columns
            products = block.features.T @ slope if is_sparse(block.features) else (slope.T @ block.features).T
            state.products.add(np.asarray(products))
            state.totals.add(slope.sum(axis=0, dtype=np.float64))
            state.sums.add(sums)
        return state

    def merge(self, first: _Sums, second: _Sums) -> _Sums:
        first.products.merge(second.products)
        first.totals.merge(second.totals)
        first.sums.merge(second.sums)
        return first

    def _weigh(self, block: Block, value: Floats) -> tuple[NDArray[np.float64], Any]:
        """Return the block's losses and weights, and the factor of its slopes: weight, or 0 if left out."""
        weights = block.sample_weights
        sums = np.zeros((4, len(self.left_out)))
        if block.folds is None:
            base = np.ones(len(value), value.dtype) if weights is None else weights
            sums[0] = base @ value
            sums[1] = base.sum(dtype=np.float64)
            factor: Any = None if weights is None else base[:, None]
        else:
            fold = np.arange(self.preparation.folds + 1)  # the last one is the sample's
            member = (block.folds[:, None] == fold).astype(value.dtype)
            if weights is not None:
                member *= weights[:, None]
            losses, weight = member.T @ value, member.sum(axis=0, dtype=np.float64)
            left_out = (fold[:, None] == self.left_out).astype(np.float64)  # shape (folds, m)
            sums[2] = (losses * left_out).sum(axis=0)
            sums[0] = (losses * (1 - left_out)).sum(axis=0)
            sums[3] = weight @ left_out
            sums[1] = weight @ (1 - left_out)
            factor = member @ (1 - left_out).astype(value.dtype)  # each record's row has one entry that counts
        return sums, factor[:, :, None] if self.outputs > 1 and factor is not None else factor


def raw_scores(block: Block, parameters: Floats, outputs: int) -> Floats:
    """Return ``x @ w + b`` of all models, shape (n, m), or (n, m, outputs) for more than one output."""
    raw = np.asarray(block.features @ parameters[:-1])
    raw += parameters[-1]
    return raw.reshape(len(raw), -1, outputs) if outputs > 1 else raw


def loss_of_block(
    loss: Loss, block: Block, parameters: Floats, grid: HyperparameterGrid, outputs: int
) -> tuple[Floats, Floats]:
    """Return each record's loss (n, m) and slope under each model, class weights included."""
    value, slope = loss.value_and_gradient(raw_scores(block, parameters, outputs), block.labels)
    if block.class_weights is not None:
        value *= block.class_weights[:, None]
        slope *= block.class_weights[:, None, None]
    if np.any(grid.positive_example_weight != 1):
        factor = 1 + block.labels * (grid.positive_example_weight - 1).astype(value.dtype)
        value *= factor
        slope *= factor
    return value, slope
