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
MISSING: Final = frozenset(
    {"", "nan", "na", "n/a", "null", "none", "inf", "+inf", "-inf", "infinity", "-infinity", "?"}
)
_DECIMAL_COMMAS: Final = re.compile(r"[0-9];|;[0-9]")  # between commas: 1;0,5;3,7
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


def parse_cells(
    cells: Sequence[str],
    line: int,
    name: str,
    expected: int | None,
    names: Sequence[str] | None = None,
    label: int | None = None,
) -> list[float]:
    """Parse one line's cells.

    Parameters
    ----------
    cells
        Of the line.
    line
        Line number in the source, from 1.
    name
        What errors call the source.
    expected
        How many cells there should be; None for the first line.
    names
        The names of all columns, where there was a header.
    label
        The label's column, from 0, where there is one.

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
    for column, cell in enumerate(cells):
        value = float(cell) if _is_decimal(cell) else math.nan
        if not abs(value) < _LARGEST:
            named = f" ({excerpt(names[column])})" if names and column < len(names) else ""
            raise DataError(
                f"{name}, line {line}, column {column + 1}{named}: expected a number, got {_quote(cell)}."
                f"{_cell_hint(cells, column, line, column == label)}"
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
    if len(cells) > 1 and any(_DECIMAL_COMMAS.search(cell) for cell in cells):
        return (
            " The values seem to be separated by semicolons, with decimal commas, as Excel writes them in many "
            "European languages; this format has commas between values and points in them."
        )
    return ""


def _cell_hint(cells: Sequence[str], column: int, line: int, is_label: bool) -> str:
    """Name the likely cause of a cell that is no number within float32."""
    cell = cells[column]
    if cell.startswith(("{", "[")):
        return " This looks like JSON, but the content type says CSV."
    if re.match(r"[0-9]+:\S", cell):
        return " This looks like libsvm text; send sparse data as recordIO-protobuf."
    if any("\r" in cell for cell in cells):
        return " The lines end in carriage returns alone, as on old Macs; save the file with line feeds."
    if "\ufffd" in cell or not cell[:20].replace("\t", " ").isprintable():
        return " This is not text: is it a binary or compressed file, or not UTF-8?"
    if hint := _separator_hint(cells):
        return hint
    if cell.lower() in MISSING:
        return " Missing and infinite values must be filled in or left out beforehand."
    if _is_decimal(cell):
        return " It is too large for float32."
    if cell.startswith("#") and not column:
        return " Comments are not understood here; leave them out."
    if line == 1 and not any(map(is_number, cells)):
        return " If this line holds column names, say so: 'text/csv;header=present'."
    if re.fullmatch(r"[0-9]+,[0-9]+", cell):
        return " Decimal commas are not understood."
    if is_label:
        return (
            " This column is taken for the label, which must be a number: encode classes as 0 and 1, or 0, 1, 2 "
            "and so on. If the label is another column, put it first, or name it: "
            "'text/csv;header=present;target=NAME'. Of a named column a classifier takes texts for classes, in "
            "File mode."
        )
    return " Text categories must be encoded as numbers beforehand."
