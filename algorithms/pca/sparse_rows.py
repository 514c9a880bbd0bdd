"""Consecutive rows of sparse records, as views of their values."""

from __future__ import annotations

from typing import Any

from eigenline.algorithms.batch import Features, is_sparse


def row_view(features: Features, rows: slice, *, transposed: bool = False) -> Any:
    """Rows ``start:stop`` without copying values, or their transpose.

    scipy's own slices copy, and its transposes search all indices for the largest: each costs a product's time.
    """
    if not is_sparse(features):
        return features[rows].T if transposed else features[rows]
    from scipy.sparse import csc_array, csr_array

    first, last = features.indptr[rows.start], features.indptr[rows.stop]
    count, d = rows.stop - rows.start, features.shape[1]
    part: Any = (
        csc_array((d, count), dtype=features.dtype) if transposed else csr_array((count, d), dtype=features.dtype)
    )
    part.data, part.indices = features.data[first:last], features.indices[first:last]
    part.indptr = features.indptr[rows.start : rows.stop + 1] - first
    return part
