"""`RecordWrapperType=RecordIO` and augmented manifests: the objects that SageMaker put into recordIO frames."""

from __future__ import annotations

import io
from typing import Any, Final

from eigenline.formats.recordio.framing import FIRST, HEADER_BYTES, MAGIC_BYTES, FrameReader, read_header
from eigenline.formats.recordio.joined import (
    JoinedAttributes,
    attributes_of_text,
    join_record,
    join_text,
    label_beside_record,
)

_BUFFER_BYTES: Final = 1 << 16
_HEAD_BYTES: Final = 1 << 22  # looked at to find out what the frames of a channel hold


def unwrap(stream: io.BufferedReader[Any], name: str, text: bool) -> io.BufferedReader[Any]:
    """Return the channel's own bytes out of a pipe whose objects SageMaker wrapped.

    Parameters
    ----------
    stream
        The pipe.
    name
        What errors call it.
    text
        True for ``text/csv``: a frame holds one or more lines, or one attribute of a line. Otherwise a frame holds
        one bare protobuf record, which makes the pipe an ordinary recordIO stream as it is; or a record's label,
        where an augmented manifest names the two apart; or a whole recordIO object, which is then framed twice.

    Raises
    ------
    DataError
        When read, where the stream is damaged or cut off.
    """
    head = stream.read(_HEAD_BYTES)
    whole: io.BufferedReader[Any] = io.BufferedReader(_Prefixed(head, stream), _BUFFER_BYTES)
    attributes = attributes_of_text(head) if text else label_beside_record(head)
    if attributes > 1:
        join = join_text if text else join_record
        return io.BufferedReader(JoinedAttributes(whole, name, attributes, join), _BUFFER_BYTES)
    if text:
        return io.BufferedReader(Unwrapped(whole, name, ending=b"\n"), _BUFFER_BYTES)
    return io.BufferedReader(Unwrapped(whole, name), _BUFFER_BYTES) if _framed_twice(head) else whole


def _framed_twice(head: bytes) -> bool:
    """Return whether the first record is itself recordIO: it begins with the magic number.

    MXNet's writer leaves the magic number out and splits the record there, so its first part is then empty.
    """
    header = read_header(head)
    if header is None:
        return False
    if not header.length:
        return header.flag == FIRST
    return head[HEADER_BYTES : HEADER_BYTES + header.length].startswith(MAGIC_BYTES)


class _Prefixed(io.RawIOBase):
    """A stream with some bytes, already read from it, put back in front."""

    def __init__(self, head: bytes, stream: io.BufferedReader[Any]) -> None:
        super().__init__()
        self._head = memoryview(head)
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._head:
            return self._stream.readinto1(buffer)
        count = min(len(self._head), len(buffer))
        buffer[:count], self._head = self._head[:count], self._head[count:]
        return count


class Unwrapped(io.RawIOBase):
    r"""The contents of recordIO records, one after the other, as one stream.

    SageMaker puts each object of the channel (with an augmented manifest: each attribute of each line) into one
    record of its own. An object may be a whole CSV file, so contents pass through as they come and are never
    collected.

    Parameters
    ----------
    stream
        The framed bytes.
    name
        What errors call the stream.
    ending
        Put behind contents that do not end in it: ``b"\n"`` for text, whose last line may lack its newline;
        ``b""`` otherwise.
    """

    def __init__(self, stream: io.BufferedReader[Any], name: str, ending: bytes = b"") -> None:
        super().__init__()
        self._frames = FrameReader(stream, name)
        self._ending = ending
        self._tail = ending  # the last byte of the content

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill some of the buffer with content; 0 at the end of the last record."""
        view = memoryview(buffer)
        while not (count := self._frames.readinto(view)):
            if self._tail != self._ending:
                count = len(self._ending)
                view[:count] = self._ending
                break
            if not self._frames.next_record():
                return 0
        if self._ending:
            self._tail = bytes(view[count - 1 : count])
        return count
