"""recordIO frames: where they begin and end in a block, one by one from a stream, and what is wrong with them.

A frame is the magic number, a length, the payload, and zeros up to a multiple of four bytes. The upper three bits
of the length word are a flag for the parts of a record that MXNet's writer split because it contains the magic
number, which is left out between the parts.
Source: apache/mxnet recordio; the SageMaker SDK writes the same, always in one part.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt
from eigenline.formats.likely_causes import other_format
from eigenline.formats.read_buffer import GZIP_MAGIC

MAGIC: Final = 0xCED7230A
MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")
HEADER_BYTES: Final = 8
WHOLE, FIRST, MIDDLE, LAST = range(4)  # the flag
_LENGTH_BITS: Final = 29
_LENGTH_MASK: Final = (1 << _LENGTH_BITS) - 1
_PIECE_BYTES: Final = 1 << 14


class Header(NamedTuple):
    """A frame's header: bytes of the payload, and which part of a record it is."""

    length: int
    flag: int

    @property
    def padding(self) -> int:
        """Bytes between the payload and the next frame."""
        return -self.length % 4


def read_header(head: bytes) -> Header | None:
    """Read a frame's header from the front of `head`; None where none is there."""
    if len(head) < HEADER_BYTES or head[:4] != MAGIC_BYTES:
        return None
    word = int.from_bytes(head[4:HEADER_BYTES], "little")
    return Header(word & _LENGTH_MASK, word >> _LENGTH_BITS)


class Frames(NamedTuple):
    """Complete frames at the front of a block.

    Attributes
    ----------
    start, stop
        Shape (n,), int64: the payloads' first byte and the one after their last, within the block.
    flag
        Shape (n,): continuation flag of each.
    end
        Where the first frame that is not complete begins.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    flag: NDArray[np.int64]
    end: int

    def first(self, count: int) -> Frames:
        """Return only the first `count` frames."""
        end = int(self.start[count]) - HEADER_BYTES if count < self.start.size else self.end
        return Frames(self.start[:count], self.stop[:count], self.flag[:count], end)


def find_frames(data: NDArray[np.uint8], last: bool) -> Frames:
    """Find the complete frames at the front of a block, up to the first that is damaged or cut off.

    All aligned places of the magic number are found at once; one begins a frame only if the frame before it ends
    there.

    Parameters
    ----------
    data
        Shape (m,), uint8: begins with a frame.
    last
        Whether nothing follows the block, so that a missing padding at its end can be forgiven.
    """
    words = data[: data.size & ~3].view("<u4")
    places = np.flatnonzero(words == MAGIC)
    places = places[places < words.size - 1]
    if not places.size or places[0]:
        nothing = np.zeros(0, np.int64)
        return Frames(nothing, nothing, nothing, 0)
    word = words[places + 1]
    length = (word & _LENGTH_MASK).astype(np.int64)
    start = places * 4 + HEADER_BYTES
    following = start + ((length + 3) & ~3)
    if not np.array_equal(following[:-1], places[1:] * 4):
        chain = _chain(places * 4, following)
        word, length, start, following = word[chain], length[chain], start[chain], following[chain]
    ends = start + length if last else following
    count = int(np.searchsorted(ends, data.size, side="right"))
    end = min(int(following[count - 1]), data.size) if count else 0
    return Frames(start[:count], (start + length)[:count], (word[:count] >> _LENGTH_BITS).astype(np.int64), end)


def _chain(places: NDArray[np.int64], following: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of those magic numbers that begin a frame; the others lie within payloads."""
    successor = np.searchsorted(places, following)
    exists = successor < places.size
    exists[exists] = places[successor[exists]] == following[exists]
    hops, hopping, chain, index = successor.tolist(), exists.tolist(), [0], 0
    while hopping[index]:
        index = hops[index]
        chain.append(index)
    return np.asarray(chain, np.int64)


def whole_records(frames: Frames) -> int:
    """Return how many of the frames, from the front, make complete records (with all their parts)."""
    complete = np.flatnonzero((frames.flag == WHOLE) | (frames.flag == LAST))
    return int(complete[-1]) + 1 if complete.size else 0


def payloads(data: NDArray[np.uint8], frames: Frames) -> Iterator[bytes]:
    """Yield complete records, one by one; the parts of a split one are joined by the magic number.

    Parameters
    ----------
    data
        Shape (m,), uint8.
    frames
        Frames within `data`, of which the last completes a record.
    """
    parts: list[bytes] = []
    for start, stop, flag in zip(frames.start.tolist(), frames.stop.tolist(), frames.flag.tolist(), strict=True):
        parts.append(data[start:stop].tobytes())
        if flag in {WHOLE, LAST}:
            yield MAGIC_BYTES.join(parts)
            parts = []


def framed(payload: bytes) -> bytes:
    """Return one payload in its frame."""
    return b"".join((MAGIC_BYTES, len(payload).to_bytes(4, "little"), payload, bytes(-len(payload) % 4)))


