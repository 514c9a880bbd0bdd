"""Bytes of a file or of standard input, unpacked where they are gzip, counted as they are read."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, cast

from eigenline.algorithms.errors import DataError

HEAD_BYTES = 1 << 16
_GZIP = b"\x1f\x8b"


def nothing(count: int) -> None:
    """Take no notice of progress."""


class Source:
    """One file, or standard input.

    Parameters
    ----------
    path
        None is standard input, which can be opened once.
    on_bytes
        Called with the number of bytes that were read since the last call, as they lie on the disk.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be read.
    """

    def __init__(self, path: Path | None, on_bytes: Callable[[int], None] = nothing) -> None:
        self.path = path
        self.name = "standard input" if path is None else str(path)
        self.on_bytes = on_bytes
        self._stream = None if path is not None else _Prefixed(b"", sys.stdin.buffer)
        self.head = self._read_head()

    @property
    def size(self) -> int:
        """Bytes on the disk; 0 for standard input."""
        return 0 if self.path is None else self.path.stat().st_size

    def open(self) -> BinaryIO:
        """Return the unpacked bytes from the beginning."""
        raw = self._raw()
        return cast(BinaryIO, _Unpacked(raw, self.name) if self._packed else raw)

    def _raw(self) -> BinaryIO:
        if self._stream is not None:
            return cast(BinaryIO, _Counted(cast(BinaryIO, self._stream), self.on_bytes))
        assert self.path is not None
        try:
            return cast(BinaryIO, _Counted(self.path.open("rb"), self.on_bytes))
        except OSError as error:
            raise DataError(f"{self.name} cannot be read: {error.strerror}.") from None

    def _read_head(self) -> bytes:
        """Return the first bytes, unpacked, without moving the place at which `open` begins."""
        if self._stream is not None:
            packed = self._stream.read(HEAD_BYTES)
            self._stream = _Prefixed(packed, sys.stdin.buffer)
        else:
            assert self.path is not None
            try:
                with self.path.open("rb") as file:
                    packed = file.read(HEAD_BYTES)
            except OSError as error:
                raise DataError(f"{self.name} cannot be read: {error.strerror}.") from None
        self._packed = packed[:2] == _GZIP
        if not self._packed:
            return packed
        try:
            return zlib.decompressobj(31).decompress(packed, HEAD_BYTES)
        except zlib.error as error:
            raise DataError(f"{self.name} is damaged gzip data: {error}.") from None


class _Prefixed:
    """A stream whose first bytes were read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        if size < 0:
            taken, self._head = self._head, b""
            return taken + self._rest.read()
        taken, self._head = self._head[:size], self._head[size:]
        return taken

    def close(self) -> None:
        """Leave standard input open: it is not ours."""


class _Counted:
    """A stream that reports how much of it was read."""

    def __init__(self, stream: BinaryIO, on_bytes: Callable[[int], None]) -> None:
        self._stream, self._on_bytes = stream, on_bytes

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._on_bytes(len(data))
        return data

    def close(self) -> None:
        self._stream.close()


class _Unpacked:
    """Gzip data unpacked on the way; damage is a `DataError`."""

    def __init__(self, packed: BinaryIO, name: str) -> None:
        self._packed, self._name = packed, name
        self._gzip = gzip.GzipFile(fileobj=packed)

    def read(self, size: int = -1) -> bytes:
        try:
            return self._gzip.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"{self._name} is damaged gzip data: {error}.") from None

    def close(self) -> None:
        self._packed.close()
