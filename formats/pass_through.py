"""What the service documents as passed through: `uid` and `metadata` of a request's records, into the answer's.

The maths does not know them; they let a client tell which answer belongs to which row. Source: SageMaker Developer
Guide, Common Data Formats (inference), whose recordIO sample of an answer carries both.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.framing import MAGIC_BYTES, find_frames, framed

_PASSED: Final = (3, 4)  # Record.uid, Record.metadata
_FIXED_BYTES: Final = {1: 8, 5: 4}  # of protobuf's wire types that have a fixed width


class _Field(NamedTuple):
    """One field of a protobuf message: its number, and where its tag, its value and the next field begin."""

    number: int
    start: int
    value: int
    end: int


def pass_through(request: bytes, answer: bytes) -> bytes:
    """Return a recordIO answer with the `uid` and `metadata` that the request's records have.

    Parameters
    ----------
    request
        RecordIO that has been read without an error; or one payload without its frame.
    answer
        RecordIO, one record for each of the request's.
    """
    passed = _passed_fields(request)
    if passed is None:
        return answer
    frames = find_frames(np.frombuffer(answer, np.uint8), last=True)
    records = zip(frames.start.tolist(), frames.stop.tolist(), passed, strict=True)
    return b"".join(framed(answer[start:stop] + more) for start, stop, more in records)


def _passed_fields(request: bytes) -> list[bytes] | None:
    """Return the bytes of each record's passed fields; None where no record has any (nearly always)."""
    starts, stops = _records(request)
    if not starts.size:
        return None
    first = list(_fields(request, int(starts[0]), int(stops[0])))
    if not any(field.number in _PASSED for field in first) and _all_alike(request, starts, stops, first):
        return None
    passed = [
        b"".join(request[f.start : f.end] for f in _fields(request, start, stop) if f.number in _PASSED)
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)
    ]
    return passed if any(passed) else None


def _records(request: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where each payload begins and ends; nothing where MXNet has split records, which no client does."""
    if request[:4] != MAGIC_BYTES:  # a single payload without its frame
        return np.array([0], np.int64), np.array([len(request)], np.int64)
    frames = find_frames(np.frombuffer(request, np.uint8), last=True)
    if frames.flag.any():
        return frames.start[:0], frames.stop[:0]
    return frames.start, frames.stop


def _all_alike(request: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64], fields: list[_Field]) -> bool:
    """Tell whether all records have the first one's fields, with the same lengths."""
    if (np.diff(stops - starts) != 0).any():
        return False
    heads = [place for field in fields for place in range(field.start, field.value)]
    bytes_there = np.frombuffer(request, np.uint8)[(starts - starts[0])[:, np.newaxis] + np.array(heads, np.int64)]
    return bool((bytes_there == bytes_there[0]).all())


def _fields(data: bytes, start: int, stop: int) -> Iterator[_Field]:
    """Yield a message's fields, up to one that this cannot skip (a group, which protobuf has long given up)."""
    place = start
    while place < stop:
        try:
            tag, value = _varint(data, place)
            kind = tag & 7
            if kind == 0:
                end = _varint(data, value)[1]
            elif kind == 2:
                length, value = _varint(data, value)
                end = value + length
            else:
                end = value + _FIXED_BYTES[kind]
        except (IndexError, KeyError):
            return
        if end > stop:
            return
        yield _Field(tag >> 3, place, value, end)
        place = end


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a varint and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise IndexError("a varint of more than ten bytes")
