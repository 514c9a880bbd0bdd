"""The first line of a CSV source: whether it holds column names, and whether these fit the rows below."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Final

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.csv.strict import MISSING, is_number, split_cells
from eigenline.formats.likely_causes import counted, width_hint

_MOST_LISTED: Final = 10
_MOST_COMPARED: Final = 1000  # names
_LONGEST: Final = 100  # letters of a name that are compared


def looks_like_names(cells: Sequence[str]) -> bool:
    """Return whether a line can only be column names: every cell a word that does not stand for a number."""
    return all(
        any(map(str.isalpha, cell))
        and cell.isprintable()
        and not is_number(cell)
        and cell.lower() not in MISSING
        and not set("{[:;|") & set(cell)
        for cell in cells
    )


def has_unnamed_index(cells: Sequence[str]) -> bool:
    """Return whether a line is a header whose first column has no name, as pandas writes for a table's index."""
    return len(cells) > 1 and not cells[0] and looks_like_names(cells[1:])


def check_names(names: Sequence[str], line: str, number: int, name: str) -> None:
    """Refuse a header that has another number of names than the first row has values.

    Parameters
    ----------
    names
        The names, of all columns.
    line
        The first row's text.
    number
        Its line number, from 1.
    name
        What errors call the source.

    Raises
    ------
    DataError
        With both numbers, and the likely cause.
    """
    cells = split_cells(line)
    if len(cells) != len(names):
        raise DataError(
            f"{name}: line 1 holds {counted(len(names), 'column name')} ({listed(names)}), but line {number} has "
            f"{counted(len(cells), 'value')}.{mismatch_hint(names, cells)}"
        )


def mismatch_hint(names: Sequence[str], cells: Sequence[str]) -> str:
    """Name the likely cause of a header that does not fit the first row's cells."""
    if names[0].startswith("#"):
        return " Line 1 begins with '#': comments are not understood here, leave them out."
    if len(cells) > len(names) and looks_like_names(cells):
        return f" Line 1 seems to be a title, above the column names ({listed(cells)}): leave it out."
    if len(names) == 1 and len(cells) > 2:
        return " Line 1 seems to be a title: leave it out, or put the columns' names there."
    if len(cells) == len(names) + 1:
        return (
            " One name is missing: R's write.table gives the column of row names none (write.csv with "
            "row.names=FALSE leaves it out)."
        )
    if len(cells) == len(names) - 1:
        return " There is one name too many: does the header name a column that is not there?"
    return ""


def expected_names(names: Sequence[str], expected: int, cells: Sequence[str], name: str) -> DataError:
    """Return the error for a header that has not the expected number of names.

    Parameters
    ----------
    names
        The names, of all columns.
    expected
        How many there should be.
    cells
        The first row's; empty where there is none.
    name
        What errors call the source.
    """
    hint = mismatch_hint(names, cells) if cells and len(cells) != len(names) else width_hint(len(names), expected)
    return DataError(f"{name}, line 1: {counted(len(names), 'column name')}, expected {expected}.{hint}")


def find_target(names: Sequence[str], target: str, name: str) -> int:
    """Return the place of the label's column among the names.

    Parameters
    ----------
    names
        The names, of all columns.
    target
        The label's name.
    name
        What errors call the source.

    Raises
    ------
    DataError
        If no column has the name, with near ones, or several have it.
    """
    count = list(names).count(target)
    if count == 1:
        return list(names).index(target)
    if count:
        raise DataError(f"{name}, line 1: {count} columns are named {excerpt(target)}, which is the target.")
    near = difflib.get_close_matches(
        target[:_LONGEST], [column[:_LONGEST] for column in names[:_MOST_COMPARED]], 1
    )
    raise DataError(
        f"{name}, line 1: no column is named {excerpt(target)}, which is the target; the columns are "
        f"{listed(names)}." + (f" Did you mean {near[0]!r}?" if near else "")
    )


def listed(names: Sequence[str]) -> str:
    """Return the first names in quotes, and how many there are beyond them."""
    some = ", ".join(excerpt(name, 30) for name in names[:_MOST_LISTED])
    return some if len(names) <= _MOST_LISTED else f"{some} and {len(names) - _MOST_LISTED} more"
