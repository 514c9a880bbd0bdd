"""Which records judge the models in `best`: the validation channel, an internal hold-out, or folds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Batch
from eigenline.algorithms.linear_learner.problem import Problem
from eigenline.algorithms.linear_learner.rows import Block, TrainingRows, fold_of

FEWEST_ROWS = 60  # below this, no record can be spared
SMALL_ROWS = 5000  # below this, no hold-out of the mini-batches is worth its name; five folds judge the finish
CROSS_VALIDATED_ROWS = 200_000  # below this, every record takes its turn in one of four folds
MOST_HELD_OUT_ROWS = 20_000
MOST_HELD_OUT_BYTES = 64_000_000


@dataclass(frozen=True, eq=False)
class Judges:
    """The records that models are compared on.

    Attributes
    ----------
    name
        For people: ``validation``, ``an internal hold-out ...``, ``train``.
    rows
        The training records, which know their folds where there are any.
    records
        In raw units: the validation channel, or the hold-out in memory; None where there are none apart.
    folds
        The folds that are left out in turn by the second-order finish; (-1,) leaves out none.
    left_out
        The fold that mini-batches leave out, or None.
    """

    name: str
    rows: TrainingRows
    records: TrainingRows | list[Block] | None
    folds: tuple[int, ...]
    left_out: int | None


def choose_judges(problem: Problem, *, folds_allowed: bool) -> Judges:
    """Take the validation channel, or spare some training records, as their number allows.

    Parameters
    ----------
    folds_allowed
        Whether cross-validation is possible, which takes models that are refitted cheaply.

    Notes
    -----
    Chosen: a tenth of the records, but at most 20,000 or 64 MB, is held out by a hash of the record's
    position, so that the choice depends on neither batches nor order within a pass. Below 200,000 records the
    second-order finish is judged by folds, because a tenth would judge by luck, and up to 16 columns cost it no
    more than five; below 60 all records are needed for training.
    """
    rows, found = problem.rows, problem.survey
    if problem.validation is not None:
        return Judges("validation", rows, problem.validation, (-1,), None)
    if found.rows < FEWEST_ROWS:
        return Judges("train (its training loss)", rows, None, (-1,), None)
    if found.rows < SMALL_ROWS and folds_allowed:
        return Judges("five-fold cross-validation", replace(rows, folds=5), None, (0, 1, 2, 3, 4), None)
    most = max(200, MOST_HELD_OUT_BYTES // found.row_bytes)
    if folds_allowed and found.rows < min(CROSS_VALIDATED_ROWS, 4 * most) and problem.settings.num_outputs == 1:
        with_folds = replace(rows, folds=4)
        return Judges("four-fold cross-validation", with_folds, _collect(problem, with_folds), (0, 1, 2, 3), 0)
    folds = max(10, -(-found.rows // min(MOST_HELD_OUT_ROWS, most)))
    with_folds = replace(rows, folds=folds)
    held_out = _collect(problem, with_folds)
    name = f"an internal hold-out of {sum(len(block.labels) for block in held_out)} training records"
    return Judges(name, with_folds, held_out, (0,), 0)


def _collect(problem: Problem, rows: TrainingRows) -> list[Block]:
    """Copy the records of fold 0 in raw units."""
    raw = problem.raw_rows(_Fold(rows))
    return list(raw.blocks())


@dataclass(frozen=True, eq=False)
class _Fold:
    """The records of fold 0 of a channel, as a channel."""

    rows: TrainingRows

    def __iter__(self) -> Any:
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
