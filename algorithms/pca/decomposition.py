"""What every route to the components returns, and the rules that make it unique: order, signs, a full basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64


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
        All eigenvalues of the matrix, descending, where the method finds them anyway; float32 accuracy.
    """

    eigenvalues: Array64
    components: NDArray[Any]
    method: str
    spectrum: Array64 | None = None


def with_fixed_signs(components: NDArray[Any]) -> NDArray[Any]:
    """Turn each column so that its entry of largest magnitude is positive (the first of equals decides).

    Chosen: an eigenvector's sign is arbitrary, and this is the rule that scikit-learn's PCA follows since 1.5.
    """
    strongest = np.argmax(np.abs(components), axis=0)
    signs = np.where(components[strongest, np.arange(components.shape[1])] < 0, -1, 1)
    return np.asarray(components * signs.astype(components.dtype))


def with_signs_of(components: NDArray[Any], reference: NDArray[Any]) -> NDArray[Any]:
    """Turn each column to the side of the reference's column.

    Chosen: a column whose reference points elsewhere (float32 cannot resolve it beside the strongest) has no sign to
    take over, and follows `with_fixed_signs`.

    Parameters
    ----------
    components, reference
        Shape (d, k), orthonormal columns.
    """
    agreement = np.einsum("ij,ij->j", components, reference)
    turned = components * np.where(agreement < 0, -1, 1).astype(components.dtype)
    return np.asarray(np.where(np.abs(agreement) > 0.5, turned, with_fixed_signs(components)))


def completed(components: NDArray[Any], k: int, generator: np.random.Generator) -> NDArray[Any]:
    """Add random orthonormal columns up to `k`: directions in which rank-deficient data do not vary at all."""
    d, have = components.shape
    if have >= k:
        return components[:, :k]
    extra = generator.standard_normal((d, k - have))
    known = components.astype(np.float64)
    for _ in range(2):  # twice is enough (Kahan's rule) for orthogonality to the last digit
        extra -= known @ (known.T @ extra)
        extra = np.linalg.qr(extra)[0]
    return np.hstack([components, extra.astype(components.dtype)])
