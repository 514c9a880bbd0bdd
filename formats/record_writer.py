"""Arrays to recordIO-protobuf: the bytes that the SageMaker SDK writes, for whole blocks of records at once."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from algorithms.batch import is_sparse
from formats.dense_layout import find_layout
from formats.framing import HEADER_BYTES, MAGIC_BYTES
from formats.record import KEY
from formats.spans import positions
from formats.varints import encode_varints, varint_sizes

_FLOAT32, _FLOAT64, _INT32 = 2, 3, 7  # field numbers of the tensors in `Value`
_FEATURES, _LABEL = 1, 2  # of the maps in `Record`
_BLOCK_BYTES: Final = 16 << 20  # of values encoded at once


class Packed(NamedTuple):
    """One packed field of each of n records: their bytes end to end, and how many each has."""

    data: NDArray[np.uint8]
    sizes: NDArray[np.int64]


class Entry(NamedTuple):
    """One map entry of each of n records: a name and a tensor."""

    field: int
    name: bytes
    kind: int
    parts: tuple[Packed, ...]  # values, keys, shape


def write_recordio(features: Any, labels: Any = None) -> bytes:
    """Return features, and labels where given, as recordIO-protobuf.

    Parameters
    ----------
    features
        Shape (n, feature_dim): an array, or any `scipy.sparse` matrix or array, which is written sparse.
        Float32 and float64 are kept; integers become Int32 tensors; float16 becomes float32.
    labels
        Shape (n,), of any of these types.

    Raises
    ------
    ValueError
        For other shapes or dtypes, or integers beyond 32 bits.
    """
    buffer = io.BytesIO()
    write_recordio_to(buffer, features, labels)
    return buffer.getvalue()


def write_recordio_to(file: BinaryIO, features: Any, labels: Any = None) -> None:
    """Write features, and labels where given, as recordIO-protobuf to a binary file; see `write_recordio`."""
    matrix: Any = features if hasattr(features, "tocsr") else np.asarray(features)
    targets = None if labels is None else np.asarray(labels)
    if len(matrix.shape) != 2 or not matrix.shape[1]:
        raise ValueError(f"features must be a matrix with at least one column, not of shape {matrix.shape}")
    if targets is not None and targets.shape != (matrix.shape[0],):
        raise ValueError(f"labels must have shape ({matrix.shape[0]},), one a row, not {targets.shape}")
    sparse = is_sparse(matrix)
    if sparse:
        matrix = matrix.tocsr()
    values = matrix.data if sparse else matrix
    row_bytes = max(1, values.nbytes // max(1, matrix.shape[0]))
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, matrix.shape[0], step):
        rows = matrix[start : start + step]
        some = None if targets is None else targets[start : start + step]
        file.write(_sparse_block(rows, some) if sparse else _dense_block(rows, some))


def write_label_records(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return one record a row that holds named float32 labels and no features: the form of an answer.

    Parameters
    ----------
    columns
        Name -> shape (n,) or (n, c). Names are written sorted.
    """
    matrices = {name: columns[name].reshape(len(columns[name]), -1) for name in sorted(columns)}
    matrices = {name: np.ascontiguousarray(matrix, "<f4") for name, matrix in matrices.items()}
    rows = len(next(iter(matrices.values())))
    if not rows:
        return b""
    template = _encode(
        [Entry(_LABEL, name.encode(), _FLOAT32, (_fixed(matrix[:1]),)) for name, matrix in matrices.items()], 1
    )
    frames = np.tile(template, (rows, 1))
    place = HEADER_BYTES
    for name, matrix in matrices.items():
        size = 4 * matrix.shape[1]
        place += _entry_sizes(Entry(_LABEL, name.encode(), _FLOAT32, (_fixed(matrix[:1]),)))[0].item()
        frames[:, place - size : place] = matrix.view(np.uint8)
    return frames.tobytes()


