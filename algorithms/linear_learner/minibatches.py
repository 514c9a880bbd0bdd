"""Epochs of mini-batches: shuffled ones, and those of the stored order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, concatenate, is_sparse, rebatch
from eigenline.algorithms.linear_learner.rows import Block, TrainingRows, fold_of

# Records of a stream that are shuffled among each other, and blocks of a held data set.
WINDOW_BYTES = 48_000_000
WINDOW_BLOCKS = 16
CHUNK_ROWS = 2048


def shuffled_minibatches(
    rows: TrainingRows, size: int, epoch: int, left_out: int | None = None
) -> Iterator[Block]:
    """Yield one epoch of shuffled mini-batches of normalised records, without those of one fold.

    What is in memory is shuffled as a whole as long as it has few blocks; more blocks, and streams,
    are shuffled in windows of several blocks. The last batch may be smaller.
    """
    generator = np.random.default_rng([rows.seed, epoch])
    for window, positions in _windows(rows.batches, generator):
        if left_out is not None:
            positions = positions[fold_of(positions, rows.folds, rows.seed) != left_out]
        else:
            positions = positions.copy()
        first_positions = [start for start, _ in window]
        generator.shuffle(positions)
        chunk = max(1, CHUNK_ROWS // size) * size
        for start in range(0, len(positions), chunk):
            picked = _gather(window, first_positions, positions[start : start + chunk])
            yield from _split(rows, picked, size)
        del window, positions  # before the next window of a stream is read


def ordered_minibatches(rows: TrainingRows, size: int) -> Iterator[Block]:
    """Yield one epoch of mini-batches in stored order, all of exactly `size` records."""
    for chunk in rebatch(rows.batches, max(1, CHUNK_ROWS // size) * size):
        whole = len(chunk) // size * size
        if whole:
            yield from _split(rows, chunk.rows(0, whole), size)


def _split(rows: TrainingRows, batch: Batch, size: int) -> Iterator[Block]:
    block = rows.block(batch, None, normalise=True)
    for start in range(0, len(batch), size):
        if rows.stopping():
            return
        yield block.rows(start, start + size)


def _windows(
    batches: Batches, generator: np.random.Generator
) -> Iterator[tuple[list[tuple[int, Batch]], NDArray[np.int64]]]:
    held = getattr(batches, "held", None)
    if held is None:
        yield from _stream_windows(batches)
        return
    starts = np.cumsum([0, *(len(batch) for batch in held)])
    order = np.arange(len(held)) if len(held) <= WINDOW_BLOCKS else generator.permutation(len(held))
    for first in range(0, len(order), WINDOW_BLOCKS):
        chosen = np.sort(order[first : first + WINDOW_BLOCKS])
        yield _window([(int(starts[i]), held[i]) for i in chosen])


def _stream_windows(batches: Batches) -> Iterator[tuple[list[tuple[int, Batch]], NDArray[np.int64]]]:
    pending: list[tuple[int, Batch]] = []
    start, num_bytes = 0, 0
    for batch in batches:
        pending.append((start, batch))
        start += len(batch)
        num_bytes += batch.num_bytes
        if num_bytes >= WINDOW_BYTES:
            yield _window(pending)
            pending, num_bytes = [], 0
    if pending:
        yield _window(pending)


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
