"""Dense records that all look alike: the layout of one, verified for a block; the numbers one strided copy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray
from eigenline.formats.framing import HEADER_BYTES, LENGTH_MASK, MAGIC
from eigenline.formats.record import KEY, Block

_VALUES_KEY: Final = KEY.encode()
_FIXED: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
}  # field numbers of Float32Tensor, Float64Tensor
_INT32: Final = 7
_MOST_LABEL_BYTES: Final = 5  # of an int32 that is not negative
# Verified and copied piece by piece, so that the second touch of a short record finds it in the cache. Of long
# ones only the few bytes between the numbers are touched twice.
_PIECE_BYTES: Final = 1 << 19
_PIECE_FRAMES: Final = 1 << 13
_LEAST_VIEWED_SHARE: Final = 0.75  # of a frame that must be features, for a view to be worth the memory it keeps


@dataclass(frozen=True)
class Numbers:
    """Where a tensor's packed values lie within a frame; `dtype` None stands for an int32 of `size` bytes."""

    start: int
    size: int
    dtype: np.dtype[Any] | None

    @property
    def stop(self) -> int:
        """The byte after the last."""
        return self.start + self.size


@dataclass(frozen=True)
class DenseLayout:
    """The layout of one dense frame, which the following ones probably share.

    Attributes
    ----------
    frame_bytes
        Distance from one frame to the next.
    features, label
        Where the numbers are; `label` is None where there is none.
    constants
        What every frame must have alike: the place of a 32-bit word, the word, and which of its bits count. That
        is all but numbers, texts that algorithms do not use, and padding.
    """

    frame_bytes: int
    features: Numbers
    label: Numbers | None
    constants: tuple[tuple[int, np.uint32, np.uint32], ...]

    @property
    def feature_dim(self) -> int:
        """Number of features of a record."""
        assert self.features.dtype is not None
        return self.features.size // self.features.dtype.itemsize

    def read(self, data: NDArray[np.uint8]) -> tuple[Block | None, int]:
        """Decode as many records from the front of a block as are complete and have this layout.

        Returns
        -------
        The records, or None if there are none, and how many there are. Features are a view of `data` where
        the alignment allows and the frames hold little else, otherwise a copy.
        """
        most = data.size // self.frame_bytes
        frames = data[: most * self.frame_bytes].reshape(most, self.frame_bytes)
        viewed = self._view(frames)
        dtype = self.features.dtype
        assert dtype is not None
        out = np.empty((most, self.feature_dim), dtype) if viewed is None else viewed
        count = most
        step = max(_PIECE_FRAMES, _PIECE_BYTES // self.frame_bytes)
        for start in range(0, most, step):
            piece = frames[start : start + step]
            alike = self._alike(piece)
            if viewed is None:
                target = out[start : start + alike].view(np.uint8)
                target[...] = piece[:alike, self.features.start : self.features.stop]
            if alike < len(piece):
                count = start + alike
                break
        if not count:
            return None, 0
        if viewed is None and count < most // 2:
            out = out[:count].copy()  # do not keep the memory of the rest
        return Block(out[:count], self._labels(frames[:count])), count

    def misalignment(self) -> int:
        """Return the address, modulo 64, at which a frame must begin for its features to be aligned."""
        assert self.features.dtype is not None
        return -self.features.start % self.features.dtype.itemsize

    def _alike(self, frames: NDArray[np.uint8]) -> int:
        """Return how many frames from the front have this layout."""
        words = frames.view("<u4")
        different = np.zeros(len(frames), np.uint32)
        for place, word, mask in self.constants:
            difference = words[:, place] ^ word
            if mask != 0xFFFFFFFF:
                difference &= mask
            different |= difference
        if not different.any():
            return len(frames)
        return int(np.argmax(different != 0))

    def _view(self, frames: NDArray[np.uint8]) -> DenseArray | None:
        dtype = self.features.dtype
        assert dtype is not None
        aligned = not (frames.ctypes.data + self.features.start) % dtype.itemsize
        if not aligned or self.frame_bytes % dtype.itemsize:
            return None
        if self.features.size < _LEAST_VIEWED_SHARE * self.frame_bytes:
            return None
        return frames[:, self.features.start : self.features.stop].view(dtype)

    def _labels(self, frames: NDArray[np.uint8]) -> DenseArray | None:
        if self.label is None:
            return None
        raw = np.ascontiguousarray(frames[:, self.label.start : self.label.stop])
        if self.label.dtype is not None:
            return np.asarray(raw.view(self.label.dtype)[:, 0])
        value = np.zeros(len(raw), np.uint64)
        for place in range(self.label.size):
            value |= (raw[:, place] & np.uint8(0x7F)).astype(np.uint64) << np.uint64(7 * place)
        return value.astype(np.int64).astype(np.int32).astype(np.float32)


def find_layout(data: NDArray[np.uint8]) -> DenseLayout | None:
    """Learn the layout of the frame at the front of a block; None if it is not dense, or unusual.

    Usual means what every encoder of this ecosystem writes: one part, features and at most one label under
    ``values``, each value packed. Everything else has slower readers.
    """
    head = data[:HEADER_BYTES].tobytes()
    if len(head) < HEADER_BYTES or int.from_bytes(head[:4], "little") != MAGIC:
        return None
    length = int.from_bytes(head[4:], "little")
    frame_bytes = HEADER_BYTES + ((length + 3) & ~3)
    if length > LENGTH_MASK or frame_bytes > data.size:
        return None
    frame = data[:frame_bytes]
    found: dict[int, Numbers] = {}
    free = [(HEADER_BYTES + length, frame_bytes)]  # bytes that may differ from frame to frame
    payload = frame.data[: HEADER_BYTES + length]
    for number, start, stop in _fields(payload, HEADER_BYTES):
        if number in {1, 2} and number not in found:
            numbers = _find_numbers(payload[:stop], start)
            if numbers is None:
                return None
            found[number] = numbers
            free.append((numbers.start, numbers.stop))
        elif number in {3, 4, 5}:  # uid, metadata, configuration
            free.append((start, stop))
        else:
            return None
    features, label = found.get(1), found.get(2)
    if features is None or features.dtype is None or not features.size:
        return None
    if label is not None and not _is_one_number(label, frame):
        return None
    return DenseLayout(frame_bytes, features, label, _constants(frame, free, label))


def _constants(
    frame: NDArray[np.uint8], free: list[tuple[int, int]], label: Numbers | None
) -> tuple[tuple[int, np.uint32, np.uint32], ...]:
    mask = np.full(frame.size, 0xFF, np.uint8)
    for start, stop in free:
        mask[start:stop] = 0
    if label is not None and label.dtype is None:
        mask[label.start : label.stop] = 0x80  # an int32 must have the same number of bytes
    masks, words = mask.view("<u4"), frame.view("<u4")
    return tuple((place, words[place] & masks[place], masks[place]) for place in np.flatnonzero(masks).tolist())


def _is_one_number(label: Numbers, frame: NDArray[np.uint8]) -> bool:
    if label.dtype is not None:
        return label.size == label.dtype.itemsize
    raw = frame[label.start : label.stop]
    return 0 < raw.size <= _MOST_LABEL_BYTES and bool(raw[-1] < 0x80) and bool((raw[:-1] >= 0x80).all())


def _find_numbers(entry: memoryview, start: int) -> Numbers | None:
    """Find the packed values of a map entry ``"values" -> Value -> tensor``; None if there is more to it."""
    fields = list(_fields(entry, start))
    if [number for number, _, _ in fields] != [1, 2]:
        return None
    (_, key_start, key_stop), (_, value_start, value_stop) = fields
    tensors = list(_fields(entry[:value_stop], value_start))
    if entry[key_start:key_stop] != _VALUES_KEY or len(tensors) != 1:
        return None
    kind, tensor_start, tensor_stop = tensors[0]
    values = list(_fields(entry[:tensor_stop], tensor_start))
    if len(values) != 1 or values[0][0] != 1 or kind not in {*_FIXED, _INT32}:
        return None
    _, first, last = values[0]
    dtype = _FIXED.get(kind)
    if dtype is not None and (last - first) % dtype.itemsize:
        return None
    return Numbers(first, last - first, dtype)


def _fields(message: memoryview, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield (number, start, stop) of the length-delimited fields from `at` on; number 0 for anything else."""
    while at < len(message):
        tag = message[at]
        length, shift, place = 0, 0, at + 1
        while place < len(message) and shift < 35:
            length |= (message[place] & 0x7F) << shift
            shift += 7
            place += 1
            if message[place - 1] < 0x80:
                break
        stop = place + length
        if tag & 0x87 != 2 or stop > len(message) or (place and message[place - 1] >= 0x80):
            yield 0, at, at
            return
        yield tag >> 3, place, stop
        at = stop
