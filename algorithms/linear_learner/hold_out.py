"""What the mini-batch models of `best` are compared on: the validation channel, a hold-out, or none apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.rows import Block, TrainingRows, fold_of
from eigenline.algorithms.linear_learner.training_data import TrainingData
from eigenline.algorithms.linear_learner.validation_split import FEWEST_ROWS

FEWEST_FOLDS: Final = 10  # of which one is held out
MOST_ROWS: Final = 20_000
MOST_BYTES: Final = 64_000_000


@dataclass(frozen=True, eq=False)
class HoldOut:
    """The records that models are compared on.

    Attributes
    ----------
    name
        For people: ``validation``, ``an internal hold-out ...``, ``train``.
    rows
        The training records, which know their folds where there are any.
    records
        In raw units: the validation channel, or the hold-out in memory; None where there are none apart.
    left_out
        The fold that mini-batches leave out, or None.
    """

    name: str
    rows: TrainingRows
    records: TrainingRows | list[Block] | None
    left_out: int | None


def hold_out(training_data: TrainingData) -> HoldOut:
    """Take the validation channel, or spare some training records.

    Notes
    -----
    Chosen: a tenth of the records, but at most 20,000 or 64 MB, is held out by a hash of the record's position, so
    that the choice depends on neither batches nor order within a pass; below 60 all are needed for training.
    """
    rows, found = training_data.rows, training_data.summary
    if training_data.validation is not None:
        return HoldOut("validation", rows, training_data.validation, None)
    if found.rows < FEWEST_ROWS:
        return HoldOut("train (its training loss)", rows, None, None)
    most = min(MOST_ROWS, max(200, MOST_BYTES // found.row_bytes))
    with_folds = replace(rows, folds=max(FEWEST_FOLDS, -(-found.rows // most)))
    records = list(training_data.raw_rows(_FirstFold(with_folds)).blocks())
    name = f"an internal hold-out of {sum(len(block.labels) for block in records)} training records"
    return HoldOut(name, with_folds, records, 0)


@dataclass(frozen=True, eq=False)
class _FirstFold:
    """The records of fold 0 of a channel, as a channel."""

    rows: TrainingRows

    def __iter__(self) -> Iterator[Batch]:
        start = 0
        for batch in self.rows.batches:
            positions = np.arange(start, start + len(batch))
            start += len(batch)
            picked = np.flatnonzero(fold_of(positions, self.rows.folds, self.rows.seed) == 0)
            if len(picked):
                yield _pick(batch, picked)


def _pick(batch: Batch, picked: NDArray[np.intp]) -> Batch:
    features: Any = batch.features
    return Batch(
        features[picked],
        None if batch.labels is None else batch.labels[picked],
        None if batch.weights is None else batch.weights[picked],
        batch.column_names,
    )
