"""A file as a table that can be read in chunks, and a row of one as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Protocol

from eigenline.formats.chunk import MISSING, Chunk, Columns, text_of, texts_of

__all__ = ["MISSING", "Chunk", "Columns", "Table", "csv_line", "text_of", "texts_of"]


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
    notes: list[str]
    separator: str = ""
    decimal_comma: bool = False
    has_labels: bool = False

    def chunks(self) -> Any:
        """Yield every row, in the order of the file."""


def csv_line(cells: Sequence[str], separator: str = ",") -> str:
    """Return cells as one line of CSV, quoted where they must be."""
    text = io.StringIO()
    csv.writer(text, delimiter=separator).writerow(cells)
    return text.getvalue().removesuffix("\r\n")
