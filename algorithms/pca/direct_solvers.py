"""Eigenpairs from a matrix that is formed: of features or of records; their order, signs and completion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64, Precision, dense
from eigenline.algorithms.pca.held_records import CentredRecords


@dataclass(frozen=True, eq=False)
class Decomposition:
    """The strongest eigenpairs of a scatter matrix, strongest first.

    Attributes
    ----------
    eigenvalues
        Shape (k,), float64, descending, never negative: squared singular values of the (centred) data.
    components
        Shape (feature_dim, k), orthonormal columns.
    method
        How they were found, in a few words for the log.
    spectrum
        All eigenvalues of the matrix, descending, float64, where the method finds them anyway; they may have
        float32 accuracy.
    """

    eigenvalues: Array64
    components: NDArray[Any]
    method: str
    spectrum: Array64 | None = None


def covariance_eigh(scatter: Array64, num_components: int, precision: Precision = np.float64) -> Decomposition:
    """Return the strongest eigenpairs of a scatter matrix.

    LAPACK's ``ssyevd`` on the float32 matrix gives the signs: it is what SageMaker's `regular` mode runs. One
    Rayleigh-Ritz step in float64 on the span of its vectors gives eigenvalues whose error is quadratic in that of
    the vectors. Where the span itself is not good enough (a component of less than 3e-4 of the largest singular
    value is noise in float32), ``dsyevd`` on the float64 matrix gives values and vectors.

    Source: *How PCA Works* (SageMaker Developer Guide); signs recomputed from published artifacts;
    Parlett, *The Symmetric Eigenvalue Problem* (1998), section 11.

    Parameters
    ----------
    scatter
        Shape (d, d), float64, symmetric.
    num_components
        Eigenpairs wanted, k <= d.
    precision
        Of the products that the matrix is a sum of. float32 products carry an error like that of ``ssyevd``, so
        its vectors are good enough where their residuals are small beside the weakest eigenvalue that is wanted.
    """
    size = float(np.abs(scatter).max(initial=0.0))
    unit = scatter / size if size > 0 else scatter  # whatever the data's units, float32 can hold it
    rough, vectors = np.linalg.eigh(unit.astype(np.float32))
    spectrum, reference = rough[::-1].astype(np.float64), vectors[:, ::-1][:, :num_components]
    basis = np.linalg.qr(reference.astype(np.float64))[0]
    images = unit @ basis
    values, rotation = np.linalg.eigh(basis.T @ images)
    components = basis @ rotation
    residuals = np.linalg.norm(images @ rotation - components * values, axis=0)
    if float(residuals.max()) > np.sqrt(np.finfo(precision).eps) * abs(float(values[0])):
        every, vectors = np.linalg.eigh(unit)
        spectrum, values, components = every[::-1], every[-num_components:], vectors[:, -num_components:]
    # Rounding leaves eigenvalues of about epsilon times the largest where there is no variance at all.
    floor = scatter.shape[0] * np.finfo(np.float64).eps * max(0.0, float(values[-1]))
    return Decomposition(
        np.where(values > floor, values, 0.0)[::-1] * size,
        with_signs_of(components[:, ::-1], reference),
        "eigenvectors of the scatter matrix",
        np.maximum(spectrum, 0.0) * size,
    )


def gram_eigh(records: CentredRecords, num_components: int) -> Decomposition:
    """Return the strongest eigenpairs of the scatter matrix by way of the n x n Gram matrix: exact.

    With X the centred records: ``X X' = U diag(s^2) U'``, and `from_left` makes components of U.

    Parameters
    ----------
    records
        X, shape (n, d); n so small that (n, n) float64 fits in memory.
    num_components
        Eigenpairs wanted.
    """
    values, left = np.linalg.eigh(_gram(records))
    values, left = np.maximum(values[::-1], 0.0), left[:, ::-1]
    kept = left[:, :num_components].astype(records.features.dtype)
    return from_left(records, kept, num_components, "eigenvectors of the records' Gram matrix", values)


def from_left(
    records: CentredRecords, left: NDArray[Any], num_components: int, method: str, spectrum: Array64 | None = None
) -> Decomposition:
    """Return the best components in the span of ``X' L``.

    An orthonormal basis of that span, then the singular value decomposition of the records projected onto
    it (a Rayleigh-Ritz step): components are orthonormal and values accurate, also where those of L were not.

    Parameters
    ----------
    records
        X, shape (n, d).
    left
        L, shape (n, l) with l >= num_components, in the precision of the records: approximate left singular
        vectors. The components are as accurate as these.
    num_components
        Eigenpairs wanted.
    method
        How L was found, in a few words for the log.
    spectrum
        All eigenvalues, where they are known.
    """
    images = records.adjoint_times(left)
    lengths = np.linalg.norm(images.astype(np.float64), axis=0)
    kept = lengths > np.finfo(images.dtype).eps * records.shape[0] * lengths.max(initial=0.0)
    basis = np.linalg.qr(images[:, kept])[0]
    _, singular_values, rotation = np.linalg.svd(records.times(basis).astype(np.float64), full_matrices=False)
    components = with_fixed_signs(basis @ rotation[:num_components].T.astype(basis.dtype))
    return Decomposition(singular_values[:num_components] ** 2, components, method, spectrum)


def _gram(records: CentredRecords) -> Array64:
    """``(x_i - m) . (x_j - m)`` for all pairs of records, float64, shape (n, n)."""
    gram = dense(records.features @ records.features.T).astype(np.float64)
    if records.mean is not None:
        crossed = np.asarray(records.features @ records.mean.astype(records.features.dtype), np.float64)
        gram += float(records.mean @ records.mean) - crossed[:, None] - crossed[None, :]
    return gram


def with_fixed_signs(components: NDArray[Any]) -> NDArray[Any]:
    """Turn each column, shape (d, k), so that its entry of largest magnitude is positive (the first of equals).

    Chosen: an eigenvector's sign is arbitrary, and this is the rule that scikit-learn's PCA follows since 1.5.
    """
    strongest = np.argmax(np.abs(components), axis=0)
    signs = np.where(components[strongest, np.arange(components.shape[1])] < 0, -1, 1)
    return np.asarray(components * signs.astype(components.dtype))


def with_signs_of(components: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """Turn each column to the side of the reference's column.

    Chosen: a column whose reference points elsewhere (float32 cannot resolve it beside the strongest) has no sign
    to take over, and follows `with_fixed_signs`.

    Parameters
    ----------
    components, reference
        Shape (d, k), orthonormal columns.
    """
    agreement = np.einsum("ij,ij->j", components, reference)
    turned = components * np.where(agreement < 0, -1, 1).astype(components.dtype)
    return np.asarray(np.where(np.abs(agreement) > 0.5, turned, with_fixed_signs(components)))


def completed(components: NDArray[Any], k: int, generator: np.random.Generator) -> NDArray[Any]:
    """Add random orthonormal columns up to `k`: directions in which rank-deficient data do not vary at all.

    Parameters
    ----------
    components
        Shape (d, any number), orthonormal columns.
    k
        Columns wanted; d at most.
    """
    d, have = components.shape
    if have >= k:
        return components[:, :k]
    extra = generator.standard_normal((d, k - have))
    known = components.astype(np.float64)
    for _ in range(2):  # twice is enough (Kahan's rule) for orthogonality to the last digit
        extra -= known @ (known.T @ extra)
        extra = np.linalg.qr(extra)[0]
    return np.hstack([components, extra.astype(components.dtype)])
