"""The training records as the trainers want them: full passes in blocks, and epochs of mini-batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, Features, concatenate, is_sparse, rebatch
from eigenline.algorithms.linear_learner.scaler import Scaler

# A block's features and scores should stay in the processor's cache, and outweigh Python's overhead.
BLOCK_BYTES = 4_000_000
# Records of a stream that are shuffled among each other, and blocks of a held data set.
WINDOW_BYTES = 48_000_000
WINDOW_BLOCKS = 16
CHUNK_ROWS = 2048


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
                yield self._block(part, folds, normalise=not self.folded)

    def minibatches(self, size: int, epoch: int, left_out: int | None = None) -> Iterator[Block]:
        """Yield one epoch of shuffled mini-batches of normalised records, without those of one fold.

        What is in memory is shuffled as a whole as long as it has few blocks; more blocks, and streams,
        are shuffled in windows of several blocks. The last batch may be smaller.
        """
        generator = np.random.default_rng([self.seed, epoch])
        for window, positions in self._windows(generator):
            if left_out is not None:
                positions = positions[fold_of(positions, self.folds, self.seed) != left_out]
            else:
                positions = positions.copy()
            first_positions = [start for start, _ in window]
            generator.shuffle(positions)
            chunk = max(1, CHUNK_ROWS // size) * size
            for start in range(0, len(positions), chunk):
                picked = _gather(window, first_positions, positions[start : start + chunk])
                yield from self._split(picked, size)
            del window, positions  # before the next window of a stream is read

    def minibatches_in_order(self, size: int) -> Iterator[Block]:
        """Yield one epoch of mini-batches in stored order, all of exactly `size` records."""
        for chunk in rebatch(self.batches, max(1, CHUNK_ROWS // size) * size):
            whole = len(chunk) // size * size
            if whole:
                yield from self._split(chunk.rows(0, whole), size)

    def _split(self, batch: Batch, size: int) -> Iterator[Block]:
        block = self._block(batch, None, normalise=True)
        for start in range(0, len(batch), size):
            if self.stopping():
                return
            yield block.rows(start, start + size)

    def _block(self, batch: Batch, folds: NDArray[np.int64] | None, *, normalise: bool) -> Block:
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

    def _windows(
        self, generator: np.random.Generator
    ) -> Iterator[tuple[list[tuple[int, Batch]], NDArray[np.int64]]]:
        held = getattr(self.batches, "held", None)
        if held is None:
            yield from self._stream_windows()
            return
        starts = np.cumsum([0, *(len(batch) for batch in held)])
        order = np.arange(len(held)) if len(held) <= WINDOW_BLOCKS else generator.permutation(len(held))
        for first in range(0, len(order), WINDOW_BLOCKS):
            chosen = np.sort(order[first : first + WINDOW_BLOCKS])
            yield _window([(int(starts[i]), held[i]) for i in chosen])

    def _stream_windows(self) -> Iterator[tuple[list[tuple[int, Batch]], NDArray[np.int64]]]:
        pending: list[tuple[int, Batch]] = []
        start, num_bytes = 0, 0
        for batch in self.batches:
            pending.append((start, batch))
            start += len(batch)
            num_bytes += batch.num_bytes
            if num_bytes >= WINDOW_BYTES:
                yield _window(pending)
                pending, num_bytes = [], 0
        if pending:
            yield _window(pending)


def _block_rows(batch: Batch) -> int:
    """Return how many records make a block; of wide sparse ones more, as each block costs O(feature_dim)."""
    row_bytes = max(1, batch.num_bytes // len(batch))
    if is_sparse(batch.features):
        return max(4096, min(64 * batch.feature_dim, 16 * BLOCK_BYTES) // row_bytes)
    return max(64, min(4096, BLOCK_BYTES // row_bytes))


def _window(blocks: list[tuple[int, Batch]]) -> tuple[list[tuple[int, Batch]], NDArray[np.int64]]:
    return blocks, np.concatenate([np.arange(start, start + len(batch)) for start, batch in blocks])


def _gather(window: list[tuple[int, Batch]], starts: list[int], positions: NDArray[np.int64]) -> Batch:
    """Copy the records at these positions of the data set, in this order."""
    if len(window) == 1:
        return _take(window[0][1], positions - window[0][0])
    which = np.searchsorted(starts, positions, side="right") - 1
    order = np.argsort(which, kind="stable")
    parts = [
        _take(batch, positions[order[which[order] == i]] - start)
        for i, (start, batch) in enumerate(window)
        if (which == i).any()
    ]
    inverse = np.empty_like(order)
    inverse[order] = np.arange(len(order))
    return _take(concatenate(parts), inverse)


def _take(batch: Batch, rows: NDArray[np.int64]) -> Batch:
    features: Any = batch.features
    return Batch(
        features[rows] if is_sparse(features) else np.take(features, rows, axis=0),
        None if batch.labels is None else batch.labels[rows],
        None if batch.weights is None else batch.weights[rows],
        batch.column_names,
    )


def fold_of(positions: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Return which fold each record belongs to: a hash of its position, the same in every pass.

    Source: the finaliser of splitmix64 (Steele, Lea and Flood 2014); its output bits are uniform.
    """
    bits = positions.astype(np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 0x632BE59BD9B4E019) % 2**64)
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((bits ^ (bits >> np.uint64(31))) % np.uint64(folds)).astype(np.int64)
