"""Builds batches of some megabytes from rows that come in small parts."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch

_BATCH_BYTES: Final = 8 << 20  # enough for BLAS, and for numpy to request huge pages


class BatchBuilder:
    """Copies dense float32 parts one after the other into memory that becomes a batch."""

    def __init__(self) -> None:
        self._features: NDArray[np.float32] = np.zeros((0, 0), np.float32)
        self._labels: NDArray[np.float32] | None = None
        self._column_names: tuple[str, ...] | None = None
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    def has_room(self, part: Batch) -> bool:
        """Return whether a part fits into the batch that is being built."""
        return self._rows + len(part) <= len(self._features)

    def add(self, part: Batch) -> None:
        """Copy a part; where it does not fit, the batch must have been finished before."""
        assert isinstance(part.features, np.ndarray)
        if not self._rows:
            rows = max(len(part), _BATCH_BYTES // (4 * part.feature_dim))
            self._features = np.empty((rows, part.feature_dim), np.float32)
            self._labels = None if part.labels is None else np.empty(rows, np.float32)
        stop = self._rows + len(part)
        self._features[self._rows : stop] = part.features
        if self._labels is not None:
            self._labels[self._rows : stop] = part.labels
        self._column_names, self._rows = part.column_names, stop

    def finish(self) -> Batch:
        """Return the batch, and begin the next."""
        labels = None if self._labels is None else self._labels[: self._rows]
        batch = Batch(self._features[: self._rows], labels, column_names=self._column_names)
        self._features, self._labels, self._rows = np.zeros((0, 0), np.float32), None, 0
        return batch
