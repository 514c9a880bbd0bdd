"""Requests to the columns of a model: matched by name, gaps filled and categories spread out as training did."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

import numpy as np

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.formats.chunk import Chunk, Columns, numbers_and_texts
from eigenline.formats.columns import order_of
from eigenline.formats.content_types import ContentType
from eigenline.formats.csv.header import expected_names, find_target
from eigenline.formats.csv.strict import is_number
from eigenline.formats.likely_causes import counted
from eigenline.formats.preparation import Preparation

# Of one request: categories of a small body can become very many features.
_MOST_VALUES: Final = 20_000_000


def arranged(chunk: Chunk, names: Columns | None, preparation: Preparation, name: str) -> Features:
    """Return the features of a request's records.

    Parameters
    ----------
    chunk
        The records' values.
    names
        Of the columns, where the request has names; the label's may be among them. None takes numbers, as many as
        the model has features, for its features, and other rows for columns in the order of the file that trained.
    preparation
        Of the model.
    name
        What errors call the request.

    Returns
    -------
    Float32, shape (n, number of the model's features).

    Raises
    ------
    DataError
        Listing names that are missing or unknown, or naming record and column of a value that has no place.
    """
    features = len(preparation.feature_names)
    if len(chunk) * features > max(_MOST_VALUES, features):
        raise DataError(
            f"{name}: {len(chunk)} records would be {len(chunk) * features} values, which is more than is "
            f"prepared at once. Send at most {max(1, _MOST_VALUES // features)} records in a request."
        )
    if names is None and chunk.numbers.shape[1] == features and _is_whole(chunk):
        return Preparation.plain(features).features(chunk, range(features))
    return preparation.features(chunk, _positions(chunk, names, preparation, name))


def _is_whole(chunk: Chunk) -> bool:
    numbers = chunk.numbers
    return not chunk.texts and (not isinstance(numbers, np.ndarray) or not bool(np.isnan(numbers).any()))


def prepared(features: Features, preparation: Preparation, name: str) -> Features:
    """Return the features of records that came as bare numbers: columns are prepared, features are as they are."""
    width, known = features.shape[1], (len(preparation.inputs), preparation.width)
    if is_sparse(features) or width == len(preparation.feature_names) or width not in known:
        return features
    return arranged(Chunk(features, {}, lambda row: f"{name}, record {row + 1}"), None, preparation, name)


def _positions(chunk: Chunk, names: Columns | None, preparation: Preparation, name: str) -> Sequence[int]:
    wanted = [column.name for column in preparation.inputs]
    if names is not None and preparation.named:
        kept = [place for place, column in enumerate(names) if column != preparation.target or column in wanted]
        order = order_of([names[place] for place in kept], wanted, name)
        return kept if order is None else [kept[place] for place in order.tolist()]
    width = int(chunk.numbers.shape[1])
    if width == len(wanted):
        return range(width)
    if width == preparation.width:
        return [column.position for column in preparation.inputs]
    raise DataError(
        f"Each record of the {name} has {counted(width, 'value')}, but the model takes {len(wanted)}"
        + (f" ({', '.join(wanted[:8])}{', ...' * (len(wanted) > 8)})." if preparation.named else ".")
    )


def read_csv_cells(body: bytes, kind: ContentType, preparation: Preparation, name: str) -> Features:
    """Read CSV of which cells may be texts or empty, cell by cell.

    A first line is a header where the content type says so, or where it has a name of the model's columns and no
    number.

    Raises
    ------
    DataError
        Naming line and column.
    """
    rows, lines = _rows(body, name)
    label_size, target = kind.label_size(0), kind.target()
    header = kind.header() if target is None else True
    known = {column.name for column in preparation.inputs} | {preparation.target}
    if header is None and rows:
        header = preparation.named and not known.isdisjoint(rows[0]) and not any(map(is_number, rows[0]))
    names: Columns | None = None
    if header and rows:
        names = tuple(rows.pop(0))
        del lines[0]
        if rows and len(rows[0]) != len(names):
            raise expected_names(names, len(rows[0]), rows[0], name)
    if not rows:
        return np.zeros((0, 0), np.float32)
    start, stop = 0, label_size
    if target is not None:  # a request, of which labels are ignored, may come without them
        found = names is not None and target in names
        start = find_target(names, target, name) if names is not None and found else 0
        stop = start + found
    for row, line in zip(rows, lines, strict=True):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{name}, line {line}: it has {counted(len(row), 'value')}, expected {len(rows[0])}. Is a value "
                "missing, or does a number hold a comma?"
            )
    columns = list(zip(*rows, strict=True))
    del columns[start:stop]
    kept = None if names is None else names[:start] + names[stop:]
    if not columns:
        raise DataError(f"{name}, line {lines[0]}: no feature is left beside the label.")
    numbers = np.empty((len(rows), len(columns)))
    texts: dict[int, Sequence[str]] = {}
    for place, cells in enumerate(columns):
        numbers[:, place], words = numbers_and_texts(cells)
        if words is not None:
            texts[place] = words
    return arranged(Chunk(numbers, texts, lambda row: f"{name}, line {lines[row]}"), kept, preparation, name)


def _rows(body: bytes, name: str) -> tuple[list[list[str]], list[int]]:
    """Split CSV into the cells of each row that is not blank, and the rows' lines."""
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = 1 + body.count(b"\n", 0, error.start)
        raise DataError(f"{name}, line {line}: byte 0x{body[error.start]:02x} is not UTF-8 text.") from None
    reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    rows, lines, before = [], [], 0
    try:
        for row in reader:
            start, before = before, reader.line_num
            if any(row) and (len(row) > 1 or row[0].strip()):
                rows.append([cell.strip() for cell in row])
                lines.append(start + 1)
    except csv.Error as error:
        raise DataError(f"{name}, line {before + 1}: {error}.") from None
    return rows, lines
