"""JSON and JSON Lines: whole documents and lines of instances, dense or sparse, to one array."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.json.instances import is_number, read_instance
from eigenline.formats.json.parser import parser
from eigenline.formats.likely_causes import other_format, width_hint
from eigenline.formats.read_buffer import ReadBuffer
from eigenline.formats.recordio.record import Block, Row, stack_rows

_MOST_LINE_BYTES: Final = 16 << 20
_MOST_DOCUMENT_BYTES: Final = 256 << 20


def parse_json(body: bytes, name: str) -> Features:
    """Read ``{"instances": [...]}`` into float32 rows.

    Chosen: beside the documented form, a bare list of rows (which the SDK's JSONSerializer sends) and a
    single instance without its list are accepted.

    Raises
    ------
    DataError
        Naming the instance, where one is not numbers or differs in width.
    """
    quick = _parse_quickly(body)
    if quick is not None:
        return quick
    document = _load(body, name)
    instances = document.get("instances", [document]) if isinstance(document, dict) else document
    if not isinstance(instances, list):
        raise DataError(f'{name}: expected {{"instances": [...]}}, got {excerpt(json.dumps(document))}.')
    if instances and all(is_number(value) for value in instances):
        instances = [instances]  # one bare row
    return _stack((read_instance(instance, f"{name}, instance {i}"), i) for i, instance in enumerate(instances, 1))


def parse_json_lines(body: bytes, name: str, first_line: int = 1) -> Features:
    """Read one instance per line into float32 rows; blank lines are skipped.

    Parameters
    ----------
    body
        Lines of JSON.
    name
        What errors call the source.
    first_line
        Number of the first line in the source, from 1.

    Raises
    ------
    DataError
        Naming the line.
    """
    rows: list[tuple[Row, int]] = []
    for number, line in enumerate(body.split(b"\n"), start=first_line):
        if line and not line.isspace():
            rows.append((_parse_line(line, f"{name}, line {number}"), number))
    return _stack(iter(rows))


def read_json(buffer: ReadBuffer, name: str) -> Iterator[tuple[Block, int]]:
    """Yield the instances of a source that is one JSON document, which has to fit in memory."""
    while not buffer.last:
        if buffer.data.size > _MOST_DOCUMENT_BYTES:
            raise DataError(
                f"{name}: the JSON document is longer than {_MOST_DOCUMENT_BYTES} bytes; use JSON Lines, which is "
                "read line by line."
            )
        buffer.advance(0)
    if buffer.data.size:
        yield Block(parse_json(buffer.data.tobytes(), name), None), 1


def read_json_lines(buffer: ReadBuffer, name: str) -> Iterator[tuple[Block, int]]:
    """Yield the instances of a source of JSON Lines, block by block, each with its first line's number."""
    lines = 0
    while buffer.data.size:
        text = buffer.data.tobytes()
        end = len(text) if buffer.last else text.rfind(b"\n") + 1
        if not end and len(text) > _MOST_LINE_BYTES:
            raise DataError(f"{name}, line {lines + 1}: it is longer than {_MOST_LINE_BYTES} bytes.")
        if text[:end].strip():
            yield Block(parse_json_lines(text[:end], name, lines + 1), None), lines + 1
        lines += text.count(b"\n", 0, end)
        buffer.advance(end, viewed=False)


def _parse_quickly(body: bytes) -> Features | None:
    """Read the dense short forms through the SIMD parser; None where the strict reader decides."""
    try:
        rows = [_dense_values(instance) for instance in _member(parser().parse(body), "instances")]
    except (ValueError, KeyError, TypeError, RuntimeError, AttributeError):
        return None
    # A row that is itself nested would have been flattened: every bracket must be a row's, or the list's.
    if not rows or body.count(b"[") != len(rows) + 1:
        return None
    return _matrix(rows)


def _dense_values(instance: Any) -> Any:
    if "features" in instance:
        features = _member(instance, "features")
    else:
        features = _member(_member(instance, "data"), "features")
    if not hasattr(features, "as_buffer"):
        if len(features) != 1:
            raise KeyError("sparse")
        features = features["values"]
    return features.as_buffer(of_type="d")


def _member(parsed: Any, key: str) -> Any:
    if len(parsed) != 1 and len(set(parsed.keys())) != len(parsed):
        raise KeyError("a name occurs twice, which the strict reader refuses")
    return parsed[key]


def _matrix(buffers: list[Any]) -> NDArray[np.float32] | None:
    if len(buffers) == 1:  # copied once: the parser's memory is not ours
        with np.errstate(over="ignore"):
            row = np.frombuffer(buffers[0]).astype(np.float32)
        return row[np.newaxis] if row.size and np.isfinite(row).all() else None
    size = len(memoryview(buffers[0]).cast("B"))
    joined = b"".join(buffers)
    if not size or len(joined) != size * len(buffers) or any(memoryview(b).nbytes != size for b in buffers):
        return None
    with np.errstate(over="ignore"):
        values = np.frombuffer(joined).astype(np.float32).reshape(len(buffers), -1)
    return values if np.isfinite(values).all() else None


def _parse_line(line: bytes, where: str) -> Row:
    if line.count(b"[") == 1:
        try:
            with np.errstate(over="ignore"):
                values = np.frombuffer(_dense_values(parser().parse(line))).astype(np.float32)
        except (ValueError, KeyError, TypeError, RuntimeError, AttributeError):
            values = np.zeros(0, np.float32)
        if values.size and np.isfinite(values).all():
            return Row(values, None, values.size, None)
    return read_instance(_load(line, where), where)


def _load(text: bytes, where: str) -> Any:
    try:
        return json.loads(
            text.decode("utf-8-sig"), parse_constant=_refuse_constant, object_pairs_hook=_unambiguous
        )
    except json.JSONDecodeError as error:
        cause = _likely_cause(text)
        raise DataError(
            f"{where}: it is not JSON: {error.msg} at character {error.pos} "
            f"({excerpt(error.doc[max(0, error.pos - 10) : error.pos + 20])}).{cause}"
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{where}: it is not UTF-8 text.{_likely_cause(text)}") from None
    except RecursionError:
        raise DataError(f"{where}: it is nested too deeply to be an instance.") from None
    except ValueError as error:  # a constant, a name twice, or an integer of thousands of digits
        raise DataError(f"{where}: {excerpt(str(error))[1:-1]}.") from None


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; one that has a name twice means something else to every parser."""
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the name {excerpt(twice, 30)} occurs twice in one object")
    return found


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no finite number; fill missing values in beforehand")


def _likely_cause(text: bytes) -> str:
    if cause := other_format(text[:8], "JSON"):
        return cause
    if text[:1].isdigit() or text[:1] == b"-":
        return " This looks like CSV, but the content type says JSON."
    return ""


def _stack(numbered: Iterator[tuple[Row, int]]) -> Features:
    rows: list[Row] = []
    for row, number in numbered:
        if rows and row.feature_dim != rows[0].feature_dim:
            raise DataError(
                f"Instance {number} has {row.feature_dim} features, those before it have {rows[0].feature_dim}."
                f"{width_hint(row.feature_dim, rows[0].feature_dim)}"
            )
        rows.append(row)
    if not rows:
        return np.zeros((0, 0), np.float32)
    return stack_rows(rows, "the request").features
