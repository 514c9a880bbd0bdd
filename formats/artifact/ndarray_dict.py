"""MXNet's array file: a dictionary of named arrays, read and written without MXNet.

Layout, little endian throughout: a list magic, the arrays, then their names. Version 2 blobs are written,
which is what every public artifact of SageMaker holds; versions 1 and 3 and the oldest form are read as well.
Source: apache/mxnet, ``src/ndarray/ndarray.cc`` (``NDArray::Save``), checked against real artifacts.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt

LIST_MAGIC: Final = 0x112
_VERSION_1: Final = 0xF993FAC8
_VERSION_2: Final = 0xF993FAC9
_VERSION_3: Final = 0xF993FACA
_DENSE: Final = 0
_PIECE_BYTES: Final = 1 << 20  # read at once, so that no second copy of an array is in memory
_CPU: Final = 1
_DTYPES: Final = tuple(np.dtype(name) for name in ("<f4", "<f8", "<f2", "u1", "<i4", "i1", "<i8", "?"))
_MOST_DIMENSIONS: Final = 32  # numpy's own limit was 32 until 2.0; MXNet artifacts have one or two


def looks_like_arrays(data: bytes) -> bool:
    """Return whether bytes begin as an array file does."""
    return bytes(data[:8]) == struct.pack("<Q", LIST_MAGIC)


def write_arrays(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Write named arrays, in the mapping's order, as version 2 blobs on the CPU.

    Parameters
    ----------
    arrays
        Name -> array of any shape, of float16, float32, float64, bool, or 8-, 32- or 64-bit integers.

    Raises
    ------
    ValueError
        For a dtype that the format has no number for.
    """
    parts = [struct.pack("<QQQ", LIST_MAGIC, 0, len(arrays))]
    for array in arrays.values():
        dtype = array.dtype.newbyteorder("<") if array.dtype.byteorder == ">" else array.dtype
        if dtype not in _DTYPES:
            raise ValueError(f"an array file cannot hold {array.dtype}")
        shape = struct.pack(f"<i{array.ndim}q", array.ndim, *array.shape)
        parts += [struct.pack("<Ii", _VERSION_2, _DENSE), shape]
        parts.append(struct.pack("<iii", _CPU, 0, _DTYPES.index(dtype)))
        parts.append(np.ascontiguousarray(array, dtype).tobytes())
    parts.append(struct.pack("<Q", len(arrays)))
    for name in arrays:
        encoded = name.encode()
        parts.append(struct.pack("<Q", len(encoded)) + encoded)
    return b"".join(parts)


def read_arrays(
    source: bytes | BinaryIO, *, size: int | None = None, name: str = "the array file"
) -> dict[str, NDArray[Any]]:
    """Read named arrays; they own their memory.

    An unnamed list gets the names ``"0"``, ``"1"``, ... Shapes are checked against the bytes that must be there
    before anything is allocated or read.

    Parameters
    ----------
    source
        The file's bytes, or a stream of them.
    size
        How many bytes a stream yields.
    name
        What errors call the file.

    Raises
    ------
    DataError
        If the bytes are not such a file, are cut off, or hold sparse arrays.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        size = len(source)
        source = io.BytesIO(source)
    assert size is not None
    reader = _Reader(source, size, name)
    magic, _, count = reader.unpack("<QQQ")
    if magic != LIST_MAGIC:
        raise DataError(
            f"{name} is not an MXNet array file: it begins with {excerpt(struct.pack('<Q', magic).hex())}."
        )
    if count > reader.left // 8:
        raise reader.corrupt(f"it claims {count} arrays")
    arrays = [reader.array() for _ in range(count)]
    (name_count,) = reader.unpack("<Q")
    if name_count not in {0, count}:
        raise reader.corrupt(f"it names {name_count} of its {count} arrays")
    names = [reader.text() for _ in range(name_count)] or [str(i) for i in range(count)]
    if reader.left:
        raise reader.corrupt(f"{reader.left} bytes follow its end")
    if len(set(names)) != len(names):
        raise reader.corrupt("two arrays have the same name")
    return dict(zip(names, arrays, strict=True))


@dataclass
class _Reader:
    """A cursor over the file that never reads past its end."""

    stream: BinaryIO
    size: int
    name: str
    position: int = 0

    @property
    def left(self) -> int:
        return self.size - self.position

    def corrupt(self, what: str) -> DataError:
        return DataError(f"{self.name} is damaged: {what} (at byte {self.position} of {self.size}).")

    def expect(self, size: int) -> None:
        if size > self.left:
            raise self.corrupt(f"{size} bytes should follow, but only {self.left} do; it may be cut off")

    def take(self, size: int) -> bytes:
        self.expect(size)
        piece = self.stream.read(size)
        self.position += len(piece)
        if len(piece) < size:
            raise self.corrupt("it is cut off")
        return piece

    def fill(self, target: NDArray[np.uint8]) -> None:
        view = target.data
        for start in range(0, target.size, _PIECE_BYTES):
            piece = self.take(min(_PIECE_BYTES, target.size - start))
            view[start : start + len(piece)] = piece

    def unpack(self, layout: str) -> tuple[int, ...]:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))

    def text(self) -> str:
        (size,) = self.unpack("<Q")
        try:
            return self.take(size).decode()
        except UnicodeDecodeError:
            raise self.corrupt("an array's name is not UTF-8") from None

    def array(self) -> NDArray[Any]:
        shape = self._shape()
        if not shape:
            return np.zeros(0, np.float32)  # MXNet saves a "none" array as a shape without dimensions
        _device, _device_id, kind = self.unpack("<iii")
        if not 0 <= kind < len(_DTYPES):
            raise self.corrupt(f"an array has the unknown element type {kind}")
        size = _DTYPES[kind].itemsize
        for extent in shape:
            size *= extent
        self.expect(size)
        values = np.empty(shape, _DTYPES[kind])
        self.fill(values.reshape(-1).view(np.uint8))
        return values

    def _shape(self) -> tuple[int, ...]:
        (magic,) = self.unpack("<I")
        if magic in {_VERSION_2, _VERSION_3}:
            (storage,) = self.unpack("<i")
            if storage != _DENSE:
                raise self.corrupt("it holds a sparse array, which SageMaker's PCA and Linear Learner never write")
        if magic in {_VERSION_1, _VERSION_2, _VERSION_3}:
            (ndim,) = self.unpack("<i")
            letter = "q"
        else:
            ndim, letter = magic, "I"  # before version 1 the number of dimensions came first
        if not 0 <= ndim <= _MOST_DIMENSIONS:
            raise self.corrupt(f"an array claims {ndim} dimensions")
        shape = self.unpack(f"<{ndim}{letter}") if ndim else ()
        # Zero extents make an array of no bytes, but not one that numpy can hold if the others are huge.
        if any(extent < 0 for extent in shape) or math.prod(max(extent, 1) for extent in shape) >= 1 << 48:
            raise self.corrupt(f"an array claims the shape {excerpt(str(shape))}")
        return shape
