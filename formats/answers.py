"""Response bodies: named columns of numbers as JSON, JSON Lines, CSV or recordIO-protobuf."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.content_types import CSV, JSON, JSON_LINES, RECORDIO
from eigenline.formats.recordio.writer import write_label_records

_FEW: Final = 16
_CLASS_COLUMNS: Final = ("predicted_label", "labels")


def write_answer(
    columns: Mapping[str, NDArray[Any]], *, envelope: str, media_type: str, classes: Sequence[str] | None = None
) -> bytes:
    """Write a model's output for some records, one entry per record, in their order.

    Parameters
    ----------
    columns
        Name -> shape (n,), or (n, c) for a list of numbers per record. ``predicted_label`` is written as whole
        numbers. Float32 is widened to the double that is printed with the fewest digits, as the service does.
    envelope
        Name of the list in the JSON form: ``projections`` or ``predictions``.
    media_type
        `JSON`: one document with blanks after separators. `JSON_LINES`: compact, names sorted, a line end
        after each. `RECORDIO`: ``label`` entries. `CSV`: no header, a line end after each record, so that answers
        can be appended to each other, lists spread over columns; the service itself never wrote CSV.
    classes
        Names of the classes, which the columns ``predicted_label`` and ``labels`` then hold in place of their
        numbers; not in recordIO, whose tensors hold no text.
    """
    if media_type == RECORDIO:
        return write_label_records(columns)
    if media_type == JSON:
        rows = _json_rows(columns, ", ", ": ", classes)
        return f'{{"{envelope}": [{", ".join(rows)}]}}'.encode()
    if media_type == JSON_LINES:
        rows = _json_rows(dict(sorted(columns.items())), ",", ":", classes)
        return "".join(row + "\n" for row in rows).encode()
    if media_type == CSV:
        texts = [_csv_texts(name, column, classes) for name, column in columns.items()]
        lines = (",".join(row) + "\n" for row in zip(*texts, strict=True))
        return "".join(lines).encode()
    raise ValueError(f"no answer can be written as {media_type}")


def _json_rows(
    columns: Mapping[str, NDArray[Any]], comma: str, colon: str, classes: Sequence[str] | None
) -> list[str]:
    form = "{" + comma.join(f'"{name}"{colon}%s' for name in columns) + "}"
    texts = [
        _texts(name, column, comma)
        if classes is None or name not in _CLASS_COLUMNS
        else _named(column, list(map(json.dumps, classes)), comma, "[]")
        for name, column in columns.items()
    ]
    return list(map(form.__mod__, zip(*texts, strict=True)))


def _csv_texts(name: str, column: NDArray[Any], classes: Sequence[str] | None) -> list[str]:
    if classes is not None and name in _CLASS_COLUMNS:
        return _named(column, list(map(_csv_cell, classes)), ",", "")
    texts = _texts(name, column, ",")
    return texts if column.ndim == 1 else [text[1:-1] for text in texts]


def _csv_cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') or text != text.strip() else text


def _named(column: NDArray[Any], names: Sequence[str], comma: str, brackets: str) -> list[str]:
    """Return each record's class, or list of classes, by name."""
    numbers = column.astype(np.intp).tolist()
    if column.ndim == 1:
        return [names[number] for number in numbers]
    start, end = brackets[:1], brackets[1:]
    return [start + comma.join([names[number] for number in row]) + end for row in numbers]


def _texts(name: str, column: NDArray[Any], comma: str) -> list[str]:
    """Return each record's value as JSON text."""
    if not len(column):
        return []
    if column.ndim == 1 and len(column) <= _FEW:  # numpy's calls would take longer than the loop
        numbers = column.tolist()
        if name == "predicted_label" and not any(number % 1 for number in numbers):
            return [str(int(number)) for number in numbers]
        if all(map(math.isfinite, numbers)):
            return list(map(repr, numbers))
    if name == "predicted_label" and not (column % 1).any():  # NaN % 1 is NaN, which counts as true
        return list(map(str, column.astype(np.int64).tolist()))
    if column.ndim == 1 and np.isfinite(column).all():
        return list(map(repr, column.tolist()))  # what JSON's encoder writes of a finite number
    # One call of the C encoder for the whole column, which is then cut at its own separators.
    text = json.dumps(column.tolist(), separators=(comma, ":"))
    if column.ndim == 1:
        return text[1:-1].split(comma)
    return [f"[{row}]" for row in text[2:-2].split(f"]{comma}[")]
