"""Randomised block Krylov iteration with restarts, over a matrix that is only known by its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algorithms.pca.blocks import Array64, Precision
from algorithms.pca.decomposition import Decomposition, with_fixed_signs

# Blocks that the basis holds before it restarts from its best directions: memory against passes.
BASIS_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class KrylovBasis:
    """An orthonormal basis of a Krylov space of the symmetric matrix A, and its image.

    Attributes
    ----------
    basis_room, images_room
        Shape (d, capacity), reserved once; columns are filled in as blocks come.
    size
        Number p of columns in use.
    projected
        ``Q' A Q``, float64, shape (p, p).
    keep
        Directions that survive a restart, and that results are made of.
    """

    basis_room: NDArray[Any]
    images_room: NDArray[Any]
    size: int
    projected: Array64
    keep: int

    @property
    def basis(self) -> NDArray[Any]:
        """Q, shape (d, p)."""
        return self.basis_room[:, : self.size]

    @property
    def images(self) -> NDArray[Any]:
        """``W = A Q``, shape (d, p)."""
        return self.images_room[:, : self.size]

    @property
    def ritz(self) -> tuple[Array64, Array64]:
        """The `keep` strongest eigenvalues of ``Q' A Q``, and their vectors as columns."""
        values, vectors = np.linalg.eigh(self.projected)
        return values[::-1][: self.keep], vectors[:, ::-1][:, : self.keep]


def begin(d: int, block_size: int, precision: Precision, generator: np.random.Generator) -> NDArray[Any]:
    """Draw the first block of directions: an orthonormalised Gaussian one, shape (d, block_size)."""
    block = generator.standard_normal((d, block_size), dtype=precision)
    if d < 4 * block_size:  # too square to be well-conditioned
        return np.linalg.qr(block)[0]
    return _orthonormalised(_orthonormalised(block, 0.0)[0], 0.0)[0]


def extend(
    state: KrylovBasis | None, directions: NDArray[Any], images: NDArray[Any], keep: int
) -> tuple[KrylovBasis, NDArray[Any]]:
    """Add one block of directions with their images; return the new basis and the next block to multiply.

    Columns are filled in place: the old state must not be used again.

    The next block spans what the images hold beyond the basis: empty, with shape (d, 0), once the basis is
    invariant, and every further product would be of rounding errors.

    Where the basis would grow beyond ``BASIS_BLOCKS * keep`` directions it is cut back to its best Ritz vectors.
    This loses nothing that is needed later, because the residuals of all Ritz vectors lie in the next block.

    Source: Musco and Musco, *Randomized Block Krylov Methods* (2015), algorithm 2; restarts as in Zhou and
    Saad, *Block Krylov-Schur method for large symmetric eigenvalue problems* (2008).
    """
    fresh = images.astype(directions.dtype)
    grown = _appended(state, directions, fresh, keep)
    following = _beyond(grown.basis, fresh)
    if grown.size + following.shape[1] > grown.basis_room.shape[1]:
        grown = _restarted(grown)
    return grown, following


def _appended(state: KrylovBasis | None, directions: NDArray[Any], images: NDArray[Any], keep: int) -> KrylovBasis:
    corner = (directions.T @ images).astype(np.float64)
    corner = (corner + corner.T) / 2
    if state is None:
        # Column order, so that a block more is one piece of memory, and the columns in use are one too.
        shape = (directions.shape[0], max(BASIS_BLOCKS * keep, directions.shape[1]))
        state = KrylovBasis(
            np.empty(shape, images.dtype, order="F"),
            np.empty(shape, images.dtype, order="F"),
            0,
            corner[:0, :0],
            keep,
        )
    side = (state.basis.T @ images).astype(np.float64)
    size = state.size + directions.shape[1]
    state.basis_room[:, state.size : size] = directions
    state.images_room[:, state.size : size] = images
    projected = np.block([[state.projected, side], [side.T, corner]])
    return KrylovBasis(state.basis_room, state.images_room, size, projected, keep)


