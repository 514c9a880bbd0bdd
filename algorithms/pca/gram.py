"""The row-side route: the n x n Gram matrix, exact and cheap where records are few and features many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.batch import Features
from algorithms.pca.blocks import Array64, Precision, blocks, dense
from algorithms.pca.decomposition import Decomposition, with_fixed_signs


def decompose(
    rows: Sequence[Features],
    origin: Array64 | None,
    mean: Array64 | None,
    num_components: int,
    precision: Precision,
) -> Decomposition:
    """Return the strongest eigenpairs of the scatter matrix of a few records, by way of their Gram matrix.

    With X the centred records (n, d): ``X X' = U diag(s^2) U'`` gives ``V = X' U / s``. A QR step and a
    Rayleigh-Ritz step on the projected records make V orthonormal to the last digit also where s is small.

    Parameters
    ----------
    rows
        All records, in parts.
    origin
        Point that dense records are moved to first, so that float32 products keep their digits.
    mean
        Column means that are subtracted, shape (d,); None for none.
    num_components
        Number of pairs; fewer come back where the records do not span so many.
    """
    parts = [block for part in rows for block in blocks(part, origin, precision)]
    rest = None if mean is None else mean - (0.0 if origin is None else origin)
    gram = _gram(parts, rest)
    values, left = np.linalg.eigh(gram)
    spectrum = np.maximum(values[::-1], 0.0)
    values, left = values[::-1][:num_components], left[:, ::-1][:, :num_components]
    kept = values > gram.shape[0] * np.finfo(precision).eps * max(0.0, float(values[0]))
    left = left[:, kept] / np.sqrt(values[kept])
    basis = np.linalg.qr(_adjoint(parts, rest, left, precision))[0]
    projected = np.vstack([np.asarray(part @ basis, np.float64) for part in parts])
    if rest is not None:
        projected -= rest @ basis
    _, singular_values, rotation = np.linalg.svd(projected, full_matrices=False)
    components = with_fixed_signs(basis @ rotation.T.astype(precision))
    return Decomposition(singular_values**2, components, "eigenvectors of the records' Gram matrix", spectrum)


def _gram(parts: Sequence[Features], rest: Array64 | None) -> Array64:
    """``(x_i - m) . (x_j - m)`` for all pairs of records, float64, shape (n, n)."""
    stops = np.cumsum([part.shape[0] for part in parts])
    gram = np.empty((stops[-1], stops[-1]))
    for i, first in enumerate(parts):
        rows = slice(stops[i] - first.shape[0], stops[i])
        for j, second in enumerate(parts[: i + 1]):
            columns = slice(stops[j] - second.shape[0], stops[j])
            gram[rows, columns] = dense(first @ second.T)
            gram[columns, rows] = gram[rows, columns].T
    if rest is not None and rest.any():
        crossed = np.concatenate([np.asarray(part @ rest.astype(part.dtype), np.float64) for part in parts])
        gram += float(rest @ rest) - crossed[:, None] - crossed[None, :]
    return gram


def _adjoint(parts: Sequence[Features], rest: Array64 | None, left: Array64, precision: Precision) -> NDArray[Any]:
    """``(X - m)' L`` for L of shape (n, k), shape (d, k)."""
    total: Any = 0.0
    start = 0
    for part in parts:
        total = total + part.T @ left[start : start + part.shape[0]].astype(precision)
        start += part.shape[0]
    if rest is not None and rest.any():
        total = total - np.outer(rest, left.sum(axis=0))
    return np.asarray(total, precision)
