"""Copies `uid` and `metadata` of a request's records into the answer's records.

The algorithms do not use them; a client finds by them which answer belongs to which row. Source: SageMaker
Developer Guide, Common Data Formats (inference), whose recordIO sample of an answer carries both.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.recordio.framing import MAGIC_BYTES, find_frames, framed
from eigenline.formats.recordio.protobuf_fields import Field, walk_fields

_PASSED: Final = (3, 4)  # Record.uid, Record.metadata


def pass_through(request: bytes, answer: bytes) -> bytes:
    """Return a recordIO answer with the `uid` and `metadata` that the request's records have.

    Parameters
    ----------
    request
        RecordIO that has been read without an error; or one payload without its frame.
    answer
        RecordIO, one record for each of the request's.
    """
    passed = _passedwalk_fields(request)
    if passed is None:
        return answer
    frames = find_frames(np.frombuffer(answer, np.uint8), last=True)
    records = zip(frames.start.tolist(), frames.stop.tolist(), passed, strict=True)
    return b"".join(framed(answer[start:stop] + more) for start, stop, more in records)


def _passedwalk_fields(request: bytes) -> list[bytes] | None:
    """Return the bytes of each record's passed fields; None where no record has any (nearly always)."""
    starts, stops = _records(request)
    if not starts.size:
        return None
    first = list(walk_fields(request, int(starts[0]), int(stops[0])))
    if not any(field.number in _PASSED for field in first) and _all_alike(request, starts, stops, first):
        return None
    passed = [
        b"".join(request[f.tag : f.stop] for f in walk_fields(request, start, stop) if f.number in _PASSED)
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


def _all_alike(request: bytes, starts: NDArray[np.int64], stops: NDArray[np.int64], fields: list[Field]) -> bool:
    """Return whether all records have the first one's fields, with the same lengths."""
    if (np.diff(stops - starts) != 0).any():
        return False
    heads = [place for field in fields for place in range(field.tag, field.start)]
    bytes_there = np.frombuffer(request, np.uint8)[(starts - starts[0])[:, np.newaxis] + np.array(heads, np.int64)]
    return bool((bytes_there == bytes_there[0]).all())
