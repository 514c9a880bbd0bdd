"""Some consecutive rows of a table: numbers where cells are numbers, texts where they are not."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features

DECIMAL_COMMA: Final = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
NUMBER: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
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


def numbers_and_texts(
    cells: Sequence[str], *, decimal_comma: bool = False
) -> tuple[NDArray[np.float64], list[str] | None]:
    """Return a column's numbers (NaN elsewhere), and all its cells as text where one of them is text."""
    if not decimal_comma:
        try:
            values = np.array(cells, dtype=np.float64)
            if np.isfinite(values).all() and not any("_" in cell for cell in cells):
                return values, None
        except ValueError:
            pass
    values = np.full(len(cells), np.nan)
    words: list[str] = []
    texts = False
    for row, cell in enumerate(cells):
        stripped = cell.strip()
        if stripped.lower() in MISSING:
            words.append("")
            continue
        if decimal_comma and DECIMAL_COMMA.fullmatch(stripped):
            stripped = stripped.replace(",", ".")
        if len(stripped) < 400 and NUMBER.fullmatch(stripped) and abs(float(stripped)) < np.inf:
            values[row] = float(stripped)
            words.append(text_of(values[row].item()))
        else:
            words.append(stripped)
            texts = True
    return values, words if texts else None
