"""The records' side: components by way of the records' own n directions, where records are few and held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64, dense
from eigenline.algorithms.pca.decomposition import Decomposition, with_fixed_signs
from eigenline.algorithms.pca.rows import CentredRows


def decompose(rows: CentredRows, num_components: int) -> Decomposition:
    """Return the strongest eigenpairs of the scatter matrix by way of the n x n Gram matrix: exact.

    With X the centred records: ``X X' = U diag(s^2) U'``, and `from_left` makes components of U.
    """
    values, left = np.linalg.eigh(_gram(rows))
    values, left = np.maximum(values[::-1], 0.0), left[:, ::-1]
    kept = left[:, :num_components].astype(rows.features.dtype)
    return from_left(rows, kept, num_components, "eigenvectors of the records' Gram matrix", values)


def from_left(
    rows: CentredRows, left: NDArray[Any], num_components: int, method: str, spectrum: Array64 | None = None
) -> Decomposition:
    """Return the best components in the span of ``X' L``.

    An orthonormal basis of that span, then the singular value decomposition of the records projected onto
    it (a Rayleigh-Ritz step): components are orthonormal and values accurate, also where those of L were not.

    Parameters
    ----------
    left
        L, approximate left singular vectors, shape (n, at least num_components); the better, the better.
    """
    images = rows.adjoint_times(left)
    lengths = np.linalg.norm(images.astype(np.float64), axis=0)
    kept = lengths > np.finfo(images.dtype).eps * rows.shape[0] * lengths.max(initial=0.0)
    basis = np.linalg.qr(images[:, kept])[0]
    _, singular_values, rotation = np.linalg.svd(rows.times(basis).astype(np.float64), full_matrices=False)
    components = with_fixed_signs(basis @ rotation[:num_components].T.astype(basis.dtype))
    return Decomposition(singular_values[:num_components] ** 2, components, method, spectrum)


def _gram(rows: CentredRows) -> Array64:
    """``(x_i - m) . (x_j - m)`` for all pairs of records, float64, shape (n, n)."""
    gram = dense(rows.features @ rows.features.T).astype(np.float64)
    if rows.mean is not None:
        crossed = np.asarray(rows.features @ rows.mean.astype(rows.features.dtype), np.float64)
        gram += float(rows.mean @ rows.mean) - crossed[:, None] - crossed[None, :]
    return gram
