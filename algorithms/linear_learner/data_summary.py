"""The first pass over a channel: how many records, which labels, the features' means and deviations."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, is_sparse
from eigenline.algorithms.errors import DataError, excerpt
from eigenline.algorithms.linear_learner.scaling import Moments
from eigenline.algorithms.linear_learner.settings import Settings


@dataclass(frozen=True, eq=False)
class DataSummary:
    """What one pass over the training data finds.

    Attributes
    ----------
    rows, total_weight, row_bytes
        Number of records; the sum of their weights; the bytes of one in memory.
    feature_dim, sparse, column_names
        Shape and kind of the features.
    moments
        Of the records that the scaler is computed from.
    label_moments
        Of the same records' labels.
    class_weights
        Classification: total weight of the records of each class, shape (num_classes,).
    sorted_by_label
        Whether equal labels lie together, so that training in stored order would fail.
    """

    rows: int
    total_weight: float
    row_bytes: int
    feature_dim: int
    sparse: bool
    column_names: tuple[str, ...] | None
    moments: Moments
    label_moments: Moments
    class_weights: NDArray[np.float64] | None
    sorted_by_label: bool


def summarise(
    batches: Batches,
    settings: Settings,
    channel: str = "train",
    stopping: Callable[[], bool] = lambda: False,
) -> DataSummary:
    """Read all records once: check them, count them, and take the scaler's moments.

    In `aws` the scaler's records are read once more, because only the end of the first pass tells which
    mini-batch is the incomplete one that the service leaves out.

    Raises
    ------
    DataError
        For missing or impossible labels, values that are not finite, the wrong width, or no record at all.
    """
    rows, changes, last, total = 0, 0, np.nan, 0.0
    moments = _ScalerMoments(settings, _scaler_rows(settings))
    num_classes = 2 if settings.is_binary else settings.num_classes
    classes = None if settings.is_regression else np.zeros(num_classes)
    first: Batch | None = None
    for batch in _checked(batches, settings, channel):
        if first is None:
            first = batch
        labels = batch.labels
        assert labels is not None
        total += len(batch) if batch.weights is None else float(batch.weights.sum(dtype=np.float64))
        changes += int(np.count_nonzero(labels[1:] != labels[:-1])) + int(last != labels[0])
        last = float(labels[-1])
        if classes is not None:
            classes += np.bincount(labels.astype(np.intp), batch.weights, minlength=num_classes)
        if not settings.as_aws:
            moments.update(batch)
        rows += len(batch)
        if stopping():
            break
    if first is None or total <= 0:
        raise DataError(f"{channel}: holds no record" + (" of positive weight" if first is not None else ""))
    if settings.as_aws:
        whole = rows // settings.mini_batch_size * settings.mini_batch_size
        moments = _ScalerMoments(settings, min(_scaler_rows(settings), whole or rows))
        for batch in batches:
            moments.update(batch)
            if moments.left <= 0:
                break
    # of shuffled records, two neighbours differ with probability 1 - sum of squared shares
    expected = 0 if classes is None else (1 - np.sum((classes / total) ** 2)) * rows
    return DataSummary(
        rows,
        total,
        max(1, first.num_bytes // len(first)),
        first.feature_dim,
        is_sparse(first.features),
        first.column_names,
        moments.features,
        moments.labels,
        classes,
        rows >= 100 and changes < 0.1 * expected,
    )


class _ScalerMoments:
    """Moments of the first `left` records' features and, for regression, labels."""

    def __init__(self, settings: Settings, left: int) -> None:
        self.left = left
        self.features, self.labels = Moments(), Moments()
        self._of_labels = settings.is_regression

    def update(self, batch: Batch) -> None:
        if self.left <= 0:
            return
        part = batch if len(batch) <= self.left else batch.rows(0, self.left)
        self.left -= len(part)
        self.features.update(part.features, part.weights)
        if self._of_labels and part.labels is not None:
            self.labels.update(part.labels[:, None].astype(np.float64), part.weights)


def _scaler_rows(settings: Settings) -> int:
    """Records that the scaler sees: whole mini-batches in `aws`; all of them in `best` unless set.

    Chosen for `best`: the first 10,000 records of sorted data are not like the rest.
    """
    size = settings.mini_batch_size
    if settings.as_aws:
        return (settings.num_point_for_scaler // size + 1) * size  # the batch that passes the number is read whole
    return settings.num_point_for_scaler if settings.is_set("num_point_for_scaler") else 2**62


def _checked(batches: Iterable[Batch], settings: Settings, channel: str) -> Iterator[Batch]:
    rows = 0
    for batch in batches:
        if len(batch) == 0:
            continue
        check_batch(batch, settings, channel, rows)
        yield batch
        rows += len(batch)


def check_batch(batch: Batch, settings: Settings, channel: str, first_row: int) -> None:
    """Refuse a batch that cannot be trained on or scored, naming record, column and value."""
    if settings.feature_dim not in ("auto", batch.feature_dim):
        raise DataError(
            f"{channel}: records have {batch.feature_dim} features, but feature_dim is {settings.feature_dim}"
            + ("; is the label still among them?" if batch.feature_dim - 1 == settings.feature_dim else "")
        )
    if batch.labels is None:
        raise DataError(f"{channel}: records have no labels; Linear Learner needs one for each record")
    _check_labels(batch.labels, settings, channel, first_row)
    _check_finite(batch, channel, first_row)


def _check_labels(labels: NDArray[Any], settings: Settings, channel: str, first_row: int) -> None:
    if settings.is_regression:
        wrong, expected = ~np.isfinite(labels), "a finite number"
    else:
        top = 1 if settings.is_binary else settings.num_classes - 1
        with np.errstate(invalid="ignore"):
            wrong = ~((labels >= 0) & (labels <= top) & (labels == np.floor(labels)))
        expected = "0 or 1" if settings.is_binary else f"a whole number from 0 to {top} (num_classes - 1)"
    if wrong.any():
        row = int(np.argmax(wrong))
        hint = ""
        if settings.is_binary and set(np.unique(labels[:1000]).tolist()) <= {-1.0, 1.0}:
            hint = "; labels -1 and 1 must be sent as 0 and 1"
        elif not settings.is_regression and labels[row] == settings.num_outputs:
            hint = "; labels count from 0"
        raise DataError(
            f"{channel}: record {first_row + row + 1} has label {float(labels[row])!r}, expected {expected}{hint}"
        )


def _check_finite(batch: Batch, channel: str, first_row: int) -> None:
    features = batch.features
    with np.errstate(over="ignore", invalid="ignore"):
        sums = features @ np.ones(batch.feature_dim, features.dtype)
    if np.isfinite(sums).all():
        return
    for row in np.flatnonzero(~np.isfinite(sums)):
        one = batch.rows(int(row), int(row) + 1).features
        values = one.toarray()[0] if is_sparse(one) else np.asarray(one)[0]
        if np.isfinite(values).all():
            continue  # large values whose sum overflows
        column = int(np.argmax(~np.isfinite(values)))
        name = f" ({excerpt(batch.column_names[column])})" if batch.column_names else ""
        raise DataError(
            f"{channel}: record {first_row + int(row) + 1}, feature {column + 1}{name} is {values[column]}; "
            "expected a finite number. Fill or drop missing values before training"
        )
