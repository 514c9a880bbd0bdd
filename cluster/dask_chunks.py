"""Dask arrays and data frames as chunks of rows, and what is made of them where they lie.

A chunk of X, y and weights becomes a `Piece` on a worker; of each piece a `Survey` of a few numbers comes back;
then all pieces of a worker are packed as one `Part`. No record leaves the workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from dask.delayed import delayed
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.utils.validation import check_array, column_or_1d

from eigenline.algorithms.batch import Batch, Features, is_sparse
from eigenline.algorithms.dask_refused import is_dask
from eigenline.algorithms.errors import excerpt
from eigenline.algorithms.linear_learner.estimators import NOTHING_WEIGHS, encoded
from eigenline.cluster.parts import Chunks, Part


@dataclass(frozen=True, eq=False)
class Piece:
    """One chunk of records on a worker, checked.

    Attributes
    ----------
    features
        Shape (n, d), float32 or float64, dense or CSR; without records of weight zero.
    labels
        Shape (n,), as the user has them; None for PCA.
    weights
        Shape (n,), positive.
    classes
        All labels of the chunk, those of weight zero too; None but for classifiers.
    """

    features: Features
    labels: NDArray[Any] | None
    weights: NDArray[Any] | None
    classes: NDArray[Any] | None


class Survey(NamedTuple):
    """What is known of the records of a channel, or of a piece of it.

    Attributes
    ----------
    rows, feature_dim, dtype, sparse
        Of the features.
    classes, weighing
        A classifier's classes, and those that have a weight; None for others.
    """

    rows: int
    feature_dim: int
    dtype: np.dtype[Any]
    sparse: bool
    classes: NDArray[Any] | None
    weighing: NDArray[Any] | None


def tasks_of_pieces(
    name: str, X: Any, y: Any = None, sample_weight: Any = None, *, classes: bool = False
) -> list[Any]:
    """Return one delayed `Piece` for each chunk of rows.

    Parameters
    ----------
    name, X, y, sample_weight
        As those of `rows_together`, which see for errors.
    classes
        Whether labels are those of a classifier.
    """
    make = delayed(_piece, pure=False)
    rows = rows_together(name, X, y, sample_weight)
    return [make(name, place, *chunk, classes) for place, chunk in enumerate(rows)]


def rows_together(name: str, X: Any, y: Any, sample_weight: Any) -> list[tuple[Any, Any, Any]]:
    """Return the delayed chunks of X, y and weights, those of the same rows together.

    Parameters
    ----------
    name
        What errors call X.
    X, y, sample_weight
        Dask arrays or data frames; the latter two may be None.

    Raises
    ------
    TypeError
        Where only some are Dask's.
    ValueError
        Where X is split by columns, or y or weights have other chunks of rows.
    """
    rows, sizes = _chunks(name, X, ndim=2)
    columns = [rows]
    for other, given in (("y", y), ("sample_weight", sample_weight)):
        if given is None:
            columns.append([None] * len(rows))
            continue
        found, other_sizes = _chunks(other, given, ndim=1)
        known = zip(sizes, other_sizes, strict=False)
        differ = any(a != b for a, b in known if a == a and b == b)  # unknown sizes are nan
        if differ or len(sizes) != len(other_sizes):
            raise ValueError(
                f"{name} and {other} must have the same chunks of rows. {name} has {_spelled(sizes)}, {other} has "
                f"{_spelled(other_sizes)}; try {other}.rechunk({{0: {name}.chunks[0]}})."
            )
        columns.append(found)
    return list(zip(*columns, strict=True))


def _chunks(name: str, collection: Any, *, ndim: int) -> tuple[list[Any], tuple[float, ...]]:
    """Return the chunks of rows and how many rows each has; nan where that is not known."""
    if not is_dask(collection):
        raise TypeError(
            f"{name} is a {type(collection).__name__}, and the others are Dask collections. Expected all "
            "of them to be one or the other; dask.array.from_array makes a Dask array of a numpy array."
        )
    kind = type(collection)  # a Delayed itself claims every attribute
    if not hasattr(kind, "to_delayed") or not hasattr(kind, "ndim"):
        raise TypeError(
            f"{name} is a Dask {type(collection).__name__}. Expected a Dask array, data frame or series; "
            "dask.array.from_delayed and dask.dataframe.from_delayed make one of delayed values."
        )
    if collection.ndim != ndim:
        hint = f"; try {name}.reshape((-1, 1))" if ndim == 2 else ""
        raise ValueError(f"{name} has {collection.ndim} dimension(s). Expected {ndim}{hint}.")
    if not hasattr(collection, "chunks"):  # a data frame or series: partitions are by rows, their sizes unknown
        parts = list(collection.to_delayed())
        return parts, (float("nan"),) * len(parts)
    require_whole_rows(name, collection)
    return list(collection.to_delayed().ravel()), collection.chunks[0]


def require_whole_rows(name: str, array: Any) -> None:
    """Refuse an array whose chunks hold parts of rows."""
    if array.ndim == 2 and array.numblocks[1] > 1:
        raise ValueError(
            f"{name} is split by columns into {array.numblocks[1]} chunks, and each record must lie in one. "
            f"Expected chunks of whole rows: {name}.rechunk({{1: -1}})."
        )


def _spelled(sizes: tuple[float, ...]) -> str:
    shown = ", ".join("?" if size != size else str(size) for size in sizes[:6])
    return f"{len(sizes)} chunk(s) of {shown}{', ...' if len(sizes) > 6 else ''} rows"


def _piece(name: str, place: int, features: Any, labels: Any, weights: Any, classes: bool) -> Piece:
    where = f"{name}, chunk {place}"
    try:
        return _checked(features, labels, weights, classes)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def _checked(features: Any, labels: Any, weights: Any, classes: bool) -> Piece:
    checked = check_array(
        features,
        accept_sparse="csr",
        dtype=[np.float64, np.float32],
        order="C",
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name="X",
    )
    X = checked if isinstance(checked, np.ndarray) else csr_array(checked)
    rows = X.shape[0]
    y, found = None, None
    if labels is not None:
        y = column_or_1d(np.asarray(labels))
        _require_rows("y", len(y), rows)
        if classes:
            found = _classes(y)
        else:
            y = check_array(y, ensure_2d=False, dtype=np.float64, ensure_min_samples=0, input_name="y")
    if weights is None:
        return Piece(X, y, None, found)
    w = check_array(weights, ensure_2d=False, dtype=X.dtype, ensure_min_samples=0, input_name="sample_weight")
    _require_rows("sample_weight", len(w), rows)
    if len(w) and w.min() < 0:
        raise ValueError(f"sample_weight has {w.min()}. Expected no negative weight.")
    used = np.flatnonzero(w)  # what weighs nothing must not move means and folds either
    if len(used) < rows:
        X, y, w = X[used], None if y is None else y[used], w[used]
    return Piece(X, y, w, found)


def _require_rows(name: str, found: int, expected: int) -> None:
    if found != expected:
        raise ValueError(f"{name} has {found} rows, X has {expected}. Expected the same chunks of rows.")


def _classes(labels: NDArray[Any]) -> NDArray[Any]:
    if labels.dtype.kind == "f":
        wrong = ~(labels == np.floor(labels)) | np.isinf(labels)  # nan is not equal to itself
        if wrong.any():
            raise ValueError(f"y has {labels[wrong][0]}. Expected whole numbers or texts as labels of classes.")
    try:
        return np.unique(labels)
    except TypeError:
        kinds = sorted({type(label).__name__ for label in labels})
        raise ValueError(f"y has values of types {', '.join(kinds)}. Expected labels of one type.") from None


def survey(piece: Piece) -> Survey:
    """Return what the client needs to know of a piece."""
    weighing = None if piece.classes is None or piece.labels is None else np.unique(piece.labels)
    rows, feature_dim = piece.features.shape
    return Survey(
        int(rows), int(feature_dim), piece.features.dtype, is_sparse(piece.features), piece.classes, weighing
    )


def survey_of(name: str, pieces: Sequence[Survey]) -> Survey:
    """Return what is known of a channel whose pieces are known.

    Raises
    ------
    ValueError
        Where there is no record, or pieces differ in what they hold.
    """
    first = pieces[0]
    for place, piece in enumerate(pieces):
        if piece.feature_dim != first.feature_dim:
            raise ValueError(
                f"{name}, chunk {place}: has {piece.feature_dim} feature(s), chunk 0 has {first.feature_dim}."
            )
        if piece.sparse != first.sparse:
            kinds = [("sparse" if sparse else "dense") for sparse in (piece.sparse, first.sparse)]
            raise ValueError(f"{name}, chunk {place}: is {kinds[0]}, chunk 0 is {kinds[1]}. Expected one kind.")
    rows = sum(piece.rows for piece in pieces)
    if not rows:
        weighed = "; " + NOTHING_WEIGHS if any(piece.classes is not None for piece in pieces) else ""
        raise ValueError(f"{name}: holds no record{weighed}.")
    return Survey(
        rows,
        first.feature_dim,
        np.result_type(*{piece.dtype for piece in pieces}),
        first.sparse,
        _joined(name, [piece.classes for piece in pieces]),
        _joined(name, [piece.weighing for piece in pieces]),
    )


def _joined(name: str, classes: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    found = [some for some in classes if some is not None and len(some)]
    if not found:
        return None
    try:
        return np.unique(np.concatenate(found))
    except TypeError:
        shown = excerpt(sorted({str(some.dtype) for some in found}))
        raise ValueError(f"{name}: labels of chunks have the types {shown}. Expected one type.") from None


def part_of(
    units: Sequence[int], dtype: np.dtype[Any], classes: NDArray[Any] | None, threads: int, *pieces: Piece
) -> Part:
    """Return the records of one worker.

    Parameters
    ----------
    units
        The place of each piece among all.
    dtype
        Of the features of all pieces.
    classes
        Labels become their places among these; None where they are numbers.
    threads
        Blocks that are worked on at a time.
    pieces
        In the order of their places.
    """
    chunks = []
    for unit, piece in zip(units, pieces, strict=True):
        features: Any = piece.features
        labels = piece.labels
        if labels is not None and classes is not None:
            labels = encoded(labels, classes).astype(dtype)
        chunks.append((unit, Batch(features.astype(dtype, copy=False), labels, piece.weights)))
    return Part(Chunks(chunks), threads=threads)
