"""Tensors to protobuf bytes in recordIO frames: all sizes first, then each field of all records at once."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.recordio.framing import HEADER_BYTES, MAGIC_BYTES
from eigenline.formats.recordio.ragged_slices import scatter
from eigenline.formats.recordio.varints import encode_varints, varint_sizes

FLOAT32, FLOAT64, INT32 = 2, 3, 7  # field numbers of the tensors in `Value`
FEATURES, LABEL = 1, 2  # of the maps in `Record`


class Packed(NamedTuple):
    """One packed field of each of n records: items end to end, and how many bytes of them each has."""

    items: NDArray[Any]
    sizes: NDArray[np.int64]


class Entry(NamedTuple):
    """One map entry of each of n records: a name and a tensor."""

    field: int
    name: bytes
    kind: int
    parts: tuple[Packed, ...]  # values, keys, shape


def kind_of(values: NDArray[Any]) -> int:
    """Return the field number of the tensor that holds an array's dtype.

    Parameters
    ----------
    values
        Any shape; float32, float64 or int64.
    """
    return INT32 if values.dtype.kind == "i" else FLOAT32 if values.dtype.itemsize == 4 else FLOAT64


def pack(values: NDArray[Any], counts: NDArray[np.int64] | None = None) -> Packed:
    """Pack a matrix's rows, or a flat array's ragged slices.

    Parameters
    ----------
    values
        Shape (n, d), or (m,) where `counts` are given; float32, float64 or int64.
    counts
        Shape (n,), int64: values of each slice, m in all.
    """
    if counts is None:
        counts = np.full(len(values), values.shape[1], np.int64)
    if values.dtype.kind == "i":
        return pack_varints(values.ravel().view(np.uint64), counts)
    return Packed(np.ascontiguousarray(values).reshape(-1), counts * values.dtype.itemsize)


def pack_varints(values: NDArray[np.uint64], counts: NDArray[np.int64]) -> Packed:
    """Pack whole numbers as varints.

    Parameters
    ----------
    values
        Shape (m,), uint64.
    counts
        Shape (n,), int64: values of each record, m in all.
    """
    sizes = varint_sizes(values)
    upto = np.concatenate([[0], np.cumsum(sizes)])[np.cumsum(counts)]
    return Packed(encode_varints(values, sizes), np.diff(upto, prepend=0))


def _tensor_sizes(entry: Entry) -> NDArray[np.int64]:
    total = np.zeros(entry.parts[0].sizes.shape, np.int64)
    for part in entry.parts:
        total += np.where(part.sizes > 0, 1 + _length_bytes(part.sizes) + part.sizes, 0)
    return total


def _value_sizes(entry: Entry) -> NDArray[np.int64]:
    tensor = _tensor_sizes(entry)
    return 1 + _length_bytes(tensor) + tensor


def _content_sizes(entry: Entry) -> NDArray[np.int64]:
    value = _value_sizes(entry)
    return 2 + len(entry.name) + 1 + _length_bytes(value) + value


def entry_sizes(entry: Entry) -> NDArray[np.int64]:
    """Return the bytes of each record's map entry, with its tag."""
    content = _content_sizes(entry)
    return 1 + _length_bytes(content) + content


def _length_bytes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return varint_sizes(sizes.astype(np.uint64))


def encode(entries: list[Entry], count: int) -> NDArray[np.uint8]:
    """Write records of the given entries, framed."""
    lengths = np.sum([entry_sizes(entry) for entry in entries], axis=0)
    frames = HEADER_BYTES + ((lengths + 3) & ~3)
    stops = np.cumsum(frames)
    writer = _Writer(np.zeros(int(stops[-1]), np.uint8), stops - frames)
    writer.constant(MAGIC_BYTES)
    writer.word(lengths)
    for entry in entries:
        writer.tag(entry.field, _content_sizes(entry))
        writer.constant(bytes([0x0A, len(entry.name)]) + entry.name)
        writer.tag(2, _value_sizes(entry))
        writer.tag(entry.kind, _tensor_sizes(entry))
        for number, part in enumerate(entry.parts, start=1):
            writer.packed(number, part)
    return writer.out


class _Writer:
    """Writes the next bytes of n records at once, each at a cursor of its own."""

    def __init__(self, out: NDArray[np.uint8], cursor: NDArray[np.int64]) -> None:
        self.out = out
        self._cursor = cursor

    def constant(self, text: bytes) -> None:
        for place, byte in enumerate(text):
            self.out[self._cursor + place] = byte
        self._cursor = self._cursor + len(text)

    def word(self, values: NDArray[np.int64]) -> None:
        for shift in (0, 8, 16, 24):
            self.out[self._cursor + shift // 8] = (values >> shift) & 0xFF
        self._cursor = self._cursor + 4

    def tag(self, field: int, lengths: NDArray[np.int64]) -> None:
        """Write the tag of a length-delimited field and its length."""
        self.constant(bytes([field << 3 | 2]))
        self._varints(lengths)

    def packed(self, field: int, part: Packed) -> None:
        """Write a packed field; of records where it is empty, nothing."""
        there = np.flatnonzero(part.sizes)
        everywhere = self._cursor
        self._cursor = everywhere[there]
        sizes = part.sizes[there]
        if sizes.size:
            self.tag(field, sizes)
            scatter(self.out, self._cursor, sizes // part.items.dtype.itemsize, part.items)
            everywhere[there] = self._cursor + sizes
        self._cursor = everywhere

    def _varints(self, values: NDArray[np.int64]) -> None:
        unsigned = values.astype(np.uint64)
        sizes = varint_sizes(unsigned)
        scatter(self.out, self._cursor, sizes, encode_varints(unsigned, sizes))
        self._cursor = self._cursor + sizes