class FrameReader:
    """The records of a framed stream, one after the other, their contents in pieces.

    A record may be a whole file, so nothing is collected; `find_frames` needs all of a frame in memory.

    Parameters
    ----------
    stream
        The framed bytes.
    name
        What errors call the stream.
    """

    def __init__(self, stream: io.BufferedReader[Any], name: str) -> None:
        self._stream = stream
        self._name = name
        self._frames = 0  # begun so far
        self._left = 0  # bytes of the current part still to come
        self._padding = 0
        self._flag = WHOLE
        self._between = b""  # what is left of the magic number between two parts

    def next_record(self) -> bool:
        """Go on to the next record, once the one before has been read to its end; False if there is none.

        Raises
        ------
        DataError
            If there is no frame, but something else; or the stream ends within one.
        """
        if not self._next_part():
            return False
        if self._flag not in {WHOLE, FIRST}:
            raise DataError(f"{self._name}: frame {self._frames} is a later part of a record that never began.")
        return True

    def readinto(self, target: memoryview) -> int:
        """Fill some of `target` with the current record's content; 0 at its end.

        Raises
        ------
        DataError
            If the stream ends within the record, or its parts are out of order.
        """
        while not self._between and not self._left:
            if self._flag in {WHOLE, LAST}:
                return 0
            if not self._next_part():
                raise DataError(
                    f"{self._name}: the record that ends with frame {self._frames} lacks its last part; the "
                    "writer of the pipe probably died."
                )
            if self._flag not in {MIDDLE, LAST}:
                raise DataError(f"{self._name}: frame {self._frames} begins a record within another's parts.")
            self._between = MAGIC_BYTES
        if self._between:
            count = min(len(self._between), len(target))
            target[:count], self._between = self._between[:count], self._between[count:]
            return count
        count = self._stream.readinto1(target[: min(self._left, len(target))])
        if not count:
            raise DataError(
                f"{self._name}: frame {self._frames} ends {self._left} bytes early; the writer of the pipe "
                "probably died."
            )
        self._left -= count
        if not self._left:
            self._stream.read(self._padding)
        return count

    def read(self) -> bytes:
        """Return all of the current record's content; as `readinto`, but collected."""
        content = bytearray()
        piece = memoryview(bytearray(_PIECE_BYTES))
        while count := self.readinto(piece):
            content += piece[:count]
        return bytes(content)

    def _next_part(self) -> bool:
        head = self._stream.read(HEADER_BYTES)
        if not head:
            return False
        self._frames += 1
        if len(head) < HEADER_BYTES:
            raise DataError(f"{self._name}: frame {self._frames} ends within its header; it is cut off.")
        header = read_header(head)
        if header is None:
            raise DataError(
                f"{self._name}: frame {self._frames} does not begin with recordIO's magic number 0x{MAGIC:08x} "
                f"but with 0x{int.from_bytes(head[:4], 'little'):08x}; the channel says "
                "RecordWrapperType=RecordIO, so every object must be framed."
            )
        self._left, self._flag, self._padding = header.length, header.flag, header.padding
        return True


def explain(data: NDArray[np.uint8], place: int, record: int, offset: int, name: str) -> DataError:
    """Return the error for bytes that are not a complete frame.

    Parameters
    ----------
    data
        Shape (m,), uint8.
    place
        Where in `data` a frame should begin.
    record
        Number of the record that should begin there, from 1.
    offset
        Where `data` begins in the source, in bytes.
    name
        What errors call the source.
    """
    where = f"{name}, record {record} (byte {offset + place})"
    head = data[place : place + 64].tobytes()
    if head[:4] != MAGIC_BYTES[: len(head)]:
        return DataError(
            f"{where}: expected a recordIO frame, which begins with the bytes {MAGIC_BYTES.hex(' ')}, "
            f"got {head[:4].hex(' ')}.{_likely_cause(head, place + offset == 0)}"
        )
    left = data.size - place
    if left < HEADER_BYTES:
        return DataError(f"{where}: the data end within a frame's header; the file is cut off.")
    header = read_header(head)
    length = header.length if header else 0
    if length <= left - HEADER_BYTES:
        return DataError(
            f"{where}: the record is split into parts, and its last part is missing; the file is cut off."
        )
    return DataError(
        f"{where}: the frame's length is {length} bytes, but only {left - HEADER_BYTES} follow; "
        "the file is cut off or damaged."
    )


def _likely_cause(head: bytes, at_start: bool) -> str:
    if head[:2] == GZIP_MAGIC:
        return other_format(head, "recordIO")
    if not at_start:
        return " The record before it may be damaged."
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text[:1] in {"{", "["}:
        return " This looks like JSON, but the content type says recordIO."
    if text[:1] and (text[0].isdigit() or text[0] in '+-."' or "," in text.split("\n")[0]):
        return f" This looks like CSV ({excerpt(text, 30)}), but the content type says recordIO."
    return f"{other_format(head, 'recordIO')} Is the content type right?"
