"""Ragged slices of a byte array: gathered into one contiguous array, and scattered from one."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def gather(
    data: NDArray[np.uint8], starts: NDArray[np.int64], counts: NDArray[np.int64], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return the concatenation of slices of `data`, read as `dtype` from addresses of any alignment.

    Parameters
    ----------
    data
        Shape (m,), uint8.
    starts, counts
        Shape (n,), int64: where each slice begins, in bytes, and how many items it has. All must lie
        within `data`.
    dtype
        Of the items.
    """
    if data.size < dtype.itemsize or not counts.any():
        return np.zeros(0, dtype)
    # Overlapping items, one beginning at every byte: numpy reads unaligned ones correctly.
    items = np.ndarray((data.size - dtype.itemsize + 1,), dtype, data, 0, (data.strides[0],))
    return np.asarray(items[positions(starts, counts, dtype.itemsize)])


def scatter(
    out: NDArray[np.uint8], starts: NDArray[np.int64], counts: NDArray[np.int64], items: NDArray[Any]
) -> None:
    """Write slices of `counts` items each to `out`, from addresses of any alignment on: `gather` backwards.

    Parameters
    ----------
    out
        Shape (m,), uint8.
    starts, counts
        Shape (n,), int64: where each slice begins, in bytes, and how many of the items it has. All must lie within
        `out`.
    items
        All slices' items, concatenated.
    """
    size = items.dtype.itemsize
    if items.size:
        target = np.ndarray((out.size - size + 1,), items.dtype, out, 0, (out.strides[0],))
        target[positions(starts, counts, size)] = items


def positions(starts: NDArray[np.int64], counts: NDArray[np.int64], step: int = 1) -> NDArray[np.int64]:
    """Return ``starts[i] + step * (0 .. counts[i] - 1)`` for all i, concatenated.

    Parameters
    ----------
    starts, counts
        Shape (n,), int64.
    step
        Distance between neighbours.
    """
    before = np.cumsum(counts) - counts
    index = np.arange(int(counts.sum()), dtype=np.int64)
    if step != 1:
        index *= step
    index += np.repeat(starts - step * before, counts)
    return index
