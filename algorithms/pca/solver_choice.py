"""Which solver suits the data: a matrix of features or of records, or iteration over the records."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from eigenline.algorithms.pca.blocks import Precision
from eigenline.algorithms.pca.settings import PCASettings

# `regular` is exact, so it solves directly as long as a matrix of this size is bearable: 0.5 GB in float64.
_REGULAR_DIRECT: Final = 8192
# `randomized`: measured; below these the direct solvers are as fast as the iteration, and exact.
_RANDOMIZED_DIRECT_FEATURES: Final = 1024
_RANDOMIZED_DIRECT_RECORDS: Final = 1024
_RECORDS_PER_DIRECTION: Final = 12
# Beyond a block and the model, training may hold so many bytes of the records, and no more.
_HELD_BYTES: Final = 256 << 20
# Records of up to so many features are multiplied in float64: it costs little, and weak components gain digits.
_NARROW: Final = 64
# Directions in a product of sparse records that are held, at least.
_NARROW_BLOCK: Final = 16


@dataclass(frozen=True)
class Plan:
    """What is wanted, and where one solver gives way to the next.

    Up to `direct_features` features, `covariance_eigh` solves the scatter matrix. Beyond, records are held where
    they fit in `held_bytes`: up to `direct_records` of them, `gram_eigh` solves their Gram matrix, and more go
    through block Krylov iteration in memory. Where they do not fit, each product of the iteration is a pass.

    Attributes
    ----------
    num_components
        Components wanted.
    block_size
        Directions that the iteration carries: num_components + extra_components.
    direct_features
        Up to so many features, the d x d scatter matrix is formed and solved directly.
    direct_records
        Up to so many records, held in memory, their n x n Gram matrix is formed and solved directly.
    held_bytes
        Up to so many bytes of records are held, so that further products read memory.
    tolerance
        The iteration ends when all further products together would add at most this share of the captured
        variance.
    max_products
        The iteration ends after so many products with the scatter matrix.
    centred
        Whether the mean is subtracted.
    precision
        Of the products inside a block; sums over blocks are float64 always.
    threads
        That products of sparse records may use; those of dense records use BLAS's own.
    """

    num_components: int
    block_size: int
    direct_features: int
    direct_records: int
    held_bytes: int
    tolerance: float
    max_products: int
    centred: bool
    precision: Precision
    threads: int = 1

    def for_features(self, feature_dim: int) -> Plan:
        """Return the plan for records of so many features: few of them are multiplied in float64."""
        direct = feature_dim <= min(_NARROW, self.direct_features)
        return replace(self, precision=np.float64) if direct else self

    def for_held_sparse(self) -> Plan:
        """Return the plan for sparse records in memory: narrower blocks, and a tenth of the tolerance.

        A dense product costs the same for one direction as for ten, because it has to read the records; a sparse
        product costs in proportion to its directions, and little for each. `block_size` stays what restarts keep.
        """
        return replace(self, tolerance=self.tolerance / 10, max_products=2 * self.max_products)

    def first_block(self, count: int, feature_dim: int, *, sparse: bool) -> int:
        """Return the number of directions of the first product with held records."""
        width = max(_NARROW_BLOCK, self.block_size // 4) if sparse else self.block_size
        return min(width, self.block_size, count, feature_dim)


def make_plan(settings: PCASettings, precision: Precision, threads: int = 1) -> Plan:
    """Decide from the settings where one solver gives way to the next.

    Direct solvers take memory of the order of ``block_size * feature_dim`` too, up to a constant: the limits grow
    with the block.

    Parameters
    ----------
    settings
        The hyperparameters.
    precision
        Of the products inside a block.
    threads
        That products of sparse records may use.
    """
    size = settings.sketch_size
    regular = settings.algorithm_mode == "regular"
    few_records = max(min(_RECORDS_PER_DIRECTION * size, _RANDOMIZED_DIRECT_RECORDS), 2 * size)
    return Plan(
        num_components=settings.num_components,
        block_size=size,
        direct_features=_REGULAR_DIRECT if regular else max(_RANDOMIZED_DIRECT_FEATURES, 4 * size),
        direct_records=_REGULAR_DIRECT if regular else few_records,
        held_bytes=_HELD_BYTES,
        tolerance=1e-8 if regular else 2e-5,
        max_products=200 if regular else 60,
        centred=settings.subtract_mean,
        precision=precision,
        threads=threads,
    )
