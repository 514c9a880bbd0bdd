"""Some consecutive rows of a table: numbers where cells are numbers, texts where they are not."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features

# The spellings of "nothing" that spreadsheets, pandas and R leave in files.
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?", "#n/a", "#n/d", "#null!"})

Columns: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Rows of a table.

    Attributes
    ----------
    numbers
        Shape (n, number of columns): every cell that is a number, NaN for cells that are missing or text; a CSR
        array for files that are sparse.
    texts
        Column -> all n cells as text, for columns that hold at least one text here; missing cells are ''.
    place
        Row within the chunk -> where it is in its file, as errors name it: ``sales.csv, line 17``.
    lines
        Returns the rows as they stand in the file, without line ends; None where the file has no lines.
    labels
        Shape (n,), where the format itself has labels (recordIO, svmlight, .npz).
    """

    numbers: Features
    texts: Mapping[int, Sequence[str]]
    place: Callable[[int], str]
    lines: Callable[[], list[str]] | None = None
    labels: NDArray[Any] | None = field(default=None)

    def __len__(self) -> int:
        return int(self.numbers.shape[0])

    def dense(self) -> NDArray[np.floating[Any]]:
        """Return the numbers as an array; sparse chunks are small enough for it only where columns are few."""
        return self.numbers if isinstance(self.numbers, np.ndarray) else self.numbers.toarray()

    def column(self, number: int) -> NDArray[np.floating[Any]]:
        """Return one column's numbers."""
        if isinstance(self.numbers, np.ndarray):
            return self.numbers[:, number]
        return np.asarray(self.numbers[:, [number]].toarray())[:, 0]

    def cells(self, number: int) -> Sequence[str]:
        """Return one column's cells as text."""
        if number in self.texts:
            return self.texts[number]
        return texts_of(self.column(number))


class Table(Protocol):
    """A file, or several with the same columns, that can be read in chunks.

    Attributes
    ----------
    name
        What people call it.
    names
        The columns' names; None where the file has none.
    width
        The number of columns (without labels that the format keeps apart).
    separator
        Between the cells of a line, where it has lines; '' otherwise.
    decimal_comma
        Whether numbers are written with a decimal comma.
    notes
        What was understood, in sentences.
    has_labels
        Whether the format keeps labels apart from the columns.
    """

    name: str
    names: Columns | None
    width: int
    separator: str
    decimal_comma: bool
    notes: list[str]
    has_labels: bool

    def chunks(self) -> Any:
        """Yield every row, in the order of the file."""


def texts_of(values: NDArray[Any]) -> list[str]:
    """Write numbers as people do, those of float32 with the digits that they have."""
    if values.dtype == np.float32:
        return [text_of(float(str(value))) for value in values]
    return list(map(text_of, values.astype(np.float64).tolist()))


def text_of(value: float) -> str:
    """Write a number as people do: 3 rather than 3.0; '' where it is missing."""
    if value != value:
        return ""
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else repr(value)


def csv_line(cells: Sequence[str], separator: str = ",") -> str:
    """Return cells as one line of CSV, quoted where they must be."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerow(cells)
    return text.getvalue().removesuffix("\r\n")
