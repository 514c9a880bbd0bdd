"""The regularised objective of many models and its gradient, from one full pass over the records."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.blas_threads import in_order
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.rows import Block, TrainingRows


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
    rows, loss, candidates
        The records; the loss; the models' hyperparameters.
    left_out
        The fold that each model does not see, shape (m,); -1 for none.
    outputs, use_bias, threads
        Raw scores of one model; whether the bias may move; threads that share the blocks of a pass. Each block's
        sums are added in order, so the number of threads changes no bit.
    """

    rows: TrainingRows
    loss: Loss
    candidates: HyperparameterGrid
    left_out: NDArray[np.int64]
    outputs: int = 1
    use_bias: bool = True
    threads: int = 1

    def evaluate(self, parameters: NDArray[np.float64], loss: Loss | None = None) -> Evaluation:
        """Make one pass: two products over all records and all models."""
        loss = loss or self.loss
        m = len(self.candidates)
        scaler, folded = self.rows.scaler, self.rows.folded
        effective = (scaler.fold(parameters) if folded else parameters).astype(self.rows.dtype)
        products = np.zeros((len(parameters) - 1, parameters.shape[1]))
        totals = np.zeros(parameters.shape[1])
        sums = np.zeros((4, m))  # loss and weight of seen records, loss and weight of left-out ones

        def measure(block: Block) -> tuple[Floats, NDArray[np.float64], NDArray[np.float64]]:
            value, slope = loss_of_block(loss, block, effective, self.candidates, self.outputs)
            tally = np.zeros_like(sums)
            slope *= self._tally(block, value, tally)
            slope = slope.reshape(len(slope), -1)
            return block.features.T @ slope, slope.sum(axis=0, dtype=np.float64), tally

        for product, total, tally in in_order(measure, self.rows.blocks(), self.threads):
            products += product
            totals += total
            sums += tally
            if self.rows.stopping():
                break  # what is returned then is not used
        sums[1] = np.maximum(sums[1], 1e-300)  # a pass that was cut short may have seen nothing
        per_column = np.repeat(sums[1], self.outputs)
        gradient = scaler.fold_gradient(products, totals) if folded else np.vstack([products, totals])
        gradient /= per_column
        return self._regularised(parameters, gradient, sums, loss.gradient_scale)

    def _tally(self, block: Block, value: Floats, sums: NDArray[np.float64]) -> Any:
        """Add a block's losses to the sums and return the factor of its slopes: weight, or 0 if left out."""
        weights = block.sample_weights
        if block.folds is None:
            base = np.ones(len(value), value.dtype) if weights is None else weights
            sums[0] += base @ value
            sums[1] += base.sum(dtype=np.float64)
            factor: Any = 1.0 if weights is None else base[:, None]
        else:
            fold = np.arange(self.rows.folds)
            member = (block.folds[:, None] == fold).astype(value.dtype)
            if weights is not None:
                member *= weights[:, None]
            losses, weight = member.T @ value, member.sum(axis=0, dtype=np.float64)
            left_out = (fold[:, None] == self.left_out).astype(np.float64)  # shape (folds, m)
            sums[2] += (losses * left_out).sum(axis=0)
            sums[0] += (losses * (1 - left_out)).sum(axis=0)
            sums[3] += weight @ left_out
            sums[1] += weight @ (1 - left_out)
            factor = member @ (1 - left_out).astype(value.dtype)  # each record's row has one entry that counts
        return factor[:, :, None] if self.outputs > 1 and np.ndim(factor) else factor

    def _regularised(
        self,
        parameters: NDArray[np.float64],
        gradient: NDArray[np.float64],
        sums: NDArray[np.float64],
        scale: float,
    ) -> Evaluation:
        wd = np.repeat(self.candidates.wd, self.outputs)
        bias_wd = wd * np.repeat(self.candidates.bias_wd_mult, self.outputs)
        gradient[:-1] += wd * parameters[:-1]
        gradient[-1] += bias_wd * parameters[-1]
        if not self.use_bias:
            gradient[-1] = 0
        squares = wd * np.einsum("dk,dk->k", parameters[:-1], parameters[:-1]) + bias_wd * parameters[-1] ** 2
        mean = sums[0] / sums[1]
        with np.errstate(invalid="ignore"):
            held_out = sums[2] / sums[3]
        return Evaluation(mean, held_out, scale * mean + self._per_model(squares) / 2, gradient)

    def _per_model(self, columns: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(columns.reshape(-1, self.outputs).sum(axis=1))

    def scores(self, parameters: NDArray[np.float64]) -> Iterator[tuple[Block, Floats]]:
        """Yield every block with the raw scores of all models, shape (n, m) or (n, m, outputs)."""
        scaler = self.rows.scaler
        effective = (scaler.fold(parameters) if self.rows.folded else parameters).astype(self.rows.dtype)

        def score(block: Block) -> tuple[Block, Floats]:
            return block, raw_scores(block, effective, self.outputs)

        yield from in_order(score, self.rows.blocks(), self.threads)


def raw_scores(block: Block, parameters: Floats, outputs: int) -> Floats:
    """Return ``x @ w + b`` of all models, shape (n, m), or (n, m, outputs) for more than one output."""
    raw = np.asarray(block.features @ parameters[:-1])
    raw += parameters[-1]
    return raw.reshape(len(raw), -1, outputs) if outputs > 1 else raw


def loss_of_block(
    loss: Loss, block: Block, parameters: Floats, candidates: HyperparameterGrid, outputs: int
) -> tuple[Floats, Floats]:
    """Return each record's loss (n, m) and slope under each model, class weights included."""
    value, slope = loss.value_and_gradient(raw_scores(block, parameters, outputs), block.labels)
    if block.class_weights is not None:
        value *= block.class_weights[:, None]
        slope *= block.class_weights[:, None, None]
    weight = candidates.positive_example_weight
    if np.any(weight != 1):
        factor = 1 + block.labels * (weight - 1).astype(value.dtype)
        value *= factor
        slope *= factor
    return value, slope
