"""Randomised block Krylov iteration with restarts, over a matrix that is only known by its products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.pca.blocks import Array64, Precision
from eigenline.algorithms.pca.direct_solvers import Decomposition, with_fixed_signs

# Blocks that the basis holds before it restarts from its best directions: memory against passes.
BASIS_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class KrylovBasis:
    """An orthonormal basis of a Krylov space of the symmetric matrix A, and the block to multiply next.

    With basis Q and next block N, both orthonormal and orthogonal to each other: ``A Q = Q T + N B``. So T, B and
    the two blocks hold all that is known of A by its products, and the images ``A Q`` need not be kept.

    Attributes
    ----------
    room
        Shape (d, capacity), reserved once; its columns are filled in as blocks come: Q, then N.
    following
        N, shape (d, b), the block to multiply next, in one piece of memory. It has no columns, shape (d, 0), once
        the basis is invariant, and every further product would be of rounding errors.
    projected
        ``T = Q' A Q``, float64, shape (p, p).
    coupling
        ``B = N' A Q``, float64, shape (b, p).
    keep
        Directions that survive a restart, and that results are made of.
    """

    room: NDArray[Any]
    following: NDArray[Any]
    projected: Array64
    coupling: Array64
    keep: int

    @property
    def size(self) -> int:
        """Number p of directions that were multiplied."""
        return len(self.projected)

    @property
    def basis(self) -> NDArray[Any]:
        """Q, shape (d, p)."""
        return self.room[:, : self.size]

    @property
    def known(self) -> NDArray[Any]:
        """Q and N side by side, shape (d, p + b)."""
        return self.room[:, : self.size + self.following.shape[1]]

    @property
    def ritz(self) -> tuple[Array64, Array64]:
        """The `keep` strongest eigenvalues of T, and their vectors as columns."""
        values, vectors = np.linalg.eigh(self.projected)
        return values[::-1][: self.keep], vectors[:, ::-1][:, : self.keep]


def directions(d: int, block_size: int, precision: Precision, generator: np.random.Generator) -> NDArray[Any]:
    """Draw the first block of directions: orthonormalised Gaussian columns, shape (d, block_size)."""
    block = generator.standard_normal((d, block_size), dtype=precision)
    if d < 4 * block_size:  # too square to be well-conditioned
        return np.linalg.qr(block)[0]
    return _orthonormalised(_orthonormalised(block)[0])[0]


def begin(first: NDArray[Any], keep: int) -> KrylovBasis:
    """Start with a block of orthonormal directions that is still to be multiplied."""
    d, b = first.shape
    # Column order, so that a block more is one piece of memory, and pages that are never used are never touched.
    room = np.empty((d, max(BASIS_BLOCKS * keep, 2 * b)), first.dtype, order="F")
    room[:, :b] = first
    return KrylovBasis(room, first, np.zeros((0, 0)), np.zeros((b, 0)), keep)


def extend(state: KrylovBasis, images: NDArray[Any]) -> KrylovBasis:
    """Add the product of A with the block that was to be multiplied: the block joins the basis.

    Columns are filled in place: the old state must not be used again.

    The next block spans what the images hold beyond the basis. Where the basis would outgrow its room it is cut
    back to its best Ritz vectors. This loses nothing that is needed later, because the residuals of all Ritz
    vectors lie in the next block.

    Source: Musco and Musco, *Randomized Block Krylov Methods* (2015), algorithm 2; restarts as in Zhou and
    Saad, *Block Krylov-Schur method for large symmetric eigenvalue problems* (2008).

    Parameters
    ----------
    state
        With its `following` block N of shape (d, b).
    images
        ``A N``, shape (d, b).
    """
    images = images.astype(state.room.dtype, copy=False)
    known, p = state.known, state.size
    inside = known.T @ images
    following, lengths = _beyond(known, images, inside)
    corner = inside[p:].astype(np.float64)
    side = inside[:p].astype(np.float64)
    projected = np.block([[state.projected, side], [side.T, (corner + corner.T) / 2]])
    # A times the older directions lies within the basis by now: only the newest couple to what follows.
    coupling = np.hstack([np.zeros((len(lengths), p)), lengths])
    grown = KrylovBasis(state.room, following, projected, coupling, state.keep)
    if grown.size + following.shape[1] > grown.room.shape[1]:
        return _restarted(grown)
    grown.room[:, grown.size : grown.size + following.shape[1]] = following
    return grown


def _restarted(state: KrylovBasis) -> KrylovBasis:
    """Cut the basis back to its best Ritz vectors."""
    values, vectors = state.ritz
    size, b = len(values), state.following.shape[1]
    state.room[:, :size] = state.basis @ vectors.astype(state.room.dtype)
    state.room[:, size : size + b] = state.following
    return KrylovBasis(state.room, state.following, np.diag(values), state.coupling @ vectors, state.keep)


def _beyond(known: NDArray[Any], images: NDArray[Any], inside: NDArray[Any]) -> tuple[NDArray[Any], Array64]:
    """Orthonormal basis N of what images span beyond `known`, and L with ``images = known inside + N L``.

    Block Gram-Schmidt, repeated until nothing changes, with the products of Stathopoulos and Wu, *A block
    orthogonalization procedure with constant synchronization requirements* (2002), in place of QR: matrix
    products only, several times faster on tall blocks, and it finds the rank.

    Parameters
    ----------
    known
        Orthonormal, shape (d, q).
    images
        Shape (d, b).
    inside
        ``known' images``, shape (q, b).
    """
    rounding = 10 * float(np.finfo(images.dtype).eps) * float(np.linalg.norm(inside, axis=0).max(initial=0.0))
    rest = known @ inside
    block, lengths, _ = _orthonormalised(np.subtract(images, rest, out=rest), rounding)
    for _ in range(3):
        # What rounding left of the basis in the first difference was short, but grew with the scaling to length 1.
        block -= known @ (known.T @ block)
        block, change, shortest = _orthonormalised(block, 0.5)
        lengths = change @ lengths
        if shortest > 0.999:
            break
    return block, lengths


def _orthonormalised(block: NDArray[Any], smallest: float = 0.0) -> tuple[NDArray[Any], Array64, float]:
    """Scale the principal axes of a block to length 1, without those shorter than `smallest`.

    Returns the block N, L with ``block = N L``, and the square of the shortest axis that was kept. N is orthogonal
    to working precision only where the axes were of similar length.
    """
    values, vectors = np.linalg.eigh((block.T @ block).astype(np.float64))
    kept = values > smallest**2
    lengths, axes = np.sqrt(values[kept]), vectors[:, kept]
    turned = block @ (axes / lengths).astype(block.dtype)
    return turned, lengths[:, None] * axes.T, float(values[kept].min(initial=1.0))


def captured(state: KrylovBasis, num_components: int) -> float:
    """Sum of the strongest eigenvalues of the Nystroem approximation that `decompose` returns.

    It is never above the optimum, and grows with each block. It costs next to nothing: no product of the height d.
    """
    squares = np.linalg.svd(_nystroem_factor(state), compute_uv=False) ** 2
    return float(squares[:num_components].sum())


def decompose(state: KrylovBasis, num_components: int, method: str) -> Decomposition:
    """Return the strongest eigenpairs of a Nystroem approximation ``W (R'W)^-1 W'`` of A.

    R here are the best Ritz vectors of the basis and W their images, which reach into the next Krylov block; so it
    is worth about one more pass over the data than the Ritz vectors themselves. Its eigenvalues never exceed those
    of A.

    Source: Tropp, Yurtsever, Udell and Cevher, *Fixed-rank approximation of a positive-semidefinite matrix from
    streaming data* (2017), where R is the first random block and there is no other.
    """
    vectors, singular_values, _ = np.linalg.svd(_nystroem_factor(state), full_matrices=False)
    squares = singular_values[:num_components] ** 2
    kept = squares > np.finfo(state.room.dtype).eps * squares.max(initial=0.0)
    components = state.known @ vectors[:, :num_components][:, kept].astype(state.room.dtype)
    # Orthonormal but for rounding; one Cholesky step (that of QR) makes them so to the last digits.
    gram = (components.T @ components).astype(np.float64)
    components = components @ np.linalg.inv(np.linalg.cholesky(gram).T).astype(components.dtype)
    return Decomposition(squares[kept], with_fixed_signs(components), method)


def _nystroem_factor(state: KrylovBasis) -> Array64:
    """Return F of shape (p + b, keep) such that ``[Q N] F F' [Q N]'`` is the approximation.

    With Ritz values D and vectors ``R = Q V``: ``W = A R = Q V D + N B V`` and ``F = [V D^1/2; B V D^-1/2]``,
    without directions that are rounding errors.
    """
    values, vectors = state.ritz
    kept = values > 100 * np.finfo(state.room.dtype).eps * values.max(initial=0.0)
    lengths, vectors = np.sqrt(values[kept]), vectors[:, kept]
    return np.vstack([vectors * lengths, state.coupling @ (vectors / lengths)])
