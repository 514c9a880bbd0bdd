"""The one shape in which data travels: a batch of records, and a data set as repeated passes over batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # scipy.sparse costs 0.3 s to import; dense jobs and requests never need it
    from scipy.sparse import csr_array

DenseArray: TypeAlias = NDArray[np.floating[Any]]
Features: TypeAlias = "DenseArray | csr_array"


def is_sparse(features: Features) -> TypeGuard[csr_array]:
    """Tell whether features are a `scipy.sparse.csr_array`, without importing scipy."""
    return not isinstance(features, np.ndarray)


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Some consecutive records of a data set.

    A batch owns its memory or views memory that stays as it is: it remains valid after the next one was read.

    Attributes
    ----------
    features
        Shape (n, feature_dim), float32 or float64, C-contiguous rows; or a CSR array of the same.
    labels
        Shape (n,), or None where the data carry none.
    weights
        Shape (n,), the weight of each record's loss; None counts every record once.
    column_names
        The features' names in order, where the data had a header.
    """

    features: Features
    labels: DenseArray | None = None
    weights: DenseArray | None = None
    column_names: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        return int(self.features.shape[1])

    @property
    def num_bytes(self) -> int:
        """Bytes that the batch's arrays span."""
        arrays: list[NDArray[Any] | None] = [self.labels, self.weights]
        if isinstance(self.features, np.ndarray):
            arrays.append(self.features)
        else:
            arrays += [self.features.data, self.features.indices, self.features.indptr]
        return sum(array.nbytes for array in arrays if array is not None)

    def rows(self, start: int, stop: int) -> Batch:
        """Return records start..stop-1 as a batch; of dense features a view, not a copy."""
        return Batch(
            self.features[start:stop],
            None if self.labels is None else self.labels[start:stop],
            None if self.weights is None else self.weights[start:stop],
            self.column_names,
        )

    def every(self, step: int, start: int = 0) -> Batch:
        """Return records start, start + step, ... as a batch; of dense features a view."""
        features: Any = self.features
        return Batch(
            features[start::step],
            None if self.labels is None else self.labels[start::step],
            None if self.weights is None else self.weights[start::step],
            self.column_names,
        )

    def contiguous(self) -> Batch:
        """Return the batch itself where its arrays are contiguous and aligned, otherwise one with copies of them.

        Products of strided rows cost up to three times as much, and picking rows of them copies them all.
        """
        arrays: list[NDArray[Any] | None] = [self.labels, self.weights]
        features = self.features
        if isinstance(features, np.ndarray):
            arrays.append(features)
        else:
            arrays += [features.data, features.indices, features.indptr]
        if all(array is None or (array.flags.c_contiguous and array.flags.aligned) for array in arrays):
            return self
        return Batch(
            _contiguous(features) if isinstance(features, np.ndarray) else features.copy(),
            None if self.labels is None else _contiguous(self.labels),
            None if self.weights is None else _contiguous(self.weights),
            self.column_names,
        )


class Batches(Protocol):
    """A data set that is read in batches: each `iter()` begins one full pass, in stored order.

    How many records a batch holds is the reader's choice (what suits memory and BLAS); whoever needs an
    exact `mini_batch_size` takes the passes apart with `rebatch`.
    """

    def __iter__(self) -> Iterator[Batch]: ...


class HeldBatches:
    """A data set that keeps its batches from the first pass on, as long as they fit in `limit_bytes`.

    The first complete pass decides: either everything is held and later passes read memory, or nothing is
    and every pass reads the source again. What is held is contiguous and aligned: a batch that views a file or
    a buffer, its rows apart, is copied once, and lets the view go.
    """

    def __init__(self, source: Iterable[Batch], limit_bytes: float = float("inf")) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._held: list[Batch] | None = None

    @property
    def held(self) -> list[Batch] | None:
        """All batches, where they fitted in memory and one pass has been completed; otherwise None."""
        return self._held

    def release(self) -> None:
        """Keep nothing from now on: for readers that find in the midst of a pass that it is the last."""
        self._limit_bytes = -1
        self._held = None

    def __iter__(self) -> Iterator[Batch]:
        if self._held is not None:
            yield from self._held
            return
        kept: list[Batch] | None = []
        num_bytes = 0
        for batch in self._source:
            num_bytes += batch.num_bytes
            if num_bytes > self._limit_bytes:
                kept = None
            if kept is not None:
                batch = batch.contiguous()
                kept.append(batch)
            yield batch
        if kept is not None:
            self._held = kept
        else:
            self._limit_bytes = -1  # it did not fit once, so no later pass keeps anything


def rebatch(batches: Iterable[Batch], size: int) -> Iterator[Batch]:
    """Cut a pass into batches of exactly `size` records; only the last one may be smaller.

    Pieces that lie within one batch of the source are views; a piece that spans two is a copy.
    """
    pending: list[Batch] = []
    count = 0
    for batch in batches:
        start = 0
        while len(batch) - start >= size - count:
            stop = start + size - count
            yield concatenate([*pending, batch.rows(start, stop)])
            pending, count, start = [], 0, stop
        if start < len(batch):
            pending.append(batch.rows(start, len(batch)))
            count += len(batch) - start
    if pending:
        yield concatenate(pending)


def concatenate(batches: list[Batch]) -> Batch:
    """Join batches of one data set into one; a single batch is returned as it is."""
    if len(batches) == 1:
        return batches[0]
    first = batches[0]
    return Batch(
        _stack([batch.features for batch in batches]),
        None if first.labels is None else np.concatenate([b.labels for b in batches if b.labels is not None]),
        None if first.weights is None else np.concatenate([b.weights for b in batches if b.weights is not None]),
        first.column_names,
    )


def _contiguous(array: DenseArray) -> DenseArray:
    return np.require(array, requirements=["C_CONTIGUOUS", "ALIGNED"])


def _stack(parts: list[Features]) -> Features:
    dense = [part for part in parts if isinstance(part, np.ndarray)]
    if len(dense) == len(parts):
        return np.concatenate(dense)
    from scipy.sparse import csr_array, vstack

    return csr_array(vstack([csr_array(part) for part in parts], format="csr"))
