"""Dense records of one layout: found in the first, verified for a block; the numbers are then one strided copy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.batch import DenseArray
from eigenline.formats.recordio.framing import HEADER_BYTES, WHOLE, read_header
from eigenline.formats.recordio.protobuf_fields import DELIMITED, Field, walk_fields
from eigenline.formats.recordio.record import KEY, Block
from eigenline.formats.recordio.varints import decode_varints

_VALUES_KEY: Final = KEY.encode()
_FIXED: Final[dict[int, np.dtype[Any]]] = {
    2: np.dtype("<f4"),
    3: np.dtype("<f8"),
}  # field numbers of Float32Tensor, Float64Tensor
_INT32: Final = 7
_MOST_LABEL_BYTES: Final = 5  # of an int32 that is not negative
# A block is verified and copied piece by piece: the copy then finds the records in the cache. Of long records only
# the few bytes around the numbers are read twice.
_PIECE_BYTES: Final = 1 << 19
_PIECE_FRAMES: Final = 1 << 13
_FIRST_FRAMES: Final = 1 << 7  # pieces grow from here: where layouts change often, a long piece would be in vain
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

        Parameters
        ----------
        data
            Shape (m,), uint8.

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
        start, step = 0, _FIRST_FRAMES
        while start < most:
            piece = frames[start : start + step]
            alike = self._alike(piece)
            if viewed is None:
                target = out[start : start + alike].view(np.uint8)
                target[...] = piece[:alike, self.features.start : self.features.stop]
            if alike < len(piece):
                count = start + alike
                break
            start += step
            step = min(8 * step, max(_PIECE_FRAMES, _PIECE_BYTES // self.frame_bytes))
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
        decoded = decode_varints(raw.reshape(-1))
        assert decoded is not None  # all have the first one's number of bytes
        return decoded[0].astype(np.int64).astype(np.int32).astype(np.float32)


def find_layout(data: NDArray[np.uint8]) -> DenseLayout | None:
    """Find the layout of the frame at the front of a block; None if it is not dense, or unusual.

    Usual means what every encoder of this ecosystem writes: one part, features and at most one label under
    ``values``, each value packed. Everything else has slower readers.

    Parameters
    ----------
    data
        Shape (m,), uint8: begins with a frame.
    """
    header = read_header(data[:HEADER_BYTES].tobytes())
    if header is None or header.flag != WHOLE:
        return None
    end = HEADER_BYTES + header.length
    frame_bytes = end + header.padding
    if frame_bytes > data.size:
        return None
    frame = data[:frame_bytes]
    found: dict[int, Numbers] = {}
    free = [(end, frame_bytes)]  # bytes that may differ from frame to frame
    for field in walk_fields(frame.data, HEADER_BYTES, end):
        if field.wire_type != DELIMITED:
            return None
        if field.number in {1, 2} and field.number not in found:
            numbers = _find_numbers(frame.data, field)
            if numbers is None:
                return None
            found[field.number] = numbers
            free.append((numbers.start, numbers.stop))
        elif field.number in {3, 4, 5}:  # uid, metadata, configuration
            free.append((field.start, field.stop))
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


def _find_numbers(frame: memoryview, entry: Field) -> Numbers | None:
    """Find the packed values of a map entry ``"values" -> Value -> tensor``; None if there is more to it."""
    parts = list(walk_fields(frame, entry.start, entry.stop))
    if [(part.number, part.wire_type) for part in parts] != [(1, DELIMITED), (2, DELIMITED)]:
        return None
    key, value = parts
    tensor = _only_field(frame, value)
    if tensor is None or frame[key.start : key.stop] != _VALUES_KEY:
        return None
    values = _only_field(frame, tensor)
    if values is None or values.number != 1 or tensor.number not in {*_FIXED, _INT32}:
        return None
    size, dtype = values.stop - values.start, _FIXED.get(tensor.number)
    if dtype is not None and size % dtype.itemsize:
        return None
    return Numbers(values.start, size, dtype)


def _only_field(frame: memoryview, message: Field) -> Field | None:
    fields = list(walk_fields(frame, message.start, message.stop))
    return fields[0] if len(fields) == 1 and fields[0].wire_type == DELIMITED else None
