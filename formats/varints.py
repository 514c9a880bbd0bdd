"""Protobuf's variable-length integers, many at once: seven bits a byte, the lowest first."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 10  # of a 64-bit integer


def decode_varints(data: NDArray[np.uint8]) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]] | None:
    """Decode an array that is nothing but varints.

    Returns
    -------
    values
        Shape (m,): uint32 where that is enough, otherwise uint64.
    ends
        Shape (m,): index of each one's last byte.
    None instead, if the last one is cut off or one has more than 64 bits.
    """
    ends = np.flatnonzero(data < 0x80)
    if data.size and (not ends.size or ends[-1] != data.size - 1):
        return None
    sizes = np.diff(ends, prepend=-1)
    if sizes.size and int(sizes.max()) >= MOST_BYTES:
        highest = data[ends[sizes >= MOST_BYTES]]
        if int(sizes.max()) > MOST_BYTES or int(highest.max()) > 1:  # more than 64 bits
            return None
    longest = int(sizes.max(initial=1))
    dtype: type[np.unsignedinteger[Any]] = np.uint32 if longest <= 4 else np.uint64
    values: NDArray[np.unsignedinteger[Any]] = data[ends].astype(dtype)  # the last byte has the highest bits
    for place in range(1, longest):
        longer = sizes > place
        # Of a shorter one this looks at a byte of its neighbour, and does not use it.
        shifted = (values << dtype(7)) | (data[ends - place] & np.uint8(0x7F))
        values = shifted if longer.all() else np.where(longer, shifted, values)
    return values, ends


def read_varints(
    data: NDArray[np.uint8], at: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Read one varint at each of many places, for lengths and tags: at most five bytes are looked at.

    Parameters
    ----------
    at, stop
        Shape (n,): where each begins, and the end that it must not pass; ``at < stop <= data.size``.

    Returns
    -------
    values, following, whole
        Shape (n,): the numbers, the positions after them, and whether they ended in time.
    """
    byte = data[at]
    values = (byte & 0x7F).astype(np.int64)
    following = at + 1
    whole = np.ones(at.shape, np.bool_)
    more = np.flatnonzero(byte >= 0x80)
    for shift in (7, 14, 21, 28):
        if not more.size:
            return values, following, whole
        place = following[more]
        inside = place < stop[more]
        whole[more[~inside]] = False
        more, place = more[inside], place[inside]
        byte = data[place]
        values[more] |= (byte & 0x7F).astype(np.int64) << shift
        following[more] += 1
        more = more[byte >= 0x80]
    whole[more] = False
    return values, following, whole


def varint_sizes(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return how many bytes each value takes."""
    sizes = np.ones(values.shape, np.int64)
    largest = int(values.max(initial=0))
    for place in range(1, MOST_BYTES):
        if largest >> (7 * place) == 0:
            break
        sizes += values >= np.uint64(1 << (7 * place))
    return sizes


def encode_varints(values: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Encode values, each `sizes` bytes long, end to end."""
    longest = int(sizes.max(initial=1))
    narrow = values.astype(np.uint32) if longest <= 4 else values
    table = np.empty((values.size, longest), np.uint8)
    used = np.empty((values.size, longest), np.bool_)
    for place in range(longest):
        table[:, place] = (narrow >> narrow.dtype.type(7 * place)).astype(np.uint8) | 0x80
        used[:, place] = sizes > place
    data = table[used]  # row by row, so each value's bytes stay together
    data[np.cumsum(sizes) - 1] &= 0x7F  # the last byte of each
    return data
