"""recordIO-protobuf to batches: each block by the fastest decoder that can read it, errors by record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eigenline.algorithms.errors import DataError
from eigenline.formats.read_buffer import ReadBuffer
from eigenline.formats.recordio.columns import read_columns
from eigenline.formats.recordio.dense_layout import DenseLayout, find_layout
from eigenline.formats.recordio.framing import MAGIC_BYTES, Frames, explain, find_frames, payloads, whole_records
from eigenline.formats.recordio.record import Block, Row, parse_record, stack_rows

# Below this many records in a row of one layout, finding the next layout costs more than the lockstep decoder.
_FEW_RECORDS: Final = 32
# Bounds on one lockstep decoding: its index arrays take some ten times the memory of what they point at.
_LOCKSTEP_RECORDS: Final = 1 << 16
_LOCKSTEP_BYTES: Final = 4 << 20
_MOST_RECORD_BYTES: Final = 1 << 30  # one frame holds half of that at most; parts could go on for ever


class RecordIOReader:
    """Decodes a stream of frames block by block, counting records for the errors.

    Parameters
    ----------
    name
        What errors call the source.
    feature_dim
        Width of sparse records that carry no ``shape``.
    """

    def __init__(self, name: str, feature_dim: int | None = None) -> None:
        self._name = name
        self._feature_dim = feature_dim
        self._layout: DenseLayout | None = None
        self.records = 0  # decoded so far

    def read(self, buffer: ReadBuffer) -> Iterator[tuple[Block, int]]:
        """Yield all records from a buffer on, with the number of each block's first record, from 1.

        Raises
        ------
        DataError
            Naming the record, where one is damaged, cut off, or no row of numbers.
        """
        while buffer.data.size:
            place = 0
            while place < buffer.data.size:
                block, size, count = self._next(buffer.data[place:], buffer.last)
                if block is None:
                    break
                yield block, self.records + 1
                self.records += count
                place += size
            if not place and buffer.last:
                raise explain(buffer.data, 0, self.records + 1, buffer.offset, self._name)
            self._refuse_other_bytes(buffer, place)
            if not place and buffer.data.size > _MOST_RECORD_BYTES:
                raise DataError(
                    f"{self._name}, record {self.records + 1}: it is longer than {_MOST_RECORD_BYTES} bytes."
                )
            buffer.advance(place, self._layout.misalignment() if self._layout else 0)

    def _refuse_other_bytes(self, buffer: ReadBuffer, place: int) -> None:
        # Without this, a file that is no recordIO at all would be taken for one endless frame and read whole.
        head = buffer.data[place : place + 4].tobytes()
        if head != MAGIC_BYTES[: len(head)]:
            raise explain(buffer.data, place, self.records + 1, buffer.offset, self._name)

    def _next(self, data: NDArray[np.uint8], last: bool) -> tuple[Block | None, int, int]:
        """Decode some records at the front: the block, its bytes, its records."""
        layout = self._layout or find_layout(data)
        while layout is not None:
            block, count = layout.read(data)
            size = count * layout.frame_bytes
            if block is not None and (count >= _FEW_RECORDS or data.size - size < layout.frame_bytes):
                self._layout = layout
                return block, size, count
            known, self._layout = self._layout, None
            layout = find_layout(data) if known else None
        return self._in_lockstep(data, last)

    def _in_lockstep(self, data: NDArray[np.uint8], last: bool) -> tuple[Block | None, int, int]:
        frames = find_frames(data[:_LOCKSTEP_BYTES], last and data.size <= _LOCKSTEP_BYTES)
        if not whole_records(frames):
            frames = find_frames(data, last)  # one record longer than the bound
        count = min(whole_records(frames), _LOCKSTEP_RECORDS)
        frames = frames.first(whole_records(frames.first(count)))
        if not frames.start.size:
            return None, 0, 0
        block = read_columns(data, frames)
        if block is None:
            rows = self._by_reference(data, frames)
            where = f"{self._name}, records {self.records + 1} to {self.records + len(rows)}"
            block = stack_rows(rows, where)
        return block, frames.end, int(block.features.shape[0])

    def _by_reference(self, data: NDArray[np.uint8], frames: Frames) -> list[Row]:
        rows: list[Row] = []
        for payload in payloads(data, frames):
            where = f"{self._name}, record {self.records + len(rows) + 1}"
            row = parse_record(payload, where, self._feature_dim)
            if rows and row.feature_dim != rows[0].feature_dim:
                raise DataError(
                    f"{where}: it has {row.feature_dim} features, but the records before it have "
                    f"{rows[0].feature_dim}."
                )
            rows.append(row)
        return rows
