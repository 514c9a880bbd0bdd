"""Losses and criteria of many models on records that they were not updated on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import raw_scores
from eigenline.algorithms.linear_learner.rows import Block
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.thresholds import Choice, choose_threshold, threshold_curve

# Scores that are kept for thresholds: so many bytes over all models, however many records there are.
SAMPLE_BYTES = 64_000_000


def mean_losses(
    blocks: Iterable[Block], loss: Loss, parameters: Floats, candidates: HyperparameterGrid, outputs: int
) -> NDArray[np.float64]:
    """Return the weighted mean loss of each model, shape (m,); class weights count, as in training."""
    from eigenline.algorithms.linear_learner.objective import loss_of_block

    total, weight = np.zeros(len(candidates)), 0.0
    with np.errstate(over="ignore", invalid="ignore"):
        for block in blocks:
            value, _ = loss_of_block(loss, block, parameters, candidates, outputs)
            if block.sample_weights is None:
                total += value.sum(axis=0, dtype=np.float64)
                weight += len(value)
            else:
                total += block.sample_weights @ value
                weight += float(block.sample_weights.sum(dtype=np.float64))
    return total / max(weight, 1e-300)


class ScoreSample:
    """Scores and labels of at most so many records, evenly spaced over a pass of any length.

    When it is full, every second record is let go and from then on half as many are taken: the sample
    is always the records 0, s, 2s, ... for some power of two s.
    """

    def __init__(self, limit: int) -> None:
        self._limit = max(limit, 2)
        self._stride, self._position, self._count = 1, 0, 0
        self._parts: list[tuple[Floats, Floats, Floats]] = []

    def __len__(self) -> int:
        return self._count

    def update(self, scores: Floats, labels: Floats, weights: Floats | None) -> None:
        """Add a block: scores (n, m), labels (n,), weights (n,) or None."""
        first = -self._position % self._stride
        self._position += len(scores)
        weight = np.ones(len(scores), np.float32) if weights is None else weights
        part = (scores[first :: self._stride], labels[first :: self._stride], weight[first :: self._stride])
        self._parts.append((part[0].copy(), part[1].copy(), part[2].copy()))
        self._count += len(part[0])
        while self._count > self._limit:
            joined = self.arrays()
            self._stride *= 2
            self._parts = [(joined[0][::2].copy(), joined[1][::2].copy(), joined[2][::2].copy())]
            self._count = len(self._parts[0][0])

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Return scores, labels and weights of the sample."""
        scores, labels, weights = zip(*self._parts, strict=True)
        return np.concatenate(scores), np.concatenate(labels), np.concatenate(weights)


def binary_sample(blocks: Iterable[Block], parameters: Floats, settings: Settings, models: int = 1) -> ScoreSample:
    """Return a sample of the scores (after the link) of all models."""
    allowed = 10_000_000 if settings.num_calibration_samples == "auto" else settings.num_calibration_samples
    sample = ScoreSample(min(allowed, SAMPLE_BYTES // (4 * models + 8)))
    for block in blocks:
        raw = raw_scores(block, parameters, 1)
        scores = link(raw, settings.resolved_loss).astype(np.float32)
        sample.update(scores, block.labels[:, 0], block.sample_weights)
    return sample


def link(raw: Floats, loss: str) -> Floats:
    """Return the score that is published for a raw score: the sigmoid for logistic, itself for others."""
    if loss != "logistic":
        return raw
    decay = np.exp(-np.abs(raw))
    return np.asarray(np.where(raw >= 0, 1, decay) / (1 + decay))


def choices(sample: ScoreSample, settings: Settings) -> list[Choice]:
    """Return each model's best threshold and the criterion's value there."""
    scores, labels, weights = sample.arrays()
    uniform = bool(np.all(weights == weights[0])) if len(weights) else True
    return [
        choose_threshold(threshold_curve(column, labels, None if uniform else weights), settings, 0.5)
        if np.isfinite(column).all()
        else Choice(0.5, -np.inf)
        for column in np.ascontiguousarray(scores.T)
    ]


def memory_bytes(feature_dim: int, columns: int, itemsize: int) -> int:
    """Return what the training state takes: parameters, gradient, two moments, two temporaries, a snapshot."""
    return int(7 * (feature_dim + 1) * columns * itemsize)


def spelled_bytes(count: float) -> str:
    """Return a number of bytes for people."""
    for unit in ("bytes", "KB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.3g} {unit}" if count < 1000 else f"{count:.4g} {unit}"
        count /= 1000
    raise AssertionError


def as_float32(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return values in float32, as artifacts keep them."""
    return np.asarray(values, np.float32)
