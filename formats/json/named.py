"""JSON with names: rows of a data frame as objects of named values, or as a list of names and lists of values."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.chunk import MISSING, Chunk, Columns, text_of
from eigenline.formats.columns import order_of
from eigenline.formats.content_types import JSON_LINES

_FORMS: Final = 'expected {"name": value, ...} with numbers, texts or null'
_Rows: TypeAlias = list[tuple[str, Sequence[Any]]]  # where it is, for errors, and its values


def read_named(body: bytes, media_type: str, name: str) -> tuple[Columns, Chunk] | None:
    """Read records with names; None where the body is something else.

    JSON: a list of objects as pandas' ``to_dict("records")`` makes it (alone, or below ``instances``), one object,
    or ``{"columns": [...], "data": [[...]]}`` as ``to_dict("split")`` makes it. JSON Lines: one object per line.

    Parameters
    ----------
    body
        Of a request.
    media_type
        `JSON` or `JSON_LINES`.
    name
        What errors call it.

    Raises
    ------
    DataError
        Naming the record, where its names are not those of the first, or a value is no number, text or null.
    """
    try:
        if media_type == JSON_LINES:
            lines = [(number, line) for number, line in enumerate(body.split(b"\n"), 1) if line.strip()]
            numbered = [(f"{name}, line {number}", _parse(line)) for number, line in lines]
        else:
            document = _parse(body)
            if isinstance(document, dict) and document.keys() >= {"columns", "data"}:
                return _split(document, name)
            if isinstance(document, dict):
                document = document.get("instances", [document])
            if not isinstance(document, list):
                return None
            numbered = [(f"{name}, instance {number}", found) for number, found in enumerate(document, 1)]
    except (ValueError, RecursionError):  # who reads JSON without names says what is wrong
        return None
    if not numbered or not _is_record(numbered[0][1]):
        return None
    return _records(numbered)


def _parse(text: bytes) -> Any:
    def unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    return json.loads(text.decode("utf-8-sig"), object_pairs_hook=unambiguous)


def _is_record(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and not any(isinstance(v, list | dict) for v in value.values())


def _records(numbered: list[tuple[str, Any]]) -> tuple[Columns, Chunk]:
    names = tuple(numbered[0][1])
    rows: _Rows = []
    for where, record in numbered:
        if not _is_record(record):
            raise DataError(f"{where}: {_FORMS}; got {excerpt(json.dumps(record))}.")
        if record.keys() != numbered[0][1].keys():
            order_of(tuple(record), names, where, "of the first record")
        rows.append((where, [record[column] for column in names]))
    return names, _chunk(names, rows)


def _split(document: dict[str, Any], name: str) -> tuple[Columns, Chunk] | None:
    names, data = document["columns"], document["data"]
    if not isinstance(names, list) or not all(isinstance(column, str) for column in names):
        return None
    if not isinstance(data, list):
        return None
    rows: _Rows = []
    for number, values in enumerate(data, 1):
        where = f"{name}, row {number} of 'data'"
        if not isinstance(values, list) or len(values) != len(names):
            raise DataError(f"{where}: expected a list of {len(names)} values; got {excerpt(json.dumps(values))}.")
        rows.append((where, values))
    return tuple(names), _chunk(names, rows)


def _chunk(names: Sequence[str], rows: _Rows) -> Chunk:
    numbers = np.full((len(rows), len(names)), np.nan)
    words: dict[int, dict[int, str]] = {}
    for row, (where, values) in enumerate(rows):
        for column, value in enumerate(values):
            if isinstance(value, bool | int | float) and abs(value) < 1e300:  # true and false are 1 and 0
                numbers[row, column] = value
            elif isinstance(value, str):
                if value.strip().lower() not in MISSING:
                    words.setdefault(column, {})[row] = value.strip()
            elif value is not None:
                raise DataError(
                    f"{where}: {excerpt(names[column])} is {excerpt(json.dumps(value))}; expected a number within "
                    "float32, a text or null."
                )
    texts = {}
    for column, found in words.items():
        own = map(text_of, numbers[:, column].tolist())
        texts[column] = [found.get(row, text) for row, text in enumerate(own)]
    return Chunk(numbers, texts, lambda row: rows[row][0])
