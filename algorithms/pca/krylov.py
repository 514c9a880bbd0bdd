"""Randomised block Krylov iteration with restarts, over a matrix that is only known by its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.pca.blocks import Array64, Precision
from algorithms.pca.decomposition import Decomposition, with_fixed_signs

# Blocks that the basis holds before it restarts from its best directions: memory against passes.
BASIS_BLOCKS = 4


@dataclass(frozen=True, eq=False)
class KrylovBasis:
    """An orthonormal basis Q of shape (d, p) and its images ``W = A Q`` under the symmetric matrix A."""

    basis: NDArray[Any]
    images: NDArray[Any]

    @property
    def ritz(self) -> tuple[Array64, Array64]:
        """Eigenvalues and eigenvectors of ``Q' A Q``, strongest first."""
        projected = (self.basis.T @ self.images).astype(np.float64)
        values, vectors = np.linalg.eigh((projected + projected.T) / 2)
        return values[::-1], vectors[:, ::-1]


def begin(d: int, block_size: int, precision: Precision, generator: np.random.Generator) -> NDArray[Any]:
    """Draw the first block of directions: an orthonormalised Gaussian one, shape (d, block_size)."""
    return np.linalg.qr(generator.standard_normal((d, block_size), dtype=precision))[0]


def extend(
    state: KrylovBasis | None, directions: NDArray[Any], images: Array64, keep: int
) -> tuple[KrylovBasis, NDArray[Any]]:
    """Add one block of directions with their images; return the new basis and the next block to multiply.

    The next block spans what the images hold beyond the basis: empty, with shape (d, 0), once the basis is
    invariant, and every further product would be of rounding errors.

    Where the basis grew to `BASIS_BLOCKS` blocks it is cut back to its `keep` best Ritz vectors. This loses
    nothing that is needed later, because the residuals of all Ritz vectors lie in the next block.

    Source: Musco and Musco, *Randomized Block Krylov Methods* (2015), algorithm 2; restarts as in Zhou and
    Saad, *Block Krylov-Schur method for large symmetric eigenvalue problems* (2008).
    """
    fresh = images.astype(directions.dtype)
    if state is None:
        grown = KrylovBasis(directions, fresh)
    else:
        grown = KrylovBasis(np.hstack([state.basis, directions]), np.hstack([state.images, fresh]))
    following = _beyond(grown.basis, fresh)
    if grown.basis.shape[1] + following.shape[1] > BASIS_BLOCKS * keep:
        best = grown.ritz[1][:, :keep].astype(fresh.dtype)
        grown = KrylovBasis(grown.basis @ best, grown.images @ best)
    return grown, following


def _beyond(basis: NDArray[Any], block: NDArray[Any]) -> NDArray[Any]:
    """Orthonormal basis of what `block` spans outside the span of `basis`, to working precision."""
    size = float(np.linalg.norm(block, axis=0).max(initial=0.0))
    for _ in range(2):  # twice is enough for orthogonality to working precision
        block = block - basis @ (basis.T @ block)
    values, vectors = np.linalg.eigh((block.T @ block).astype(np.float64))
    kept = values > (10 * np.finfo(block.dtype).eps * size) ** 2
    block = block @ (vectors[:, kept] / np.sqrt(values[kept])).astype(block.dtype)
    for _ in range(2):
        block = np.linalg.qr(block - basis @ (basis.T @ block))[0]
    return block


def captured(state: KrylovBasis, num_components: int) -> float:
    """Sum of the strongest eigenvalues of the Nystroem approximation that `decompose` returns.

    It is never above the optimum, and grows with each block.
    """
    values = np.linalg.eigvalsh(_gram_of(_nystroem_factor(state)))
    return float(values[::-1][:num_components].sum())


def decompose(state: KrylovBasis, num_components: int, method: str) -> Decomposition:
    """Return the strongest eigenpairs of the Nystroem approximation ``W (Q'W)^-1 W'`` of A.

    It uses the images, which the next Krylov block would have been made of, so it is worth about one more
    pass over the data than Rayleigh-Ritz on Q. Its eigenvalues never exceed those of A.

    Source: Tropp, Yurtsever, Udell and Cevher, *Fixed-rank approximation of a positive-semidefinite matrix from
    streaming data* (2017), where the sketch is the first block and there is no other.
    """
    factor = _nystroem_factor(state)
    values, vectors = np.linalg.eigh(_gram_of(factor))
    values, vectors = values[::-1][:num_components], vectors[:, ::-1][:, :num_components]
    kept = values > np.finfo(factor.dtype).eps * max(0.0, float(values[0]))
    scaled = factor @ (vectors[:, kept] / np.sqrt(values[kept])).astype(factor.dtype)
    components, triangle = np.linalg.qr(scaled)
    components = components * np.where(np.diag(triangle) < 0, -1, 1).astype(factor.dtype)
    return Decomposition(values[kept], with_fixed_signs(components), method)


def _nystroem_factor(state: KrylovBasis) -> NDArray[Any]:
    """Return F of shape (d, p) with ``F F' = W (Q'W)^-1 W'``, without directions that are rounding errors."""
    values, vectors = state.ritz
    kept = values > 100 * np.finfo(state.basis.dtype).eps * max(0.0, float(values[0]))
    return np.asarray(state.images @ (vectors[:, kept] / np.sqrt(values[kept])).astype(state.images.dtype))


def _gram_of(factor: NDArray[Any]) -> Array64:
    return np.asarray(factor.T @ factor, np.float64)
