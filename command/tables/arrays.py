"""Files of arrays: numpy's .npz, svmlight text and recordIO-protobuf, whose labels are kept apart."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features
from eigenline.algorithms.errors import DataError, UserError, excerpt
from eigenline.command.tables.chunk import Chunk, Columns, Table
from eigenline.command.tables.source import Source
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.reading import read_batches

_ROWS: Final = 65_536
_FEATURES: Final = ("X", "x", "features", "data", "X_train", "x_train", "arr_0")
_LABELS: Final = ("y", "Y", "labels", "label", "target", "targets", "y_train", "arr_1")
_NAMES: Final = ("feature_names", "column_names", "columns", "names")
_CLASSES: Final = ("classes", "target_names", "class_names")


class ArrayTable(Table):
    """A matrix of features, and labels beside it, in memory.

    Parameters
    ----------
    features
        Shape (n, d), dense or CSR.
    labels
        Shape (n,), numbers or texts; None where there are none.
    """

    def __init__(
        self, name: str, features: Any, labels: NDArray[Any] | None, names: Columns | None, what: str
    ) -> None:
        self.name, self.names = name, names
        self._features, self.labels = features, labels
        self.width = int(features.shape[1])
        self.has_labels = labels is not None
        kind = "" if isinstance(features, np.ndarray) else "sparse "
        beside = "with labels" if self.has_labels else "without labels"
        self.notes = [f"{name}: {what}, {features.shape[0]:,} {kind}rows of {self.width} features, {beside}."]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every row, in the order of the file."""
        for first in range(0, self._features.shape[0], _ROWS):
            part = slice(first, first + _ROWS)
            labels = None if self.labels is None else self.labels[part]
            place = lambda row, first=first: f"{self.name}, row {first + row + 1}"  # noqa: E731
            yield Chunk(self._features[part], {}, place, None, labels)


def open_npz(source: Source) -> ArrayTable:
    """Read an .npz file: a matrix under a usual name (X, features, data), labels (y, labels, target) beside it."""
    name = source.name
    data = _everything(source)
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError, MemoryError) as error:
        raise DataError(f"{name} is not a readable .npz file: {excerpt(str(error), 120)}.") from None
    features = _sparse(arrays, name) if "indptr" in arrays else _array(arrays, _FEATURES)
    if features is None:
        raise DataError(
            f"{name} holds {excerpt(', '.join(sorted(arrays)))}; expected a matrix named 'X' (or 'features', "
            "'data'), "
            "and labels named 'y' where there are some."
        )
    if features.ndim != 2 or not features.shape[0] or not features.shape[1] or features.dtype.kind not in "fiub":
        raise DataError(
            f"{name}: the features have shape {features.shape} and type {features.dtype}; "
            "expected numbers of shape (rows, columns)."
        )
    if features.dtype.kind != "f" or features.dtype.itemsize < 4:
        features = features.astype(np.float64)
    labels = _array(arrays, _LABELS)
    if labels is not None:
        labels = labels.ravel() if labels.ndim == 2 and 1 in labels.shape else labels
        if labels.shape != (features.shape[0],) or labels.dtype.kind not in "fiubUS":
            raise DataError(
                f"{name}: the labels have shape {labels.shape} and type {labels.dtype}; expected "
                f"({features.shape[0]},)."
            )
        classes = _array(arrays, _CLASSES)
        if classes is not None and labels.dtype.kind in "iu" and labels.min() >= 0 and labels.max() < len(classes):
            labels = classes[labels]
    named = _array(arrays, _NAMES)
    names = tuple(map(str, named.tolist())) if named is not None and named.shape == (features.shape[1],) else None
    return ArrayTable(name, features, labels, names, "numpy arrays")


def open_svmlight(source: Source) -> ArrayTable:
    """Read svmlight (libsvm) text: `label index:value index:value ...`, by scikit-learn."""
    try:
        from sklearn.datasets import load_svmlight_file
    except ImportError:
        raise UserError(
            f"{source.name} is svmlight text, which scikit-learn reads: pip install 'eigenline[estimators]'."
        ) from None
    try:
        features, labels = load_svmlight_file(io.BytesIO(_everything(source)), dtype=np.float32)
    except (ValueError, IndexError, OverflowError, TypeError) as error:
        raise DataError(f"{source.name} is not readable svmlight text: {excerpt(str(error), 120)}.") from None
    from scipy.sparse import csr_array

    return ArrayTable(source.name, csr_array(features), labels, None, "svmlight text")


class RecordIOTable(Table):
    """recordIO-protobuf, as SageMaker's training channels have it."""

    def __init__(self, source: Source) -> None:
        self.names: Columns | None = None
        self._source = source
        self.name = source.name
        stream = source.open()
        try:
            batch = next(read_batches(stream, RECORDIO, name=source.name, block_bytes=1 << 16), None)
        finally:
            stream.close()
        if batch is None:
            raise DataError(f"{self.name} holds no record.")
        self.width = batch.feature_dim
        self.has_labels = batch.labels is not None
        beside = "with labels" if self.has_labels else "without labels"
        self.notes = [f"{self.name}: recordIO-protobuf, {self.width} features, {beside}."]

    def chunks(self) -> Iterator[Chunk]:
        """Yield every record, in the order of the file."""
        first = 0
        stream = self._source.open()
        try:
            for batch in read_batches(stream, RECORDIO, name=self.name, block_bytes=4 << 20):
                place = lambda row, first=first: f"{self.name}, record {first + row + 1}"  # noqa: E731
                yield Chunk(batch.features, {}, place, None, batch.labels)
                first += len(batch)
        finally:
            stream.close()


def _everything(source: Source) -> bytes:
    stream = source.open()
    try:
        return stream.read()
    finally:
        stream.close()


def _array(arrays: Mapping[str, NDArray[Any]], names: tuple[str, ...]) -> NDArray[Any] | None:
    return next((arrays[name] for name in names if name in arrays), None)


def _sparse(arrays: Mapping[str, NDArray[Any]], name: str) -> Features:
    """Return the CSR matrix that scipy.sparse.save_npz wrote."""
    from scipy.sparse import csr_array

    try:
        if bytes(arrays["format"].tobytes().replace(b"\0", b"")) != b"csr":
            raise ValueError("only the CSR format is read; write save_npz(file, matrix.tocsr())")
        matrix = csr_array((arrays["data"], arrays["indices"], arrays["indptr"]), shape=tuple(arrays["shape"]))
        matrix.check_format(full_check=True)
        return matrix
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"{name} is not a readable sparse .npz file: {excerpt(str(error), 120)}.") from None
