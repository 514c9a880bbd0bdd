"""`RecordWrapperType=RecordIO` and augmented manifests: objects that SageMaker wrapped in recordIO frames."""

from __future__ import annotations

import io
import struct
from typing import Any

from eigenline.algorithms.errors import DataError
from eigenline.container.joined_attributes import (
    JoinedAttributes,
    attributes_of_text,
    join_record,
    join_text,
    label_beside_record,
)
from eigenline.formats.framing import MAGIC, MAGIC_BYTES

_HEADER = struct.Struct("<II")
_BUFFER_BYTES = 1 << 16
_HEAD_BYTES = 1 << 22  # looked at to learn how the channel is made


def unwrap(stream: io.BufferedReader[Any], name: str, text: bool) -> io.BufferedReader[Any]:
    """Return the channel's own bytes out of a pipe whose objects SageMaker wrapped.

    Parameters
    ----------
    stream
        The pipe.
    name
        What error messages call it.
    text
        True for ``text/csv``: a frame holds one or more lines, or one attribute of a line. Otherwise a frame holds
        one bare protobuf record, which makes the pipe an ordinary recordIO stream as it is; or a record's label,
        where an augmented manifest names the two apart; or a whole recordIO object, which is then framed twice.
    """
    head = stream.read(_HEAD_BYTES)
    whole: io.BufferedReader[Any] = io.BufferedReader(_Prefixed(head, stream), _BUFFER_BYTES)
    attributes = attributes_of_text(head) if text else label_beside_record(head)
    if attributes > 1:
        join = join_text if text else join_record
        return io.BufferedReader(JoinedAttributes(whole, name, attributes, join), _BUFFER_BYTES)
    if text:
        return io.BufferedReader(Unwrapped(whole, name, ending=b"\n"), _BUFFER_BYTES)
    framed_twice = head[8:12] == MAGIC_BYTES
    return io.BufferedReader(Unwrapped(whole, name), _BUFFER_BYTES) if framed_twice else whole


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
    r"""The contents of recordIO frames, one after the other, as one stream.

    SageMaker puts each object of the channel (with an augmented manifest: each attribute of each line) into one
    frame of its own. An object may be a whole CSV file, so contents pass through as they come and are never
    collected.

    Parameters
    ----------
    stream
        The framed bytes.
    name
        What error messages call the stream.
    ending
        Put behind contents that do not end in it: ``b"\n"`` for text, whose last line may lack its newline;
        ``b""`` otherwise.
    """

    def __init__(self, stream: io.BufferedReader[Any], name: str, ending: bytes = b"") -> None:
        super().__init__()
        self._stream = stream
        self._name = name
        self._ending = ending
        self._left = 0  # bytes of the current frame's content still to come
        self._padding = 0
        self._frames = 0
        self._tail = ending
        self._pending = b""

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill some of the buffer with content; 0 at the end of the last frame."""
        while not self._left and not self._pending:
            if not self._next_frame():
                return 0
        if self._pending:
            count = min(len(self._pending), len(buffer))
            buffer[:count], self._pending = self._pending[:count], self._pending[count:]
            return count
        count = self._stream.readinto1(memoryview(buffer)[: min(self._left, len(buffer))])
        if not count:
            raise DataError(
                f"{self._name}: frame {self._frames} ends {self._left} bytes early; the writer of the pipe "
                "probably died."
            )
        self._left -= count
        self._tail = bytes(buffer[count - 1 : count])
        if not self._left:
            self._finish_content()
        return count

    def _finish_content(self) -> None:
        if self._ending and self._tail != self._ending:
            self._pending = self._ending
        self._stream.read(self._padding)

    def _next_frame(self) -> bool:
        header = self._stream.read(_HEADER.size)
        if not header:
            return False
        self._frames += 1
        if len(header) < _HEADER.size:
            raise DataError(f"{self._name}: frame {self._frames} ends within its header.")
        magic, self._left = _HEADER.unpack(header)
        if magic != MAGIC:
            raise DataError(
                f"{self._name}: frame {self._frames} does not begin with recordIO's magic number 0x{MAGIC:08x} "
                f"but with 0x{magic:08x}; the channel says RecordWrapperType=RecordIO, so every object must be "
                "framed."
            )
        self._padding = -self._left % 4
        return True
