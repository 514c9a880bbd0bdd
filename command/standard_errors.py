"""Standard errors of a linear model's coefficients: the sandwich of the loss's curvature and its gradients."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.model import LinearLearnerModel

_MOST_COEFFICIENTS: Final = 1000  # the curvature is a matrix of so many rows
_BLOCK_ROWS: Final = 4096
WITH_CURVATURE: Final = ("squared_loss", "logistic", "softmax_loss")


def standard_errors(
    model: LinearLearnerModel, batches: Callable[[], Iterable[Batch]], wd: float = 0.0
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return standard errors in raw and in standardised units, each of shape (feature_dim, num_outputs).

    The covariance of the coefficients is ``A^-1 B A^-1``: ``A = sum_i H_i + n wd I`` is the Hessian of the
    objective with its L2 penalty at the fitted coefficients, in standardised features, and ``B = sum_i g_i g_i'``
    the scatter of the gradients of the records' losses. They say how much coefficients would vary from sample to
    sample, not how far the penalty draws them to 0, and hold where the noise differs from record to record.

    None for losses whose curvature is not smooth (absolute, quantile, hinge, ...), sparse data, and more than
    1,000 coefficients.

    Source: Huber 1967; White 1982, Maximum likelihood estimation of misspecified models.

    Parameters
    ----------
    batches
        Returns one pass over the records that trained.
    wd
        Strength of the penalty, ``wd / 2`` times the squared standardised coefficients beside the mean loss.
    """
    d, outputs = model.weights.shape
    if model.loss not in WITH_CURVATURE or (d + 1) * outputs > _MOST_COEFFICIENTS:
        return None
    moments = _moments(batches())
    if moments is None:
        return None
    mean, deviation, count = moments
    size = (d + 1) * outputs
    curvature, scatter = np.zeros((size, size)), np.zeros((size, size))
    for batch in batches():
        for first in range(0, len(batch), _BLOCK_ROWS):
            rows = batch.rows(first, first + _BLOCK_ROWS)
            assert isinstance(rows.features, np.ndarray)
            assert rows.labels is not None
            standardised = np.ones((len(rows), d + 1))
            standardised[:, :d] = (rows.features - mean) / deviation
            raw = rows.features.astype(np.float64) @ model.weights.astype(np.float64) + model.bias
            gradient, weights = _derivatives(raw, rows.labels, model.loss)
            # Record i's gradient over all coefficients is the outer product of both: output by output.
            whole = (gradient[:, :, None] * standardised[:, None, :]).reshape(len(rows), size)
            scatter += whole.T @ whole
            for a in range(outputs):
                for b in range(outputs):
                    block = (standardised * weights[:, a, b, None]).T @ standardised
                    curvature[a * (d + 1) : (a + 1) * (d + 1), b * (d + 1) : (b + 1) * (d + 1)] += block
    penalty = np.full(size, count * wd)
    penalty[d :: d + 1] = 0  # the intercepts are not drawn to 0
    # Adding the same to every class's coefficients changes no probability: the pseudo-inverse leaves that out.
    inverse = np.linalg.pinv(curvature + np.diag(penalty), hermitian=True)
    variances = np.maximum(np.diag(inverse @ scatter @ inverse), 0).reshape(outputs, d + 1).T[:d]
    in_deviations = np.sqrt(variances)
    return in_deviations / deviation[:, None], in_deviations


def _moments(batches: Iterable[Batch]) -> tuple[NDArray[np.float64], NDArray[np.float64], int] | None:
    count, total, squares, shift = 0, np.zeros(1), np.zeros(1), np.zeros(1)
    for batch in batches:
        if not isinstance(batch.features, np.ndarray):
            return None
        features = batch.features.astype(np.float64)
        shift = features.mean(axis=0) if not count else shift
        count += len(batch)
        total = total + (features - shift).sum(axis=0)
        squares = squares + ((features - shift) ** 2).sum(axis=0)
    if count < 2:
        return None
    mean = total / count
    deviation = np.sqrt(np.maximum(squares / count - mean**2, 0))
    return shift + mean, np.where(deviation > 0, deviation, 1.0), count


def _derivatives(
    raw: NDArray[np.float64], labels: NDArray[np.floating], loss: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the first and second derivatives of each record's loss by its raw scores: (n, k) and (n, k, k)."""
    if loss == "squared_loss":
        return raw - labels[:, None], np.ones((len(raw), 1, 1))
    if loss == "logistic":
        decay = np.exp(-np.abs(raw))
        p = np.where(raw >= 0, 1, decay) / (1 + decay)
        return p - labels[:, None], (decay / (1 + decay) ** 2)[:, :, None]
    raised = np.exp(raw - raw.max(axis=1, keepdims=True))
    p = raised / raised.sum(axis=1, keepdims=True)
    own = labels.astype(np.intp)[:, None] == np.arange(raw.shape[1])
    return p - own, p[:, :, None] * (np.eye(raw.shape[1]) - p[:, None, :])


def write_table(names: Iterable[str], raw: NDArray[np.float64], standardised: NDArray[np.float64]) -> bytes:
    """Return ``standard_errors.csv``: one line a feature."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    outputs = raw.shape[1]
    labels = [""] if outputs == 1 else [f"_class_{k}" for k in range(outputs)]
    writer.writerow(["feature", *(f"coefficient{x}" for x in labels), *(f"standardised{x}" for x in labels)])
    for name, own, in_deviations in zip(names, raw.tolist(), standardised.tolist(), strict=True):
        writer.writerow([name, *(f"{value:.6g}" for value in (*own, *in_deviations))])
    return text.getvalue().encode()
