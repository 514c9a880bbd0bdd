"""Matrix products added up in one fixed order, feature after feature: SageMaker's endpoints to the last bit."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

Array32 = NDArray[np.float32]

# Up to this many features SageMaker's order of addition is known and worth following on any machine; beyond,
# every BLAS cuts the sum into blocks of its own, and following would cost more than it gives.
MOST_FEATURES: Final = 64
# The BLAS kernels differ with the number of rows: vector, small, ragged and large products.
_PROBED_ROWS: Final = (1, 2, 5, 16, 33, 500)


def in_sequence(left: Array32, right: Array32) -> Array32:
    """Return ``left @ right`` as a chain of float32 fused multiply-adds over the features, in their order.

    ``a_0 = 0``, ``a_(j+1) = round32(a_j + x_j v_j)``: what a matrix kernel with one accumulator for each result
    computes. The published answers of a SageMaker PCA endpoint are exactly this, all 11,040 of them. A product
    of two float32 is exact in float64, so float64 adds and one rounding make the fused step. (Where a sum lies
    within 1e-9 of half-way between two float32, rounding twice may differ from rounding once.)

    Parameters
    ----------
    left
        Shape (n, d).
    right
        Shape (d, k).
    """
    total = np.zeros((left.shape[0], right.shape[1]), np.float32)
    wide = right.astype(np.float64)
    for feature, row in zip(left.T.astype(np.float64), wide, strict=True):
        total = (feature[:, None] * row + total).astype(np.float32)
    return total


def blas_is_in_sequence(right: Array32) -> bool:
    """Tell whether this machine's BLAS gives the same bits as `in_sequence`, for products of any height.

    Measured, because it depends on the CPU: OpenBLAS kernels for AVX-512 do up to some width, those for AVX2
    keep several partial sums.
    """
    d = right.shape[0]
    # Any numbers with full mantissas will do; these need no generator.
    values = np.sin(np.arange(max(_PROBED_ROWS) * d, dtype=np.float64)).astype(np.float32).reshape(-1, d)
    expected = in_sequence(values, right)
    return all(np.array_equal(values[-rows:] @ right, expected[-rows:], equal_nan=True) for rows in _PROBED_ROWS)
