"""Records that an augmented manifest spreads over several frames: one per attribute, in AttributeNames order."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.recordio.framing import FrameReader, find_frames, framed, payloads, whole_records

_MOST_ATTRIBUTES = 16
_LABEL_BYTES = frozenset(b"0123456789+-.eE \"'\r\n")
Join = Callable[[list[bytes], str], bytes]


def attributes_of_text(head: bytes) -> int:
    """Return how many frames make one CSV record, found from the frames at the front of a channel.

    Chosen: SageMaker does not pass `AttributeNames` to the container, so the widths have to show it. Frames of one
    width are one row each. Widths that repeat with a period, as 1, 784, 1, 784 of ``["label", "features"]``, are
    the attributes of one record. Frames with several lines are whole CSV objects.
    """
    contents = [content.strip() for content in _complete(head)]
    if any(b"\n" in content for content in contents):
        return 1
    widths = np.array([content.count(b",") for content in contents])
    for period in range(1, min(_MOST_ATTRIBUTES, len(widths) // 2) + 1):
        if np.array_equal(widths[period:], widths[:-period]):
            return period
    return 1


def label_beside_record(head: bytes) -> int:
    """Return 2 where bare protobuf records alternate with numbers, their labels; else 1."""
    kinds = [bool(content) and _LABEL_BYTES.issuperset(content) for content in _complete(head)[:_MOST_ATTRIBUTES]]
    alternating = len(kinds) > 1 and all(kind != after for kind, after in itertools.pairwise(kinds))
    return 2 if alternating else 1


def _complete(head: bytes) -> list[bytes]:
    data = np.frombuffer(head, np.uint8)
    frames = find_frames(data, last=True)
    return list(payloads(data, frames.first(whole_records(frames))))


def join_text(values: list[bytes], where: str) -> bytes:
    """Return the attributes' values as one line of CSV; a JSON list or text sheds its brackets or quotes."""
    return b",".join(value.strip().strip(b'"[]').strip() for value in values) + b"\n"


def join_record(values: list[bytes], where: str) -> bytes:
    """Return a framed protobuf record with the label from the other attribute.

    Two serialised messages, one after the other, are the message with the fields of both (protobuf, "Encoding",
    last one wins), so the record itself is not parsed.
    """
    from eigenline.formats.recordio.record_pb2 import Record

    label, record = sorted(values, key=lambda value: not (value and _LABEL_BYTES.issuperset(value)))
    labelled = Record()
    try:
        labelled.label["values"].float32_tensor.values.append(float(label.strip(b"\"' \r\n")))
    except ValueError as error:
        raise DataError(f"{where}: expected a record and a number, its label; got {excerpt(label)}.") from error
    return framed(record + labelled.SerializeToString())


class JoinedAttributes(io.RawIOBase):
    """A stream in which every `count` frames of another stream have become one record.

    SageMaker makes each of these frames from a line of JSON and, for names that end in ``-ref``, a request to S3,
    at a few thousand a second; a loop over them costs nothing beside that.

    Parameters
    ----------
    stream
        The framed bytes.
    name
        What error messages call the stream.
    count
        Frames of one record.
    join
        Makes a record's bytes of its frames' contents.
    """

    def __init__(self, stream: io.BufferedReader[Any], name: str, count: int, join: Join) -> None:
        super().__init__()
        self._frames = FrameReader(stream, name)
        self._name = name
        self._records = self._join(count, join)
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill some of the buffer with records; 0 after the last."""
        if not self._pending:
            self._pending = memoryview(next(self._records, b""))
        size = min(len(self._pending), len(buffer))
        buffer[:size], self._pending = self._pending[:size], self._pending[size:]
        return size

    def _join(self, count: int, join: Join) -> Iterator[bytes]:
        number = 0
        values: list[bytes] = []
        while self._frames.next_record():
            values.append(self._frames.read())
            if len(values) == count:
                number += 1
                yield join(values, f"{self._name}, record {number}")
                values = []
        if values:
            raise DataError(
                f"{self._name}, record {number + 1}: it has {len(values)} of its {count} attributes; the writer "
                "of the pipe probably died, or a line of the manifest lacks an attribute."
            )
