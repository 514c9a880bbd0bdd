"""Protobuf's variable-length integers, many at once: seven bits a byte, the lowest first."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOST_BYTES: Final = 10  # of a 64-bit integer
_LENGTH_BYTES: Final = 5  # of a 32-bit one, which all tags and lengths are


def read_varint(data: bytes | memoryview, place: int) -> tuple[int, int]:
    """Return the varint at one place, and the place after it.

    Raises
    ------
    IndexError
        If it is cut off, or longer than ten bytes.
    """
    value = data[place]
    if value < 0x80:  # nearly always, of tags and lengths
        return value, place + 1
    value &= 0x7F
    for shift in range(7, 7 * MOST_BYTES, 7):
        place += 1
        byte = data[place]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place + 1
    raise IndexError("a varint of more than ten bytes")


def decode_varints(data: NDArray[np.uint8]) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]] | None:
    """Decode an array that is nothing but varints.

    Parameters
    ----------
    data
        Shape (b,), uint8.

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
    return _from_ends(data, ends, sizes), ends


def _from_ends(
    data: NDArray[np.uint8], ends: NDArray[np.int64], sizes: NDArray[np.int64]
) -> NDArray[np.unsignedinteger[Any]]:
    """Decode varints of which the last bytes and the numbers of bytes are known."""
    longest = int(sizes.max(initial=1))
    dtype: type[np.unsignedinteger[Any]] = np.uint32 if longest <= 4 else np.uint64
    values: NDArray[np.unsignedinteger[Any]] = data[ends].astype(dtype)  # the last byte has the highest bits
    for place in range(1, longest):
        longer = sizes > place
        # Of a shorter one this looks at a byte of its neighbour, and does not use it.
        shifted = (values << dtype(7)) | (data[ends - place] & np.uint8(0x7F))
        values = shifted if longer.all() else np.where(longer, shifted, values)
    return values


def read_varints(
    data: NDArray[np.uint8], at: NDArray[np.int64], stop: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Read one varint at each of many places, for lengths and tags: at most five bytes are looked at.

    Parameters
    ----------
    data
        Shape (m,), uint8.
    at, stop
        Shape (n,), int64: where each begins, and the end that it must not pass; ``at < stop <= data.size``.

    Returns
    -------
    values, following, whole
        Shape (n,), int64, int64, bool: the numbers, the places after them, and whether they ended in time. Where
        one did not, its number and place mean nothing.
    """
    more = np.flatnonzero(data[at] >= 0x80)
    if not more.size:
        return data[at].astype(np.int64), at + 1, np.ones(at.shape, np.bool_)
    last = at.copy()
    for _ in range(_LENGTH_BYTES - 1):
        last[more] += 1
        more = more[last[more] < stop[more]]
        more = more[data[last[more]] >= 0x80]
        if not more.size:
            break
    whole = last < stop
    whole[more] = False
    inside = np.minimum(last, stop - 1)
    return _from_ends(data, inside, inside - at + 1).astype(np.int64), last + 1, whole


def varint_sizes(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return how many bytes each value takes.

    Parameters
    ----------
    values
        Shape (m,), uint64.
    """
    sizes = np.ones(values.shape, np.int64)
    largest = int(values.max(initial=0))
    for place in range(1, MOST_BYTES):
        if largest >> (7 * place) == 0:
            break
        sizes += values >= np.uint64(1 << (7 * place))
    return sizes


def encode_varints(values: NDArray[np.uint64], sizes: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Encode values end to end.

    Parameters
    ----------
    values
        Shape (m,), uint64.
    sizes
        Shape (m,), int64: bytes of each, as `varint_sizes` counts them.
    """
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
