"""Records of any usual kind, sparse or dense, decoded in lockstep: field by field, the numbers in bulk."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray, Features
from eigenline.formats.recordio.framing import WHOLE, Frames
from eigenline.formats.recordio.protobuf_fields import DELIMITED, RaggedSlices, split_fields
from eigenline.formats.recordio.ragged_slices import gather
from eigenline.formats.recordio.record import KEY, MOST_FEATURES, Block
from eigenline.formats.recordio.varints import decode_varints

_VALUES_KEY: Final = np.frombuffer(KEY.encode(), np.uint8)
_FIXED: Final[dict[int, np.dtype[Any]]] = {2: np.dtype("<f4"), 3: np.dtype("<f8")}
_INT32: Final = 7
_VALUES, _KEYS, _SHAPE = 1, 2, 3
_ONE_ENTRY: Final = 17  # one map key and one map value


class _UnusualError(Exception):
    """The block holds something that only the reference decoder can read, or has an error for."""


class _Tensors:
    """One tensor per record: its kind, and where its values, keys and shape lie (start == stop where absent)."""

    def __init__(self, count: int) -> None:
        self.seen = np.zeros(count, np.uint8)  # map keys, plus 16 times map values
        self.kind = np.zeros(count, np.int64)
        self.start = np.zeros((4, count), np.int64)
        self.stop = np.zeros((4, count), np.int64)

    def sizes(self, part: int) -> NDArray[np.int64]:
        return np.asarray(self.stop[part] - self.start[part])


def read_columns(data: NDArray[np.uint8], frames: Frames) -> Block | None:
    """Decode complete frames into arrays.

    Parameters
    ----------
    data
        Shape (m,), uint8.
    frames
        Complete frames within `data`.

    Returns
    -------
    The block, or None where any record is not of a usual layout: split in parts, values not packed, map keys
    other than ``values``, several dtypes or widths, dense and sparse mixed, damaged.
    """
    if (frames.flag != WHOLE).any():
        return None
    count = frames.start.size
    odd = np.zeros(count, np.bool_)
    features, labels = _Tensors(count), _Tensors(count)
    records = RaggedSlices(np.arange(count), frames.start, frames.stop)
    try:
        for number, wire_type, content in split_fields(data, records, odd):
            if number in {1, 2} and wire_type == DELIMITED:
                _read_entries(data, content, features if number == 1 else labels, odd)
        if odd.any() or not features.kind.all():
            return None
        return Block(_features(data, features), _labels(data, labels))
    except _UnusualError:
        return None


def _read_entries(
    data: NDArray[np.uint8], entries: RaggedSlices, tensors: _Tensors, odd: NDArray[np.bool_]
) -> None:
    """Read map entries ``"values" -> Value``, at most one per record."""
    for number, wire_type, content in split_fields(data, entries, odd):
        if number == 1 and wire_type == DELIMITED:
            tensors.seen[content.owner] += 1
            _check_key(data, content)
        elif number == 2 and wire_type == DELIMITED:
            tensors.seen[content.owner] += 16
            for kind, kind_type, tensor in split_fields(data, content, odd):
                if kind_type != DELIMITED or kind not in {*_FIXED, _INT32} or tensors.kind[tensor.owner].any():
                    raise _UnusualError
                tensors.kind[tensor.owner] = kind
                _read_tensor(data, tensor, tensors, odd)
        else:
            raise _UnusualError
    if (tensors.seen[entries.owner] != _ONE_ENTRY).any():
        raise _UnusualError


def _check_key(data: NDArray[np.uint8], keys: RaggedSlices) -> None:
    if (keys.stop - keys.start != _VALUES_KEY.size).any():
        raise _UnusualError
    for place, letter in enumerate(_VALUES_KEY):
        if (data[keys.start + place] != letter).any():
            raise _UnusualError


def _read_tensor(
    data: NDArray[np.uint8], messages: RaggedSlices, tensors: _Tensors, odd: NDArray[np.bool_]
) -> None:
    for part, wire_type, content in split_fields(data, messages, odd):
        if wire_type != DELIMITED or part not in {_VALUES, _KEYS, _SHAPE}:
            raise _UnusualError
        if tensors.stop[part, content.owner].any():  # a second chunk of the same field
            raise _UnusualError
        tensors.start[part, content.owner] = content.start
        tensors.stop[part, content.owner] = content.stop


def _features(data: NDArray[np.uint8], tensors: _Tensors) -> Features:
    values, counts = _numbers(data, tensors)
    has_keys = tensors.sizes(_KEYS) > 0
    has_shape = tensors.sizes(_SHAPE) > 0
    if not has_keys.any() and counts.all():
        if (counts != counts[0]).any() or has_shape.any():
            raise _UnusualError
        return values.reshape(counts.size, -1)
    if not has_shape.all() or (has_keys != (counts > 0)).any():
        raise _UnusualError
    return _sparse(data, tensors, values, counts)


def _sparse(data: NDArray[np.uint8], tensors: _Tensors, values: DenseArray, counts: NDArray[np.int64]) -> Features:
    from scipy.sparse import csr_array

    keys, key_counts = _integers(data, tensors, _KEYS)
    shape, extents = _integers(data, tensors, _SHAPE)
    if (key_counts != counts).any() or (extents != 1).any() or (shape != shape[0]).any():
        raise _UnusualError
    width = int(shape[0])
    if not 0 < width <= MOST_FEATURES or (keys.size and int(keys.max()) >= width):
        raise _UnusualError
    indptr = np.zeros(counts.size + 1, np.int32)
    np.cumsum(counts, out=indptr[1:])
    return csr_array((values, keys.astype(np.int32), indptr), shape=(counts.size, width))


def _labels(data: NDArray[np.uint8], tensors: _Tensors) -> DenseArray | None:
    if not tensors.kind.any():
        return None
    labels, counts = _numbers(data, tensors)
    if (counts != 1).any() or tensors.sizes(_KEYS).any():
        raise _UnusualError
    return labels


def _numbers(data: NDArray[np.uint8], tensors: _Tensors) -> tuple[DenseArray, NDArray[np.int64]]:
    """Return all records' values, concatenated, and how many each has."""
    kind = int(tensors.kind[0])
    if (tensors.kind != kind).any():
        raise _UnusualError
    if kind == _INT32:
        whole, counts = _integers(data, tensors, _VALUES)
        return whole.astype(np.int64).astype(np.int32).astype(np.float32), counts
    dtype = _FIXED[kind]
    sizes = tensors.sizes(_VALUES)
    if (sizes % dtype.itemsize).any():
        raise _UnusualError
    counts = sizes // dtype.itemsize
    return gather(data, tensors.start[_VALUES], counts, dtype), counts


def _integers(
    data: NDArray[np.uint8], tensors: _Tensors, part: int
) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
    """Return all records' varints of one part, concatenated, and how many each has."""
    sizes = tensors.sizes(part)
    decoded = decode_varints(gather(data, tensors.start[part], sizes, np.dtype(np.uint8)))
    if decoded is None:
        raise _UnusualError
    integers, ends = decoded
    stops = np.cumsum(sizes)
    upto = np.searchsorted(ends, stops)  # how many end before each record's piece does
    # No number may begin in one record's slice and end in the next one's.
    filled = np.flatnonzero(sizes)
    if (ends[upto[filled] - 1] != stops[filled] - 1).any():
        raise _UnusualError
    return integers, np.diff(upto, prepend=0)
