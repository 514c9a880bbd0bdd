"""recordIO framing: where the records of a block begin and end, and what is wrong where they do not.

A frame is the magic number, a length, the payload, and zeros up to a multiple of four bytes. The upper three
bits of the length word tell parts of a record that MXNet split because it contained the magic.
Source: apache/mxnet recordio; the SageMaker SDK writes the same, always in one part.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError, excerpt

MAGIC: Final = 0xCED7230A
MAGIC_BYTES: Final = MAGIC.to_bytes(4, "little")
LENGTH_MASK: Final = 0x1FFFFFFF
HEADER_BYTES: Final = 8
WHOLE, FIRST, MIDDLE, LAST = range(4)  # the continuation flag


class Frames(NamedTuple):
    """Complete frames at the front of a block.

    Attributes
    ----------
    start, stop
        Shape (n,), int64: the payloads' first byte and the one after their last, within the block.
    flag
        Shape (n,): continuation flag of each.
    end
        Where the first frame that is not complete begins.
    """

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    flag: NDArray[np.int64]
    end: int

    def first(self, count: int) -> Frames:
        """Return only the first `count` frames."""
        end = int(self.start[count]) - HEADER_BYTES if count < self.start.size else self.end
        return Frames(self.start[:count], self.stop[:count], self.flag[:count], end)


def find_frames(data: NDArray[np.uint8], last: bool) -> Frames:
    """Find the complete frames at the front of a block, up to the first that is damaged or cut off.

    Every aligned occurrence of the magic is looked at once; a frame counts only if the one before it ends
    where it begins.

    Parameters
    ----------
    last
        Whether nothing follows the block, so that a missing padding at its end can be forgiven.
    """
    words = data[: data.size & ~3].view("<u4")
    places = np.flatnonzero(words == MAGIC)
    places = places[places < words.size - 1]
    if not places.size or places[0]:
        nothing = np.zeros(0, np.int64)
        return Frames(nothing, nothing, nothing, 0)
    word = words[places + 1]
    length = (word & LENGTH_MASK).astype(np.int64)
    start = places * 4 + HEADER_BYTES
    following = start + ((length + 3) & ~3)
    if not np.array_equal(following[:-1], places[1:] * 4):
        chain = _chain(places * 4, following)
        word, length, start, following = word[chain], length[chain], start[chain], following[chain]
    ends = start + length if last else following
    count = int(np.searchsorted(ends, data.size, side="right"))
    end = min(int(following[count - 1]), data.size) if count else 0
    return Frames(start[:count], (start + length)[:count], (word[:count] >> 29).astype(np.int64), end)


def _chain(places: NDArray[np.int64], following: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the indices of those magic numbers that begin a frame; the others lie within payloads."""
    successor = np.searchsorted(places, following)
    exists = successor < places.size
    exists[exists] = places[successor[exists]] == following[exists]
    hops, hopping, chain, index = successor.tolist(), exists.tolist(), [0], 0
    while hopping[index]:
        index = hops[index]
        chain.append(index)
    return np.asarray(chain, np.int64)


def whole_records(frames: Frames) -> int:
    """Return how many of the frames, from the front, make complete records (with all their parts)."""
    complete = np.flatnonzero((frames.flag == WHOLE) | (frames.flag == LAST))
    return int(complete[-1]) + 1 if complete.size else 0


def payloads(data: NDArray[np.uint8], frames: Frames) -> Iterator[bytes]:
    """Yield complete records, one by one, joined where they come in parts.

    A record is split where its payload contains the magic, which is left out.
    """
    parts: list[bytes] = []
    for start, stop, flag in zip(frames.start.tolist(), frames.stop.tolist(), frames.flag.tolist(), strict=True):
        parts.append(data[start:stop].tobytes())
        if flag in {WHOLE, LAST}:
            yield MAGIC_BYTES.join(parts)
            parts = []


def framed(payload: bytes) -> bytes:
    """Return one payload in its frame."""
    return b"".join((MAGIC_BYTES, len(payload).to_bytes(4, "little"), payload, bytes(-len(payload) % 4)))


def explain(data: NDArray[np.uint8], place: int, record: int, offset: int, name: str) -> DataError:
    """Word the error for bytes at `place` that are not a complete frame.

    Parameters
    ----------
    record
        Number of the record that should begin there, from 1.
    offset
        Where `data` begins in the source.
    """
    where = f"{name}, record {record} (byte {offset + place})"
    head = data[place : place + 64].tobytes()
    if head[:4] != MAGIC_BYTES[: len(head)]:
        return DataError(
            f"{where}: expected a recordIO frame, which begins with the bytes {MAGIC_BYTES.hex(' ')}, "
            f"got {head[:4].hex(' ')}.{_likely_cause(head, place + offset == 0)}"
        )
    left = data.size - place
    if left < HEADER_BYTES:
        return DataError(f"{where}: the data end within a frame's header; the file is cut off.")
    length = int.from_bytes(head[4:8], "little") & LENGTH_MASK
    if length <= left - HEADER_BYTES:
        return DataError(
            f"{where}: the record is split into parts, and its last part is missing; the file is cut off."
        )
    return DataError(
        f"{where}: the frame's length is {length} bytes, but only {left - HEADER_BYTES} follow; "
        "the file is cut off or damaged."
    )


def _likely_cause(head: bytes, at_start: bool) -> str:
    if head[:2] == b"\x1f\x8b":
        return " These are gzip data; give them as a file of their own, or unpack them first."
    if not at_start:
        return " The record before it may be damaged."
    text = head.decode("utf-8", "replace").lstrip("\ufeff \t\r\n")
    if text[:1] in {"{", "["}:
        return " This looks like JSON, but the content type says recordIO."
    if text[:1] and (text[0].isdigit() or text[0] in '+-."' or "," in text.split("\n")[0]):
        return f" This looks like CSV ({excerpt(text, 30)}), but the content type says recordIO."
    return " Is the content type right?"
