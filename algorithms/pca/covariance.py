"""The covariance route: all eigenpairs of the scatter matrix, with the signs that SageMaker's artifacts have."""

from __future__ import annotations

import numpy as np

from eigenline.algorithms.pca.blocks import Array64, Precision
from eigenline.algorithms.pca.decomposition import Decomposition, with_signs_of


def decompose(scatter: Array64, num_components: int, precision: Precision = np.float64) -> Decomposition:
    """Return the strongest eigenpairs of a scatter matrix.

    LAPACK's ``ssyevd`` on the float32 matrix gives the signs: it is what SageMaker's `regular` mode runs. One
    Rayleigh-Ritz step in float64 on the span of its vectors gives eigenvalues whose error is quadratic in that of
    the vectors. Where the span itself is not good enough (every component of less than 3e-4 of the largest singular
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
