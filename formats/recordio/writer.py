"""Arrays to recordIO-protobuf: the bytes that the SageMaker SDK writes, for whole blocks of records at once."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import is_sparse
from eigenline.formats.recordio.dense_layout import DenseLayout, find_layout
from eigenline.formats.recordio.encoding import (
    FEATURES,
    FLOAT32,
    LABEL,
    Entry,
    encode,
    entry_sizes,
    kind_of,
    pack,
    pack_varints,
)
from eigenline.formats.recordio.framing import HEADER_BYTES
from eigenline.formats.recordio.record import KEY

_BLOCK_BYTES: Final = 2 << 20  # of values encoded at once: they stay in the cache until they are written
_TILE_ROWS: Final = 16
_TILE_COLUMNS: Final = 512


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
    """Write features, and labels where given, as recordIO-protobuf to a binary file.

    Parameters
    ----------
    file
        Open for writing.
    features, labels
        Shapes (n, feature_dim) and (n,); see `write_recordio`.

    Raises
    ------
    ValueError
        As `write_recordio`.
    """
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
    step = max(_TILE_ROWS, _BLOCK_BYTES * matrix.shape[0] // max(1, values.nbytes))
    same_size = not sparse and values.dtype.kind == "f" and (targets is None or targets.dtype.kind == "f")
    encode_rows = _LikeFrames(step).encode if same_size else _encode_sparse if sparse else _encode_dense
    for start in range(0, matrix.shape[0], step):
        some = None if targets is None else _writable(targets[start : start + step])[:, np.newaxis]
        file.write(encode_rows(matrix[start : start + step], some).data)


def write_label_records(columns: Mapping[str, NDArray[Any]]) -> bytes:
    """Return one record a row that holds named float32 labels and no features: the form of an answer.

    Parameters
    ----------
    columns
        Name -> shape (n,) or (n, c). Names are written sorted.
    """
    rows = len(next(iter(columns.values())))
    if not rows:
        return b""
    matrices = {name: np.ascontiguousarray(columns[name], "<f4").reshape(rows, -1) for name in sorted(columns)}
    template, stops = label_frame(tuple((name, matrix.shape[1]) for name, matrix in matrices.items()))
    frames = np.empty((rows, template.size), np.uint8)
    frames[:] = template
    for matrix, stop in zip(matrices.values(), stops, strict=True):
        frames[:, stop - 4 * matrix.shape[1] : stop] = matrix.view(np.uint8)
    return frames.tobytes()


@lru_cache(maxsize=64)
def label_frame(columns: tuple[tuple[str, int], ...]) -> tuple[NDArray[np.uint8], list[int]]:
    """Return a frame of zeros for columns of (name, width), and where each one's numbers end."""
    entries = [
        Entry(LABEL, name.encode(), FLOAT32, (pack(np.zeros((1, width), np.float32)),)) for name, width in columns
    ]
    sizes = [int(entry_sizes(entry)[0]) for entry in entries]
    return encode(entries, 1), (HEADER_BYTES + np.cumsum(sizes)).tolist()


class _LikeFrames:
    """Dense floating-point records: all frames have the first one's layout, and one block of memory serves all.

    Parameters
    ----------
    most
        Most records that are encoded at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._layout: DenseLayout | None = None
        self._frames = np.zeros((0, 0), np.uint8)

    def encode(self, rows: NDArray[Any], labels: NDArray[Any] | None) -> NDArray[np.uint8]:
        """Return frames that are valid until the next call."""
        rows = _writable(rows)
        if self._layout is None:
            template = _encode_dense(rows[:1], None if labels is None else labels[:1])
            self._layout = find_layout(template)
            self._frames = np.tile(template, (min(self._most, len(rows)), 1))
        assert self._layout is not None
        frames = self._frames[: len(rows)]
        self._fill(frames, self._layout.features.start, rows)
        if labels is not None and self._layout.label is not None:
            self._fill(frames, self._layout.label.start, labels)
        return frames.reshape(-1)

    @staticmethod
    def _fill(frames: NDArray[np.uint8], start: int, values: NDArray[Any]) -> None:
        strides = (frames.strides[0], values.dtype.itemsize)
        target = np.ndarray(values.shape, values.dtype, frames, start, strides)
        # A transposed array is copied in tiles, so that each cache line of it is fetched once.
        tile = values.shape[1] if values.strides[0] >= values.strides[1] else _TILE_COLUMNS
        for column in range(0, values.shape[1], tile):
            target[:, column : column + tile] = values[:, column : column + tile]


def _encode_dense(rows: NDArray[Any], labels: NDArray[Any] | None) -> NDArray[np.uint8]:
    rows = _writable(rows)
    entry = Entry(FEATURES, KEY.encode(), kind_of(rows), (pack(rows),))
    return encode(_with_label([entry], labels), len(rows))


def _encode_sparse(rows: Any, labels: NDArray[Any] | None) -> NDArray[np.uint8]:
    count, width = rows.shape
    nonzero = np.diff(rows.indptr).astype(np.int64)
    values = _writable(rows.data)
    keys = pack_varints(rows.indices.astype(np.uint64), nonzero)
    shape = pack_varints(np.full(count, width, np.uint64), np.ones(count, np.int64))
    entry = Entry(FEATURES, KEY.encode(), kind_of(values), (pack(values, nonzero), keys, shape))
    return encode(_with_label([entry], labels), count)


def _with_label(entries: list[Entry], labels: NDArray[Any] | None) -> list[Entry]:
    if labels is None:
        return entries
    return [*entries, Entry(LABEL, KEY.encode(), kind_of(labels), (pack(labels),))]


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
