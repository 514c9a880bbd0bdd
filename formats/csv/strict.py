"""CSV cell by cell: the reference parser for every line that is not plain numbers, and the wording of errors."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from typing import Final

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.likely_causes import counted, width_hint

# Python's float() also takes "1_000" and non-ASCII digits. Each character can be matched in one way only: with
# `[0-9]+\.?[0-9]*`, digits before a letter would be tried in every split, in quadratic time.
_NUMBER: Final = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_LONGEST_NUMBER: Final = 999  # characters; a double has at most 767 significant digits
_TAB_BEFORE_QUOTE: Final = re.compile(r'(^|,) *\t[ \t]*"')
BLANKS: Final = " \t\r"  # what may surround a number; JSON, which the fast parser follows, has the same
_MISSING: Final = frozenset(
    {"", "nan", "na", "n/a", "null", "none", "inf", "+inf", "-inf", "infinity", "-infinity", "?"}
)
_LARGEST: Final = 3.4028235677973366e38  # beyond it, rounding to float32 gives infinity


def split_cells(line: str) -> list[str]:
    """Split a line at its commas; a quoted cell loses its quotes. Spaces around cells do not count."""
    if line.count('"') % 2:  # a quote that is never closed: the cell keeps it, and is no number
        return line.split(",")
    if '"' not in line:
        return [cell.strip(BLANKS) for cell in line.split(",")]
    line = _TAB_BEFORE_QUOTE.sub(r'\1"', line)  # the module skips spaces there, but no tabs
    try:
        cells = next(csv.reader([line], skipinitialspace=True), [])
    except csv.Error:  # a cell beyond the module's limit
        cells = line.split(",")
    return [cell.strip(BLANKS) for cell in cells]


def is_number(cell: str) -> bool:
    """Return whether a cell is a finite decimal number."""
    return _is_decimal(cell) and math.isfinite(float(cell))


def _is_decimal(cell: str) -> bool:
    return len(cell) <= _LONGEST_NUMBER and _NUMBER.fullmatch(cell) is not None


def looks_like_names(cells: Sequence[str]) -> bool:
    """Return whether a line can only be column names: every cell a word that does not stand for a number."""
    return all(
        any(map(str.isalpha, cell))
        and cell.isprintable()
        and not is_number(cell)
        and cell.lower() not in _MISSING
        and not set("{[:;|") & set(cell)
        for cell in cells
    )


def parse_cells(
    cells: Sequence[str], line: int, name: str, expected: int | None, names: Sequence[str] | None = None
) -> list[float]:
    """Parse one line's cells.

    Parameters
    ----------
    line
        Line number in the source, from 1.
    expected
        How many cells there should be; None for the first line.
    names
        The columns' names, where there was a header.

    Raises
    ------
    DataError
        Naming line, column and value, and the likely cause.
    """
    if expected is not None and len(cells) != expected:
        raise DataError(
            f"{name}, line {line}: it has {counted(len(cells), 'value')}, expected {expected}."
            f"{width_hint(len(cells), expected)}{_separator_hint(cells)}"
        )
    values = []
    for column, cell in enumerate(cells, start=1):
        value = float(cell) if _is_decimal(cell) else math.nan
        if not abs(value) < _LARGEST:
            label = f" ({excerpt(names[column - 1])})" if names and column <= len(names) else ""
            raise DataError(
                f"{name}, line {line}, column {column}{label}: expected a number, got {_quote(cell)}."
                f"{_cell_hint(cell, cells, line)}"
            )
        values.append(value)
    return values


def _quote(cell: str) -> str:
    return "an empty cell" if not cell else excerpt(cell)


def _separator_hint(cells: Sequence[str]) -> str:
    first = cells[0] if len(cells) == 1 else ""
    for separator, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "spaces")):
        if separator in first.strip():
            return f" The values seem to be separated by {word}; this format has commas."
    return ""


def _cell_hint(cell: str, cells: Sequence[str], line: int) -> str:
    if cell.startswith(("{", "[")):
        return " This looks like JSON, but the content type says CSV."
    if re.match(r"[0-9]+:\S", cell):
        return " This looks like libsvm text; send sparse data as recordIO-protobuf."
    if "\ufffd" in cell or not cell[:20].replace("\t", " ").isprintable():
        return " This is not text: is it a binary or compressed file, or not UTF-8?"
    if _separator_hint(cells):
        return _separator_hint(cells)
    if cell.lower() in _MISSING:
        return " Missing and infinite values must be filled in or left out beforehand."
    if _is_decimal(cell):
        return " It is too large for float32."
    if line == 1:
        return " If this line holds column names, say so: 'text/csv;header=present'."
    if re.fullmatch(r"[0-9]+,[0-9]+", cell):
        return " Decimal commas are not understood."
    return " Text categories must be encoded as numbers beforehand."
