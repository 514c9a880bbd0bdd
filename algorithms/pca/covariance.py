"""The covariance route: all eigenpairs of the scatter matrix, with the signs that SageMaker's artifacts have."""

from __future__ import annotations

import numpy as np

from eigenline.algorithms.pca.blocks import Array64
from eigenline.algorithms.pca.decomposition import Decomposition, with_signs_of


def decompose(scatter: Array64, num_components: int) -> Decomposition:
    """Return the strongest eigenpairs of a scatter matrix of shape (d, d).

    LAPACK's ``ssyevd`` on the float32 matrix comes first: it is what SageMaker's `regular` mode runs, so its
    vectors carry SageMaker's signs. One Rayleigh-Ritz step in float64 on the span of the vectors that are
    kept then gives eigenvalues to float64 accuracy (their error is quadratic in that of the vectors), so that
    a direction without variance has a singular value near zero where SageMaker stores NaN.

    Source: *How PCA Works* (SageMaker Developer Guide); signs recomputed from published artifacts;
    Parlett, *The Symmetric Eigenvalue Problem* (1998), section 11.
    """
    size = float(np.abs(scatter).max(initial=0.0))
    unit = scatter / size if size > 0 else scatter  # whatever the data's units, float32 can hold it
    rough, vectors = np.linalg.eigh(unit.astype(np.float32))
    vectors = vectors[:, ::-1][:, :num_components]
    basis = np.linalg.qr(vectors.astype(np.float64))[0]
    values, rotation = np.linalg.eigh(basis.T @ unit @ basis)
    components = with_signs_of(basis @ rotation[:, ::-1], vectors)
    # Rounding leaves eigenvalues of about epsilon times the largest where there is no variance at all.
    floor = scatter.shape[0] * np.finfo(np.float64).eps * max(0.0, float(values[-1]))
    eigenvalues = np.where(values > floor, values, 0.0)[::-1] * size
    spectrum = np.maximum(rough[::-1].astype(np.float64), 0.0) * size
    return Decomposition(eigenvalues, components, "eigenvectors of the scatter matrix", spectrum)
