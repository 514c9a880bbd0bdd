"""The training records as the trainers want them, and full passes over them in blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, Features, is_sparse
from eigenline.algorithms.linear_learner.scaling import Scaler
from eigenline.algorithms.records import in_sample

# A block's features and scores should stay in the processor's cache, and outweigh Python's overhead.
BLOCK_BYTES = 4_000_000


@dataclass(frozen=True, eq=False)
class Block:
    """Some records.

    Attributes
    ----------
    features, labels
        Shapes (n, feature_dim) and (n, 1); labels in the scaler's units.
    sample_weights, class_weights, folds
        Shape (n,) or None: the records' own weights, those of their classes, and the folds they belong to.
    """

    features: Features
    labels: NDArray[Any]
    sample_weights: NDArray[Any] | None = None
    class_weights: NDArray[Any] | None = None
    folds: NDArray[np.int64] | None = None

    def rows(self, start: int, stop: int) -> Block:
        """Return records start..stop-1."""
        part = slice(start, stop)
        return Block(
            self.features[part],
            self.labels[part],
            None if self.sample_weights is None else self.sample_weights[part],
            None if self.class_weights is None else self.class_weights[part],
            None if self.folds is None else self.folds[part],
        )


@dataclass(frozen=True, eq=False)
class Preparation:
    """What turns a batch into what the trainers multiply. Picklable: it travels to where the records are.

    Attributes
    ----------
    scaler, dtype
        The normalisation; float32 or float64, what all products are taken in.
    class_weights
        Multiplies the loss of each class's records, shape (num_classes,); None weighs all alike.
    folds, seed
        Each record belongs to one of so many folds, by a hash of its position; 0 makes no folds.
    sampled
        Share of the records that the sample of `Records.sample` has. They belong to no fold, and get the number
        after the last fold's: a descent that starts from what they gave must not be evaluated on them.
    """

    scaler: Scaler
    dtype: type[np.floating[Any]]
    class_weights: NDArray[np.float64] | None = None
    folds: int = 0
    seed: int = 0
    sampled: float = 0.0

    @property
    def folded(self) -> bool:
        """Whether full passes see raw features, so that the scaler has to be folded into the weights."""
        return self.scaler.folds_exactly

    def block(self, batch: Batch, first: int) -> Block:
        """Return a batch whose first record stands at position `first`; features raw where `folded`."""
        folds = None
        if self.folds:
            positions = np.arange(first, first + len(batch))
            folds = fold_of(positions, self.folds, self.seed)
            if self.sampled:
                folds[in_sample(positions, self.sampled)] = self.folds
        return self.normalised(batch, folds, normalise=not self.folded)

    def normalised(self, batch: Batch, folds: NDArray[np.int64] | None, *, normalise: bool) -> Block:
        """Return a batch with its features normalised or raw, its labels in the scaler's units."""
        assert batch.labels is not None
        if normalise:
            features = self.scaler.normalise(batch.features, self.dtype)
        else:
            features = batch.features.astype(self.dtype, copy=False)
        of_class = None
        if self.class_weights is not None:
            of_class = self.class_weights[batch.labels.astype(np.intp)].astype(self.dtype)
        return Block(
            features,
            self.scaler.normalise_labels(batch.labels, self.dtype),
            None if batch.weights is None else batch.weights.astype(self.dtype, copy=False),
            of_class,
            folds,
        )


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """A channel with everything that turns its records into what the trainers multiply.

    Attributes
    ----------
    batches, scaler, dtype
        The channel; its normalisation; float32 or float64, what all products are taken in.
    class_weights
        Multiplies the loss of each class's records, shape (num_classes,); None weighs all alike.
    folds
        Each record belongs to one of so many folds, by a hash of its position; 0 makes no folds.
    seed, stopping
        For hash and shuffling; whether to break off.
    """

    batches: Batches
    scaler: Scaler
    dtype: type[np.floating[Any]]
    class_weights: NDArray[np.float64] | None = None
    folds: int = 0
    seed: int = 0
    stopping: Callable[[], bool] = lambda: False

    @property
    def folded(self) -> bool:
        """Whether full passes yield raw features, so that the scaler has to be folded into the weights."""
        return self.scaler.folds_exactly

    def blocks(self) -> Iterator[Block]:
        """Yield all records once in stored order; features raw where `folded`, else normalised."""
        start = 0
        for batch in self.batches:
            if len(batch) == 0:
                continue
            size = _block_rows(batch)
            for first in range(0, len(batch), size):
                part = batch.rows(first, first + size)
                folds = fold_of(np.arange(start, start + len(part)), self.folds, self.seed) if self.folds else None
                start += len(part)
                yield self.block(part, folds, normalise=not self.folded)

    def block(self, batch: Batch, folds: NDArray[np.int64] | None, *, normalise: bool) -> Block:
        """Return a batch as the trainers multiply it: features normalised or raw, labels in the scaler's units."""
        return self.preparation.normalised(batch, folds, normalise=normalise)

    @property
    def preparation(self) -> Preparation:
        """The same without the records."""
        return Preparation(self.scaler, self.dtype, self.class_weights, self.folds, self.seed)


def _block_rows(batch: Batch) -> int:
    """Return how many records make a block; of wide sparse ones more, as each block costs O(feature_dim)."""
    row_bytes = max(1, batch.num_bytes // len(batch))
    if is_sparse(batch.features):
        return max(4096, min(64 * batch.feature_dim, 16 * BLOCK_BYTES) // row_bytes)
    return max(64, min(4096, BLOCK_BYTES // row_bytes))


def fold_of(positions: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return which fold each record belongs to: a hash of its position, the same in every pass.

    Source: the finaliser of splitmix64 (Steele, Lea and Flood 2014); its output bits are uniform.
    """
    bits = positions.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)