def _restarted(state: KrylovBasis) -> KrylovBasis:
    """Cut the basis back to its best Ritz vectors."""
    values, vectors = state.ritz
    best = vectors.astype(state.basis_room.dtype)
    size = best.shape[1]
    for room in (state.basis_room, state.images_room):
        room[:, :size] = room[:, : state.size] @ best
    return KrylovBasis(state.basis_room, state.images_room, size, np.diag(values), state.keep)


def _beyond(basis: NDArray[Any], block: NDArray[Any]) -> NDArray[Any]:
    """Orthonormal basis of what `block` spans outside the span of `basis`, to working precision.

    Block Gram-Schmidt, repeated until nothing changes, with the products of Stathopoulos and Wu, *A block
    orthogonalization procedure with constant synchronization requirements* (2002), in place of QR: matrix
    products only, several times faster on tall blocks, and it shows the rank.
    """
    smallest = 10 * float(np.finfo(block.dtype).eps) * float(np.linalg.norm(block, axis=0).max(initial=0.0))
    for turn in range(4):
        block = block - basis @ (basis.T @ block)
        block, shortest = _orthonormalised(block, smallest)
        smallest = 0.5  # from now on the block is orthonormal but for rounding
        # The first turn's lengths are those of the images, and tell nothing of what rounding left in the basis.
        if turn and shortest > 0.999:
            break
    return block


def _orthonormalised(block: NDArray[Any], smallest: float) -> tuple[NDArray[Any], float]:
    """Scale the principal axes of a block to length 1, without those shorter than `smallest`.

    Returns the block and the square of its shortest axis that was kept. Orthogonal to working precision only
    where the axes were of similar length.
    """
    values, vectors = np.linalg.eigh((block.T @ block).astype(np.float64))
    kept = values > smallest**2
    turned = block @ (vectors[:, kept] / np.sqrt(values[kept])).astype(block.dtype)
    return turned, float(values[kept].min(initial=1.0))


def captured(state: KrylovBasis, num_components: int) -> float:
    """Sum of the strongest eigenvalues of the Nystroem approximation that `decompose` returns.

    It is never above the optimum, and grows with each block.
    """
    values = np.linalg.eigvalsh(_gram_of(_nystroem_factor(state)))
    return float(values[::-1][:num_components].sum())


def decompose(state: KrylovBasis, num_components: int, method: str) -> Decomposition:
    """Return the strongest eigenpairs of a Nystroem approximation ``W (Q'W)^-1 W'`` of A.

    Q here are the best Ritz vectors of the basis and W their images, which reach into what the next Krylov
    block would be; so it is worth about one more pass over the data than the Ritz vectors themselves. Its
    eigenvalues never exceed those of A.

    Source: Tropp, Yurtsever, Udell and Cevher, *Fixed-rank approximation of a positive-semidefinite matrix from
    streaming data* (2017), where Q is the first random block and there is no other.
    """
    factor = _nystroem_factor(state)
    values, vectors = np.linalg.eigh(_gram_of(factor))
    values, vectors = values[::-1][:num_components], vectors[:, ::-1][:, :num_components]
    kept = values > np.finfo(factor.dtype).eps * values.max(initial=0.0)
    scaled = factor @ (vectors[:, kept] / np.sqrt(values[kept])).astype(factor.dtype)
    components, triangle = np.linalg.qr(scaled)
    components = components * np.where(np.diag(triangle) < 0, -1, 1).astype(factor.dtype)
    return Decomposition(values[kept], with_fixed_signs(components), method)


def _nystroem_factor(state: KrylovBasis) -> NDArray[Any]:
    """Return F of shape (d, keep) with ``F F' = W (Q'W)^-1 W'``, without directions that are rounding errors."""
    values, vectors = state.ritz
    kept = values > 100 * np.finfo(state.basis.dtype).eps * values.max(initial=0.0)
    return np.asarray(state.images @ (vectors[:, kept] / np.sqrt(values[kept])).astype(state.images.dtype))


def _gram_of(factor: NDArray[Any]) -> Array64:
    return np.asarray(factor.T @ factor, np.float64)
