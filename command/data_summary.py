"""What the columns of a table hold: one pass over its rows, in memory that does not grow with them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError
from eigenline.command.tables.chunk import Chunk, Table, texts_of

MOST_VALUES: Final = 1000  # distinct values of a column that are kept; a label of more classes is no class
_HASH = np.uint64(0x9E3779B97F4A7C15)


@dataclass
class ColumnSummary:
    """One column.

    Attributes
    ----------
    numbers, texts, missing
        How many cells are numbers, texts, or neither.
    low, high
        Of the numbers.
    mean_count, mean_sum
        Number and sum of the numbers in rows that train, for the mean that fills gaps.
    whole
        Whether every number is whole.
    rising
        Whether every number is larger than the one before, as in a column of row numbers.
    values
        How often each distinct text (of the label: each value) occurs; empty beyond `MOST_VALUES` of them.
    uncounted
        Numbers that came before the first text and are not among `values`.
    first_missing, first_text
        Where the first such cell is, and the text.
    """

    name: str
    numbers: int = 0
    texts: int = 0
    missing: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    mean_count: int = 0
    mean_sum: float = 0.0
    whole: bool = True
    rising: bool = True
    values: Counter[str] = field(default_factory=Counter)
    many: bool = False
    uncounted: int = 0
    first_missing: str = ""
    first_text: tuple[str, str] = ("", "")
    _last: float = float("-inf")

    @property
    def mean(self) -> float:
        """Mean of the numbers in rows that train; 0 where there is none."""
        return self.mean_sum / self.mean_count if self.mean_count else 0.0

    def add_values(self, cells: list[str]) -> None:
        """Count distinct values, until they are too many."""
        if not self.many:
            self.values.update(cells)
            if len(self.values) > MOST_VALUES:
                self.many = True
                self.values.clear()


@dataclass
class DataSummary:
    """A whole table: its rows, its columns, and the labels that its format keeps apart."""

    rows: int
    columns: list[ColumnSummary]
    labels: ColumnSummary | None
    sparse: bool
    sorted_by_label: bool = False


def names_of(table: Table) -> tuple[str, ...]:
    """Return the columns' names; column_1, column_2, ... where the file has none."""
    return table.names or tuple(f"column_{number}" for number in range(1, table.width + 1))


def held_out_rows(first: int, count: int, share: float) -> NDArray[np.bool_]:
    """Return which of `count` rows from number `first` on are held out: chosen by a hash of the row's number.

    The same rows are held out in every run, whatever the file's order means (splitmix64, Steele et al. 2014).
    """
    state = (np.arange(first, first + count, dtype=np.uint64) + np.uint64(1)) * _HASH
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return np.asarray((state >> np.uint64(11)).astype(np.float64) * 2.0**-53 < share)


def summarise(table: Table, target: int | None = None, hold_out: float = 0.0) -> DataSummary:
    """Read a table once.

    Parameters
    ----------
    target
        The column whose distinct numbers are counted too, because it is the label.
    hold_out
        Share of the rows that are held out, so that their numbers do not enter the means.

    Raises
    ------
    DataError
        If the file cannot be read, or holds a number that is not finite.
    """
    columns = [ColumnSummary(name) for name in names_of(table)]
    labels = ColumnSummary("label") if table.has_labels else None
    rows, sparse = 0, False
    for chunk in table.chunks():
        trains = ~held_out_rows(rows, len(chunk), hold_out)
        if isinstance(chunk.numbers, np.ndarray):
            for number, summary in enumerate(columns):
                _add(summary, chunk, number, trains, counted=number == target)
        else:
            sparse = True
            if not np.isfinite(chunk.numbers.data).all():
                raise DataError(f"{table.name} holds values that are not finite numbers.")
        if labels is not None and chunk.labels is not None:
            _add_labels(labels, chunk)
        rows += len(chunk)
    if not rows:
        raise DataError(f"{table.name} holds no rows.")
    return DataSummary(rows, columns, labels, sparse)


def _add(summary: ColumnSummary, chunk: Chunk, number: int, trains: NDArray[np.bool_], counted: bool) -> None:
    values = chunk.column(number)
    present = ~np.isnan(values)
    summary.numbers += int(present.sum())
    gone = ~present
    if number in chunk.texts:
        cells = chunk.texts[number]
        empty = np.fromiter((not cell for cell in cells), np.bool_, len(cells))
        worded = gone & ~empty
        summary.texts += int(worded.sum())
        if worded.any() and not summary.first_text[0]:
            row = int(np.argmax(worded))
            summary.first_text = chunk.place(row), cells[row]
        gone &= empty
        chosen = cells if counted else [cell for cell, train in zip(cells, trains, strict=True) if train]
        summary.add_values([cell for cell in chosen if cell or not counted])
    elif summary.texts or counted:
        kept = values[present] if counted else values[trains]
        if not summary.many:
            summary.add_values(texts_of(kept))
    else:
        summary.uncounted += int(present.sum())
    summary.missing += int(gone.sum())
    if gone.any() and not summary.first_missing:
        summary.first_missing = chunk.place(int(np.argmax(gone)))
    found = values[present]
    if len(found):
        summary.low, summary.high = min(summary.low, float(found.min())), max(summary.high, float(found.max()))
        used = values[present & trains]
        summary.mean_count += len(used)
        summary.mean_sum += float(used.sum(dtype=np.float64))
        summary.whole = summary.whole and bool((found == np.floor(found)).all())
        rising = bool((np.diff(found) > 0).all()) and float(found[0]) > summary._last
        summary.rising = summary.rising and rising
        summary._last = float(found[-1])


def _add_labels(summary: ColumnSummary, chunk: Chunk) -> None:
    labels = chunk.labels
    assert labels is not None
    if labels.dtype.kind in "US":
        summary.texts += len(labels)
        summary.add_values([str(label) for label in labels.tolist()])
        return
    wrong = ~np.isfinite(labels.astype(np.float64))
    if wrong.any():
        raise DataError(f"{chunk.place(int(np.argmax(wrong)))}: the label is not a finite number.")
    summary.numbers += len(labels)
    summary.whole = summary.whole and bool((labels == np.floor(labels)).all())
    summary.low, summary.high = min(summary.low, float(labels.min())), max(summary.high, float(labels.max()))
    summary.add_values(texts_of(labels))
