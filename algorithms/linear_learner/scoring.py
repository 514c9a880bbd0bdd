"""Losses and criteria of many models on records that they were not updated on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.hyperparameter_grid import HyperparameterGrid
from eigenline.algorithms.linear_learner.losses import Floats, Loss
from eigenline.algorithms.linear_learner.objective import raw_scores
from eigenline.algorithms.linear_learner.rows import Block, Preparation
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.linear_learner.thresholds import Choice, choose_threshold, threshold_curve
from eigenline.algorithms.records import InOrder, Records, Stopped

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
        self._stride, self._next, self._count = 1, 0, 0
        self._parts: InOrder[tuple[Floats, Floats, Floats]] = InOrder()

    def __len__(self) -> int:
        return self._count

    def update(self, scores: Floats, labels: Floats, weights: Floats | None, first: int | None = None) -> None:
        """Add a block: scores (n, m), labels (n,), weights (n,) or None, position or None for the next ones."""
        first = self._next if first is None else first
        self._next = first + len(scores)
        weight = np.ones(len(scores), np.float32) if weights is None else weights
        start = -first % self._stride
        self._keep(first + start, (scores[start:], labels[start:], weight[start:]), self._stride)
        self._shrink()

    def merge(self, other: ScoreSample) -> None:
        """Add a sample of other records."""
        for sample in (self, other):
            while sample._stride < max(self._stride, other._stride):
                sample._halve()
        self._parts.merge(other._parts)
        self._count += other._count
        self._shrink()

    def arrays(self) -> tuple[Floats, Floats, Floats]:
        """Return scores, labels and weights of the sample."""
        scores, labels, weights = zip(*self._parts.values, strict=True)
        return np.concatenate(scores), np.concatenate(labels), np.concatenate(weights)

    def _keep(self, first: int, part: tuple[Floats, Floats, Floats], step: int) -> None:
        scores, labels, weights = part
        if len(labels):
            self._parts.add(first, (scores[::step].copy(), labels[::step].copy(), weights[::step].copy()))
            self._count += -(-len(labels) // step)

    def _shrink(self) -> None:
        while self._count > self._limit:
            self._halve()

    def _halve(self) -> None:
        """Let go of every record whose position is no multiple of the stride's double."""
        parts, before = self._parts.items, self._stride
        self._stride, self._count, self._parts = 2 * before, 0, InOrder()
        for first, (scores, labels, weights) in parts:
            start = int(first % self._stride != 0)
            self._keep(first + start * before, (scores[start:], labels[start:], weights[start:]), 2)


def binary_sample(blocks: Iterable[Block], parameters: Floats, settings: Settings, models: int = 1) -> ScoreSample:
    """Return a sample of the scores (after the link) of all models."""
    sample = ScoreSample(_limit(settings, models))
    for block in blocks:
        raw = raw_scores(block, parameters, 1)
        scores = link(raw, settings.resolved_loss).astype(np.float32)
        sample.update(scores, block.labels[:, 0], block.sample_weights)
    return sample


def _limit(settings: Settings, models: int) -> int:
    allowed = 10_000_000 if settings.num_calibration_samples == "auto" else settings.num_calibration_samples
    return min(allowed, SAMPLE_BYTES // (4 * models + 8))


def calibration_sample(
    records: Records, preparation: Preparation, parameters: Floats, settings: Settings
) -> ScoreSample:
    """Return a sample of one model's scores (after the link) of a channel, or of what was read before a stop."""
    try:
        return records.total(_SampleWork(preparation, parameters, settings.resolved_loss, _limit(settings, 1)))
    except Stopped as stop:
        return stop.partial if isinstance(stop.partial, ScoreSample) else ScoreSample(2)


@dataclass(frozen=True, eq=False)
class _SampleWork:
    """Collects scores."""

    preparation: Preparation
    parameters: Floats
    loss: str
    limit: int

    def begin(self) -> ScoreSample:
        return ScoreSample(self.limit)

    def update(self, state: ScoreSample, batch: Batch, first: int) -> ScoreSample:
        block = self.preparation.block(batch, first)
        scores = link(raw_scores(block, self.parameters, 1), self.loss).astype(np.float32)
        state.update(scores, block.labels[:, 0], block.sample_weights, first)
        return state

    def merge(self, first: ScoreSample, second: ScoreSample) -> ScoreSample:
        first.merge(second)
        return first


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
    """Return values in float32, as artifacts keep them; those beyond its range become infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float32)
