"""One protobuf `Record` at a time, by generated code: the reference, and the way for every unusual layout."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray, Features
from eigenline.algorithms.errors import DataError, excerpt

if TYPE_CHECKING:
    from eigenline.formats.recordio.record_pb2 import Record, Value

KEY: Final = "values"  # the name under which features and labels travel
_DTYPES: Final = {"float32_tensor": np.float32, "float64_tensor": np.float64, "int32_tensor": np.float32}
MOST_FEATURES: Final = 2**31 - 1  # the most that a CSR array's 32-bit column indices can address


class Row(NamedTuple):
    """A record's arrays; `keys` is None for a dense one. `label` is None where there is none."""

    values: DenseArray
    keys: NDArray[np.int64] | None
    feature_dim: int
    label: np.floating[Any] | None


class Block(NamedTuple):
    """Some consecutive records as arrays; `labels` is None where none of them has one."""

    features: Features
    labels: DenseArray | None


def parse_record(payload: bytes, where: str, feature_dim: int | None = None) -> Row:
    """Decode a serialized `Record`.

    Parameters
    ----------
    payload
        The record, without its frame.
    where
        File and record number, for errors.
    feature_dim
        Width of a sparse record that does not carry its own ``shape``.

    Raises
    ------
    DataError
        If it is not a `Record`, or holds no single row of numbers under ``values``.
    """
    record = _parsed(payload, where)
    tensor, dtype = _tensor(_entry(record, "features", where), f"{where}, features")
    values = _numbers(tensor, dtype)
    label = _label(record, where)
    keys = np.asarray(tensor.keys, np.uint64)
    shape = [int(extent) for extent in tensor.shape]
    if not keys.size and not (shape and not values.size):
        _check_dense_shape(shape, values.size, where)
        return Row(values, None, values.size, label)
    width = _width(shape, feature_dim, where)
    if keys.size != values.size:
        raise DataError(f"{where}: a sparse row has {values.size} values but {keys.size} keys.")
    if keys.size and int(keys.max()) >= width:
        raise DataError(f"{where}: key {int(keys.max())} is outside the shape, which has {width} columns.")
    return Row(values, keys.astype(np.int64), width, label)


def named_numbers(payload: bytes, where: str) -> dict[str, NDArray[np.float32]]:
    """Decode the labels of a serialized `Record`, which is how answers travel: name -> shape (c,), float32.

    Raises
    ------
    DataError
        If it is not a `Record`, or holds no labels that are dense numbers.
    """
    record = _parsed(payload, where)
    found = {}
    for name in record.label:
        if not isinstance(name, str):  # bytes that are not UTF-8, which protobuf hands on as they are
            raise DataError(f"{where}: the label's name {excerpt(name)} is not UTF-8 text.")
        tensor, dtype = _tensor(record.label[name], f"{where}, label {excerpt(name)}")
        if len(tensor.keys) or not len(tensor.values):
            raise DataError(f"{where}, label {excerpt(name)}: expected a list of numbers.")
        found[name] = _numbers(tensor, dtype).astype(np.float32)
    if not found:
        raise DataError(f"{where}: it holds no labels, so it is no answer of PCA or Linear Learner.")
    return found


def _parsed(payload: bytes, where: str) -> Record:
    from google.protobuf.message import DecodeError

    from eigenline.formats.recordio.record_pb2 import Record

    record = Record()
    try:
        record.ParseFromString(payload)
    except DecodeError:
        raise DataError(f"{where}: its {len(payload)} bytes are not a protobuf Record.") from None
    return record


def _entry(record: Record, part: str, where: str) -> Value | None:
    entries = getattr(record, part)
    if KEY in entries:
        found: Value = entries[KEY]
        return found
    if len(entries):
        names = ", ".join(sorted(map(str, entries)))
        raise DataError(f"{where}: expected {part} under the name 'values', found {excerpt(names)}.")
    if part == "features":
        raise DataError(f"{where}: it holds no features.")
    return None


def _tensor(value: Value | None, where: str) -> tuple[Any, Any]:
    kind = value.WhichOneof("value") if value is not None else None
    if kind not in _DTYPES:
        raise DataError(f"{where}: expected a tensor of numbers, got {kind or 'an empty value'}.")
    return getattr(value, kind), _DTYPES[kind]


def _numbers(tensor: Any, dtype: Any) -> DenseArray:
    # Serializing the packed values again and viewing their bytes is much faster than a walk over the field.
    if not len(tensor.values):
        return np.zeros(0, dtype)
    if type(tensor).__name__ == "Int32Tensor":
        return np.array(tensor.values, np.int32).astype(dtype)
    alone = type(tensor)()
    alone.values.MergeFrom(tensor.values)
    size = len(tensor.values) * np.dtype(dtype).itemsize
    return np.frombuffer(alone.SerializeToString()[-size:], np.dtype(dtype).newbyteorder("<"))


def _label(record: Record, where: str) -> np.floating[Any] | None:
    value = _entry(record, "label", where)
    if value is None:
        return None
    tensor, dtype = _tensor(value, f"{where}, label")
    numbers = _numbers(tensor, dtype)
    if len(tensor.keys) or numbers.size != 1:
        raise DataError(f"{where}: expected one label, got {numbers.size}.")
    label: np.floating[Any] = numbers[0]
    return label


def _check_dense_shape(shape: list[int], size: int, where: str) -> None:
    if not size:
        raise DataError(f"{where}: its features are empty.")
    if shape and (shape[-1] != size or any(extent != 1 for extent in shape[:-1])):
        raise DataError(f"{where}: {size} dense values do not make one row of shape {excerpt(str(shape))}.")


def _width(shape: list[int], feature_dim: int | None, where: str) -> int:
    if not shape:
        if feature_dim is None:
            raise DataError(f"{where}: a sparse row needs its 'shape', to tell how many features there are.")
        return feature_dim
    if any(extent != 1 for extent in shape[:-1]):
        raise DataError(f"{where}: the shape {excerpt(str(shape))} is a matrix; a record is one row.")
    if not 0 < shape[-1] <= MOST_FEATURES:
        raise DataError(f"{where}: the shape claims {shape[-1]} columns; at most {MOST_FEATURES} can be.")
    return shape[-1]


def stack_rows(rows: list[Row], where: str) -> Block:
    """Stack rows of one width: dense, or CSR as soon as one of them is sparse."""
    has_label = [row.label is not None for row in rows]
    if any(has_label) and not all(has_label):
        raise DataError(f"{where}: some of these records have a label and some have none.")
    labels = np.asarray([row.label for row in rows]) if all(has_label) else None
    dense = [row.values for row in rows if row.keys is None]
    if len(dense) == len(rows):
        return Block(np.stack(dense), labels)
    return Block(_stack_sparse(rows), labels)


def _stack_sparse(rows: Iterable[Row]) -> Features:
    from scipy.sparse import csr_array

    rows = list(rows)
    keys = [np.arange(row.feature_dim) if row.keys is None else row.keys for row in rows]
    indptr = np.cumsum([0, *(len(row_keys) for row_keys in keys)])
    data = np.concatenate([row.values for row in rows])
    shape = (len(rows), rows[0].feature_dim)
    return csr_array((data, np.concatenate(keys).astype(np.int32), indptr.astype(np.int32)), shape=shape)