def _dense_block(rows: NDArray[Any], labels: NDArray[Any] | None) -> bytes:
    rows = _writable(rows)
    entries = [Entry(_FEATURES, KEY.encode(), _kind(rows), (_pack(rows),))] if rows.dtype.kind == "i" else []
    labels = None if labels is None else _writable(labels)[:, np.newaxis]
    if entries or (labels is not None and labels.dtype.kind == "i"):
        entries = entries or [Entry(_FEATURES, KEY.encode(), _kind(rows), (_pack(rows),))]
        return _encode(_with_label(entries, labels), len(rows)).tobytes()
    # All frames have the first one's layout.
    first = [Entry(_FEATURES, KEY.encode(), _kind(rows), (_pack(rows[:1]),))]
    template = _encode(_with_label(first, None if labels is None else labels[:1]), 1)
    layout = find_layout(template)
    assert layout is not None
    frames = np.tile(template, (len(rows), 1))
    frames[:, layout.features.start : layout.features.stop] = np.ascontiguousarray(rows).view(np.uint8)
    if labels is not None and layout.label is not None:
        frames[:, layout.label.start : layout.label.stop] = np.ascontiguousarray(labels).view(np.uint8)
    return frames.tobytes()


def _sparse_block(rows: Any, labels: NDArray[Any] | None) -> bytes:
    count, width = rows.shape
    nonzero = np.diff(rows.indptr).astype(np.int64)
    values = _writable(rows.data)
    packed = _pack(values, nonzero)
    keys = _varints(rows.indices.astype(np.uint64), nonzero)
    shape = _varints(np.full(count, width, np.uint64), np.ones(count, np.int64))
    entry = Entry(_FEATURES, KEY.encode(), _kind(values), (packed, keys, shape))
    column = None if labels is None else _writable(labels)[:, np.newaxis]
    return _encode(_with_label([entry], column), count).tobytes()


def _with_label(entries: list[Entry], labels: NDArray[Any] | None) -> list[Entry]:
    if labels is None:
        return entries
    return [*entries, Entry(_LABEL, KEY.encode(), _kind(labels), (_pack(labels),))]


def _writable(values: NDArray[Any]) -> NDArray[Any]:
    """Convert to a dtype that a tensor has: little-endian float32, float64 or int64 (of 32-bit range)."""
    kind = values.dtype.kind
    if kind == "f" and values.dtype.itemsize <= 8:
        return values.astype("<f8" if values.dtype.itemsize == 8 else "<f4", copy=False)
    if kind not in "iub":
        raise ValueError(f"recordIO-protobuf holds float32, float64 and int32 numbers, not {values.dtype}")
    if values.size and (int(values.min()) < -(2**31) or int(values.max()) >= 2**31):
        raise ValueError("integers beyond 32 bits cannot be written; convert them to float64")
    return values.astype(np.int64, copy=False)


def _kind(values: NDArray[Any]) -> int:
    return _INT32 if values.dtype.kind == "i" else _FLOAT32 if values.dtype.itemsize == 4 else _FLOAT64


def _pack(values: NDArray[Any], counts: NDArray[np.int64] | None = None) -> Packed:
    """Pack a matrix's rows, or a flat array's pieces of `counts` values each."""
    if counts is None:
        counts = np.full(len(values), values.shape[1], np.int64)
    if values.dtype.kind == "i":
        return _varints(values.ravel().view(np.uint64), counts)
    return Packed(np.ascontiguousarray(values).reshape(-1).view(np.uint8), counts * values.dtype.itemsize)


def _fixed(matrix: NDArray[Any]) -> Packed:
    return _pack(matrix)


def _varints(values: NDArray[np.uint64], counts: NDArray[np.int64]) -> Packed:
    sizes = varint_sizes(values)
    stops = np.cumsum(sizes)
    data = np.empty(int(sizes.sum()), np.uint8)
    encode_varints(values, sizes, data, stops - sizes)
    upto = np.concatenate([[0], stops])[np.cumsum(counts)]
    return Packed(data, np.diff(upto, prepend=0))


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


def _entry_sizes(entry: Entry) -> NDArray[np.int64]:
    content = _content_sizes(entry)
    return 1 + _length_bytes(content) + content


def _length_bytes(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return varint_sizes(sizes.astype(np.uint64))


def _encode(entries: list[Entry], count: int) -> NDArray[np.uint8]:
    """Write records of the given entries, framed."""
    lengths = np.sum([_entry_sizes(entry) for entry in entries], axis=0)
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
            self.out[positions(self._cursor, sizes)] = part.data
            everywhere[there] = self._cursor + sizes
        self._cursor = everywhere

    def _varints(self, values: NDArray[np.int64]) -> None:
        unsigned = values.astype(np.uint64)
        sizes = varint_sizes(unsigned)
        encode_varints(unsigned, sizes, self.out, self._cursor)
        self._cursor = self._cursor + sizes
