"""A read buffer of bounded size over bytes of any length: a stream (file, FIFO) or memory (bytes, mmap)."""

from __future__ import annotations

import gzip
import mmap
import zlib
from typing import Any, BinaryIO, Final, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt

Source: TypeAlias = BinaryIO | bytes | bytearray | memoryview | mmap.mmap
GZIP_MAGIC: Final = b"\x1f\x8b"
_ALIGNMENT: Final = 64


class ReadBuffer(Protocol):
    """The bytes of a source that have been read and not yet consumed.

    Attributes
    ----------
    data
        The bytes from the first one not yet consumed, uint8. Views of it stay valid after `advance`.
    last
        True once nothing follows `data`.
    offset
        Where `data` begins in the source.
    whole
        All bytes of the source, where it is in memory; None for a stream.
    """

    data: NDArray[np.uint8]
    last: bool
    offset: int
    whole: NDArray[np.uint8] | None

    def advance(self, consumed: int, misalignment: int = 0, *, viewed: bool = True) -> None:
        """Drop some bytes from the front and read more.

        Parameters
        ----------
        consumed
            How many bytes to drop. 0 doubles the buffer, so it grows only as far as bytes really arrive.
        misalignment
            The address of the new `data` modulo 64, where the source is a stream.
        viewed
            Whether views of the old `data` are still in use; if not, its memory is used again.
        """


def open_read_buffer(source: Source, block_bytes: int, *, name: str, unpack: bool = True) -> ReadBuffer:
    """Open a read buffer of about `block_bytes` over a source; streams are read to their end, but not closed.

    Parameters
    ----------
    source
        A binary stream, or memory.
    block_bytes
        How much is in memory at once, as long as no record is longer.
    name
        What errors call the source.
    unpack
        Whether gzip is recognised and unpacked on the way. Not for requests, which may come from anybody: a
        small one could unpack to more than the memory.
    """
    if isinstance(source, bytes | bytearray | memoryview | mmap.mmap):
        data = np.frombuffer(source, np.uint8) if len(source) else np.zeros(0, np.uint8)
        if not unpack or bytes(data[:2]) != GZIP_MAGIC:
            return _MemoryBuffer(data, block_bytes)
        return _StreamBuffer(_unpacked(cast(BinaryIO, _Slices(data))), block_bytes, name)
    start = _read_exactly(source, 2)
    if unpack and start == GZIP_MAGIC:
        return _StreamBuffer(_unpacked(cast(BinaryIO, _Rewound(source, start))), block_bytes, name)
    return _StreamBuffer(source, block_bytes, name, start)


def _unpacked(packed: BinaryIO) -> BinaryIO:
    return cast(BinaryIO, gzip.GzipFile(fileobj=packed))


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    """Read `size` bytes, fewer only at the end; a FIFO may deliver them one by one."""
    start = b""
    while len(start) < size:
        piece = source.read(size - len(start))
        if not piece:
            break
        start += piece
    return start


class _Rewound:
    """A stream with some bytes put back in front, because a FIFO cannot seek."""

    def __init__(self, source: BinaryIO, start: bytes) -> None:
        self._source = source
        self._start = start

    def read(self, size: int = -1) -> bytes:
        if self._start and size >= 0:
            piece, self._start = self._start[:size], self._start[size:]
            return piece
        piece, self._start = self._start, b""
        return piece + self._source.read(size)


class _Slices:
    """A buffer read as a stream, a slice at a time: a mapped file is never in memory whole."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data
        self._place = 0

    def read(self, size: int = -1) -> bytes:
        stop = self._data.size if size < 0 else self._place + size
        piece = self._data[self._place : stop].tobytes()
        self._place += len(piece)
        return piece


class _MemoryBuffer:
    """Slices of a buffer: nothing is copied."""

    def __init__(self, data: NDArray[np.uint8], block_bytes: int) -> None:
        self._all = data
        self.whole: NDArray[np.uint8] | None = data
        self._size = self._block_bytes = block_bytes
        self.offset = 0
        self._show()

    def _show(self) -> None:
        stop = self.offset + self._size
        self.data = self._all[self.offset : stop]
        self.last = stop >= self._all.size

    def advance(self, consumed: int, misalignment: int = 0, *, viewed: bool = True) -> None:
        self._size = self._block_bytes if consumed else 2 * self._size
        self.offset += consumed
        self._show()


class _StreamBuffer:
    """Blocks read from a stream, each into memory of its own; what was not consumed is carried over."""

    def __init__(self, stream: BinaryIO, block_bytes: int, name: str, start: bytes = b"") -> None:
        self._stream: Any = stream
        self._readinto = getattr(stream, "readinto", None)
        self._name = name
        self._size = self._block_bytes = block_bytes
        self.offset = 0
        self.whole: NDArray[np.uint8] | None = None
        self.last = False
        self.data = np.frombuffer(start, np.uint8)
        self._memory = np.zeros(0, np.uint8)
        self._fill(self.data, 0)

    def advance(self, consumed: int, misalignment: int = 0, *, viewed: bool = True) -> None:
        self._size = self._block_bytes if consumed else 2 * self._size
        self.offset += consumed
        if self.last:
            self.data = self.data[consumed:]
            return
        if viewed:
            self._memory = np.zeros(0, np.uint8)
        self._fill(self.data[consumed:], misalignment)

    def _fill(self, carried: NDArray[np.uint8], misalignment: int) -> None:
        # A whole block more than is carried: a carried tail is usually less than one record.
        size = carried.size + self._size
        if self._memory.size < size + 2 * _ALIGNMENT:
            # Some room for a longer tail, so that the next block fits too.
            self._memory = np.empty(size + size // 8 + 2 * _ALIGNMENT, np.uint8)
        shift = (misalignment - self._memory.ctypes.data) % _ALIGNMENT
        block = self._memory[shift : shift + size]
        block[: carried.size] = carried
        filled = carried.size
        view = block.data
        while filled < size:
            count = self._read_some(view[filled:])
            if not count:
                self.last = True
                break
            filled += count
        self.data = block[:filled]

    def _read_some(self, target: memoryview) -> int:
        try:
            if self._readinto is not None:
                return int(self._readinto(target) or 0)
            piece = self._stream.read(len(target)) or b""
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(
                f"{self._name} begins as gzip data but cannot be unpacked: {excerpt(str(error))}. "
                "Was the file cut off or damaged on its way?"
            ) from None
        target[: len(piece)] = piece
        return len(piece)
