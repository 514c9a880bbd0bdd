"""Labels that are texts: the classes that a source has, and its lines with class numbers instead of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.content_types import ContentType
from eigenline.formats.csv.header import find_target, listed
from eigenline.formats.csv.lines import NEWLINE, after_last_newline, after_next_newline
from eigenline.formats.csv.strict import BLANKS, is_number, split_cells
from eigenline.formats.read_buffer import Source, open_read_buffer

MOST_CLASSES: Final = 1000
_COMMA, _QUOTE, _BLANK = 44, 34, 32
_WIDEST: Final = 64  # bytes of a label that are compared as an array; longer ones are read line by line
_BLOCK_BYTES: Final = 4 << 20
_BOM: Final = "\ufeff"
# Not "none": a class may be called so.
_MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "?"})


def texts_of_labels(source: Source, kind: ContentType, name: str) -> Iterator[frozenset[str]]:
    """Yield the distinct labels of each block of a CSV source; nothing where its first label is a number.

    Parameters
    ----------
    source
        A binary stream or a buffer, packed or not.
    kind
        The content type, which names the label's column (``target``).
    name
        What errors call the source.

    Raises
    ------
    DataError
        If no column is the target, or a label is missing.
    """
    target = kind.target()
    assert target is not None
    buffer = open_read_buffer(source, _BLOCK_BYTES, name=name)
    header: str | None = None
    column, columns, line = 0, 0, 1
    while buffer.data.size:
        end = buffer.data.size if buffer.last else after_last_newline(buffer.data)
        text = buffer.data[:end]
        if header is None and end:
            begin = after_next_newline(text, 0)
            header = text[:begin].tobytes().decode("utf-8", "replace").removeprefix(_BOM).rstrip("\r\n")
            names = split_cells(header)
            column, columns = find_target(names, target, name), len(names)
            text, line = text[begin:], 2
            first = split_cells(text[: after_next_newline(text, 0)].tobytes().decode("utf-8", "replace").strip())
            if len(first) != columns or is_number(first[column]):
                return  # numbers, or a line that its reader refuses
        if text.size:
            found, lines = _distinct(text, column, columns, header or "")
            for label, row in found.items():
                if label.lower() in _MISSING:
                    raise DataError(
                        f"{name}, line {line + row}, column {column + 1} ({excerpt(target)}): the label is "
                        f"{excerpt(label)}; a record without a label can neither train nor measure a model. Leave "
                        "it out."
                    )
            yield frozenset(found)
            line += lines
        buffer.advance(end, viewed=False)


def number_labels(
    text: bytes, classes: Sequence[str], column: int, names: Sequence[str], first_line: int, name: str
) -> bytes:
    """Return whole lines with each label replaced by the number of its class.

    Parameters
    ----------
    text
        Lines of CSV; those that have not one cell for each name are left as they are.
    classes
        Their names, in the order of their numbers.
    column
        The label's place.
    names
        Of all columns.
    first_line
        Number of the first line, for the errors.
    name
        What errors call the source.

    Raises
    ------
    DataError
        Naming line and column of a label that is none of the classes.
    """
    number = {label: str(place) for place, label in enumerate(classes)}
    data = np.frombuffer(text, np.uint8)
    bounds = _bounds(data, column, len(names))
    if bounds is not None:
        labels, inverse, places, inside = _cells(data, *bounds)
        codes = [number.get(label) for label, _ in labels]
        if all(code is not None and len(code) <= size for code, (_, size) in zip(codes, labels, strict=True)):
            width = inside.shape[1]
            rows = b"".join(code.encode().ljust(width) for code in codes if code is not None)
            changed = data.copy()
            replaced = np.frombuffer(rows, np.uint8).reshape(len(codes), width)[inverse]
            changed[places[inside]] = replaced[inside]
            return changed.tobytes()
    return _number_lines(text, number, column, names, first_line, name)


def _number_lines(
    text: bytes, number: dict[str, str], column: int, names: Sequence[str], first_line: int, name: str
) -> bytes:
    """Replace labels line by line: where cells are quoted, or a label is shorter than its class's number."""
    lines = []
    for place, line in enumerate(text.decode("utf-8", "surrogateescape").split("\n"), first_line):
        cells = split_cells(line.removesuffix("\r"))
        if len(cells) == len(names) and cells != list(names):  # of a FIFO, the header of each object comes again
            code = number.get(cells[column])
            if code is None:
                known = listed(list(number))
                raise DataError(
                    f"{name}, line {place}, column {column + 1} ({excerpt(names[column])}): the label is "
                    f"{excerpt(cells[column])}, which is none of the train channel's classes: {known}."
                )
            cells[column] = code
            line = ",".join(f'"{cell}"' if "," in cell else cell for cell in cells)
        lines.append(line)
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def _distinct(text: NDArray[np.uint8], column: int, columns: int, header: str) -> tuple[dict[str, int], int]:
    """Return the distinct labels and the line of each one's first record, counted from 0, and how many lines."""
    lines = int(np.count_nonzero(text == NEWLINE))
    bounds = _bounds(text, column, columns)
    if bounds is not None:
        labels, inverse, _, _ = _cells(text, *bounds)
        first = np.full(len(labels), len(inverse))
        np.minimum.at(first, inverse, np.arange(len(inverse)))
        found: dict[str, int] = {}
        for (label, _), row in sorted(zip(labels, first.tolist(), strict=True), key=lambda item: item[1]):
            found.setdefault(label, row)
        return found, lines
    found = {}
    for row, line in enumerate(text.tobytes().decode("utf-8", "replace").split("\n")):
        cells = split_cells(line.removesuffix("\r"))
        if len(cells) == columns and line.rstrip("\r") != header:
            found.setdefault(cells[column], row)
    return found, lines


def _bounds(
    text: NDArray[np.uint8], column: int, columns: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]] | None:
    """Return where each line's cell begins and ends; None where quotes or another number of cells forbid it."""
    if not text.size or bool((text == _QUOTE).any()):
        return None
    ends = np.flatnonzero(text == NEWLINE)
    if text[-1] != NEWLINE:
        ends = np.append(ends, text.size)
    commas = np.flatnonzero(text == _COMMA)
    if columns < 2 or len(commas) != len(ends) * (columns - 1):
        return None
    begins = np.concatenate([[0], ends[:-1] + 1])
    table = commas.reshape(len(ends), columns - 1)
    if bool((table[:, 0] < begins).any()) or bool((table[:, -1] > ends).any()):
        return None
    starts = begins if column == 0 else table[:, column - 1] + 1
    stops = ends if column == columns - 1 else table[:, column]
    return (starts, stops) if int((stops - starts).max()) <= _WIDEST else None


def _cells(
    text: NDArray[np.uint8], starts: NDArray[np.intp], stops: NDArray[np.intp]
) -> tuple[list[tuple[str, int]], NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_]]:
    """Return distinct cells (their text and length in bytes), which one each line has, and where its bytes are."""
    width = max(1, int((stops - starts).max()))
    places = starts[:, None] + np.arange(width)
    inside = places < stops[:, None]
    cells = np.where(inside, text[np.minimum(places, text.size - 1)], 0).astype(np.uint8)
    distinct, inverse = np.unique(np.ascontiguousarray(cells).view(f"S{width}")[:, 0], return_inverse=True)
    labels = [(cell.decode("utf-8", "replace").strip(BLANKS), len(cell)) for cell in distinct.tolist()]
    return labels, inverse, places, inside
