"""The first pass over a channel: how many records, which labels, the features' means and deviations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch, Batches, is_sparse
from eigenline.algorithms.errors import DataError, Stopped, excerpt
from eigenline.algorithms.linear_learner.scaling import Moments
from eigenline.algorithms.linear_learner.settings import Settings
from eigenline.algorithms.records import InOrder, PairSum, Records, as_records

_WHOLE_BATCHES: Final = 1 << 62  # bytes of a block


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
    source: Batches | Records,
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
    Stopped
        Where the job was asked to stop before there was a record.
    """
    records = as_records(source, stopping)
    head = records.head()
    if head is None:
        raise DataError(f"{channel}: holds no record")
    check_batch(head, settings, channel, 0)
    work = _SummaryWork(settings, channel, *_first_record(head))
    try:
        found = records.total(work, block_bytes=_WHOLE_BATCHES)
    except Stopped as stop:
        if stop.partial is None or not stop.partial.pieces.items:
            raise
        found = stop.partial
    pieces = found.pieces.values
    rows, total = sum(piece.rows for piece in pieces), float(found.weight.value)
    if total <= 0:
        raise DataError(f"{channel}: holds no record of positive weight")
    features, labels = found.features, found.labels
    if settings.as_aws:
        assert not isinstance(source, Records)
        whole = rows // settings.mini_batch_size * settings.mini_batch_size
        features, labels = _moments_of_first(source, settings, min(_scaler_rows(settings), whole or rows))
    classes = None if found.classes is None else found.classes.value
    changes = sum(piece.changes for piece in pieces)
    changes += sum(one.last != two.first for one, two in pairwise(pieces))
    # of shuffled records, two neighbours differ with probability 1 - sum of squared shares
    expected = 0 if classes is None else (1 - np.sum((classes / total) ** 2)) * rows
    return DataSummary(
        rows,
        total,
        max(1, pieces[0].num_bytes // pieces[0].rows),
        head.feature_dim,
        is_sparse(head.features),
        head.column_names,
        features,
        labels,
        classes,
        rows >= 100 and 1 + changes < 0.1 * expected,
    )


class _Piece(NamedTuple):
    """What is known of a block: its size, its first and last label, and how often neighbours differ in it."""

    rows: int
    num_bytes: int
    first: float
    last: float
    changes: int


@dataclass(frozen=True, eq=False)
class _Summary:
    """What `_SummaryWork` adds up."""

    pieces: InOrder[_Piece]
    weight: PairSum
    classes: PairSum | None
    features: Moments
    labels: Moments


@dataclass(frozen=True, eq=False)
class _SummaryWork:
    """The work of the first pass: checks, counts and moments.

    Attributes
    ----------
    settings, channel
        The request; what errors call the records.
    first_features, first_label
        Of the first record, what sums are taken relative to; None for zero.
    """

    settings: Settings
    channel: str
    first_features: NDArray[Any] | None
    first_label: NDArray[Any]

    def begin(self) -> _Summary:
        settings = self.settings
        classes = (
            None if settings.is_regression else PairSum.zeros(2 if settings.is_binary else settings.num_classes)
        )
        moments = Moments(self.first_features), Moments(self.first_label)
        return _Summary(InOrder(), PairSum.zeros(()), classes, *moments)

    def update(self, state: _Summary, batch: Batch, first: int) -> _Summary:
        settings, labels = self.settings, batch.labels
        check_batch(batch, settings, self.channel, first)
        assert labels is not None
        weight = len(batch) if batch.weights is None else batch.weights.sum(dtype=np.float64)
        state.weight.add(np.asarray(weight, np.float64))
        changes = int(np.count_nonzero(labels[1:] != labels[:-1]))
        piece = _Piece(len(batch), batch.num_bytes, float(labels[0]), float(labels[-1]), changes)
        state.pieces.add(first, piece)
        if state.classes is not None:
            size = len(state.classes.high)
            counts = np.bincount(labels.astype(np.intp), batch.weights, minlength=size)
            state.classes.add(counts.astype(np.float64))
        left = _scaler_rows(settings) - first
        if left > 0 and not settings.as_aws:
            _add_moments(
                state.features, state.labels, batch.rows(0, left) if left < len(batch) else batch, settings
            )
        return state

    def merge(self, first: _Summary, second: _Summary) -> _Summary:
        first.pieces.merge(second.pieces)
        first.weight.merge(second.weight)
        if first.classes is not None and second.classes is not None:
            first.classes.merge(second.classes)
        first.features.merge(second.features)
        first.labels.merge(second.labels)
        return first


def _first_record(head: Batch) -> tuple[NDArray[Any] | None, NDArray[Any]]:
    assert head.labels is not None
    features = None if is_sparse(head.features) else np.array(head.features[0])
    return features, np.array(head.labels[:1])


def _moments_of_first(batches: Iterable[Batch], settings: Settings, left: int) -> tuple[Moments, Moments]:
    """Return the moments of the first `left` records' features and labels, and read no more than these."""
    features, labels = Moments(), Moments()
    for batch in batches:
        part = batch if len(batch) <= left else batch.rows(0, left)
        _add_moments(features, labels, part, settings)
        left -= len(part)
        if left <= 0:
            return features, labels
    if not features.weight:  # the stop came before they were read again
        raise Stopped
    return features, labels


def _add_moments(features: Moments, labels: Moments, batch: Batch, settings: Settings) -> None:
    features.update(batch.features, batch.weights)
    if settings.is_regression and batch.labels is not None:
        labels.update(batch.labels[:, None].astype(np.float64), batch.weights)


def _scaler_rows(settings: Settings) -> int:
    """Records that the scaler sees: whole mini-batches in `aws`; all of them in `best` unless set.

    Chosen for `best`: the first 10,000 records of sorted data are not like the rest.
    """
    size = settings.mini_batch_size
    if settings.as_aws:
        return (settings.num_point_for_scaler // size + 1) * size  # the batch that passes the number is read whole
    return settings.num_point_for_scaler if settings.is_set("num_point_for_scaler") else 2**62


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
