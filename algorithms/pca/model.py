"""The trained PCA model: projection onto the components, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import Features, is_sparse
from eigenline.algorithms.pca.fused import MOST_FEATURES, blas_is_in_sequence, in_sequence


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
        """
        if is_sparse(features):
            return np.asarray(features.astype(np.float32, copy=False) @ self.components - self.projected_mean)
        return self._product(np.require(features, np.float32, ["C", "A"])) - self.projected_mean

    def _product(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        if self._follows_sequence:
            return in_sequence(features, self._aligned_components)
        return np.asarray(features @ self._aligned_components)

    @cached_property
    def _aligned_components(self) -> NDArray[np.float32]:
        # Arrays that begin in the midst of a file's bytes may be unaligned; numpy would go round BLAS.
        return np.require(self.components, np.float32, ["C", "A"])

    @cached_property
    def _follows_sequence(self) -> bool:
        return self.feature_dim <= MOST_FEATURES and not blas_is_in_sequence(self._aligned_components)

    def reconstruct(self, projections: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map projections back to records of the subspace: ``p @ v.T + mean``, shape (n, feature_dim)."""
        records = projections.astype(np.float32, copy=False) @ self.components.T
        return np.asarray(records if self.mean is None else records + self.mean, np.float32)
