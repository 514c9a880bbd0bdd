"""The trained PCA model: projection onto the components, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse

Array32 = NDArray[np.float32]

# Up to this many features SageMaker's order of addition is known and worth its time on any machine; beyond, every
# BLAS cuts the sum into blocks of its own.
MOST_FEATURES: Final = 64
# The BLAS kernels differ with the number of rows: vector, small, ragged and large products.
_PROBED_ROWS: Final = (1, 2, 5, 16, 33, 500)


@dataclass(frozen=True, eq=False)
class PCAModel:
    """Components of a data set, in the order in which the artifact stores them.

    `regular` training stores them ascending (the principal component is the *last* column), `randomized`
    descending (it is the first), as SageMaker does.

    Attributes
    ----------
    singular_values
        Shape (num_components,), float32: singular values of the centred data matrix, AWS's ``s``.
    components
        Shape (feature_dim, num_components), float32: orthonormal columns, AWS's ``v``.
    mean
        Shape (feature_dim,), float32: column means; None when the mean was not subtracted.
    """

    singular_values: NDArray[np.float32]
    components: NDArray[np.float32]
    mean: NDArray[np.float32] | None = None

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        return int(self.components.shape[0])

    @property
    def num_components(self) -> int:
        """Number of components kept."""
        return int(self.components.shape[1])

    @cached_property
    def projected_mean(self) -> NDArray[np.float32]:
        """``mean @ components``, shape (num_components,); zeros without a mean."""
        if self.mean is None:
            return np.zeros(self.num_components, np.float32)
        mean = np.require(self.mean[None, :], np.float32, ["C", "A"])
        return np.asarray(self._product(mean)[0])

    def project(self, features: Features) -> NDArray[np.float32]:
        """Project records: ``x @ v - mean @ v`` in float32, shape (n, num_components), in stored order.

        Two separate products, because this is the form that reproduces SageMaker's endpoints to the bit
        (``(x - mean) @ v`` rounds differently), and because it never makes sparse records dense. Dense records
        of at most 64 features get SageMaker's bits on every CPU and in requests of every size; beyond, the
        last bits are BLAS's, and may differ between a request of one record and one of many.

        Parameters
        ----------
        features
            Shape (n, feature_dim), dense or CSR; computed in float32.
        """
        if is_sparse(features):
            return np.asarray(features.astype(np.float32, copy=False) @ self.components - self.projected_mean)
        return self._product(np.require(features, np.float32, ["C", "A"])) - self.projected_mean

    def _product(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._is_sequential:
            return sequential_product(features, self._aligned_components)
        return np.asarray(features @ self._aligned_components)

    @cached_property
    def _aligned_components(self) -> NDArray[np.float32]:
        # Arrays that begin in the midst of a file's bytes may be unaligned; numpy would go round BLAS.
        return np.require(self.components, np.float32, ["C", "A"])

    @cached_property
    def _is_sequential(self) -> bool:
        return self.feature_dim <= MOST_FEATURES and not blas_is_sequential(self._aligned_components)

    def reconstruct(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map projections back to records of the subspace: ``p @ v.T + mean``, shape (n, feature_dim)."""
        records = projections.astype(np.float32, copy=False) @ self.components.T
        return np.asarray(records if self.mean is None else records + self.mean, np.float32)


def sequential_product(left: Array32, right: Array32) -> Array32:
    """Return ``left @ right`` as a chain of float32 fused multiply-adds over the features, in their order.

    ``a_0 = 0``, ``a_(j+1) = round32(a_j + x_j v_j)``: what a matrix kernel with one accumulator for each result
    computes. The published answers of a SageMaker PCA endpoint are exactly this, all 11,040 of them. A product
    of two float32 is exact in float64, so float64 adds and one rounding make the fused step. (Where a sum lies
    within 1e-9 of half-way between two float32, rounding twice may differ from rounding once.)

    Parameters
    ----------
    left
        Shape (n, d), float32.
    right
        Shape (d, k), float32.
    """
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    wide = right.astype(np.float64)
    for feature, row in zip(left.T.astype(np.float64), wide, strict=True):
        total = (feature[:, None] * row + total).astype(np.float32)
    return total


def blas_is_sequential(right: Array32) -> bool:
    """Return whether this machine's BLAS gives the same bits as `sequential_product`, for products of any height.

    Measured, because it depends on the CPU: OpenBLAS kernels for AVX-512 do up to some width, those for AVX2
    keep several partial sums.

    Parameters
    ----------
    right
        Shape (d, k), float32: the right factor of the products.
    """
    d = right.shape[0]
    # Any numbers with full mantissas will do; these need no generator.
    values = np.sin(np.arange(max(_PROBED_ROWS) * d, dtype=np.float64)).astype(np.float32).reshape(-1, d)
    expected = sequential_product(values, right)
    return all(np.array_equal(values[-rows:] @ right, expected[-rows:], equal_nan=True) for rows in _PROBED_ROWS)
