"""The fields of protobuf messages: of one message, and of many in lockstep, each step the next field of all.

One message takes microseconds with plain integers, where arrays would take ten times as long; a block of records
takes the lockstep.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eigenline.formats.recordio.varints import read_varint, read_varints

VARINT: Final = 0
FIXED_64: Final = 1
DELIMITED: Final = 2
FIXED_32: Final = 5
_FIELD_NUMBERS: Final = 1 << 29
_FIXED_BYTES: Final = {FIXED_64: 8, FIXED_32: 4}


class Field(NamedTuple):
    """One field of a message: where its tag, its content and the next field begin. Number 0: not a field."""

    number: int
    wire_type: int
    tag: int
    start: int
    stop: int


def walk_fields(message: bytes | memoryview, start: int, stop: int) -> Iterator[Field]:
    """Yield the fields of the one message between `start` and `stop`.

    What is damaged, or a group, which protobuf gave up long ago, comes as a field of number 0, the last one.

    Parameters
    ----------
    message
        Bytes that hold the message.
    start, stop
        Its first byte, and the one after its last.
    """
    place = start
    while place < stop:
        try:
            tag, content = read_varint(message, place)
            wire_type = tag & 7
            if wire_type == DELIMITED:
                length, content = read_varint(message, content)
                following = content + length
            elif wire_type == VARINT:
                following = read_varint(message, content)[1]
            else:
                following = content + _FIXED_BYTES[wire_type]
        except (IndexError, KeyError):
            following = stop + 1
        if following > stop:
            yield Field(0, 0, place, place, place)
            return
        yield Field(tag >> 3, wire_type, place, content, following)
        place = following


class RaggedSlices(NamedTuple):
    """Slices of a byte array, of any lengths, that each belong to one record.

    Attributes
    ----------
    owner
        Shape (m,): index of the record.
    start, stop
        Shape (m,): the first byte and the one after the last.
    """

    owner: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]

    def only(self, mask: NDArray[np.bool_]) -> RaggedSlices:
        """Keep some of the slices; no copy where that is all.

        Parameters
        ----------
        mask
            Shape (m,), bool.
        """
        return self if mask.all() else RaggedSlices(self.owner[mask], self.start[mask], self.stop[mask])


def split_fields(
    data: NDArray[np.uint8], messages: RaggedSlices, odd: NDArray[np.bool_], most_fields: int = 16
) -> Iterator[tuple[int, int, RaggedSlices]]:
    """Take messages apart into fields, yielding groups of (field number, wire type, contents).

    Messages that are damaged, or have more than `most_fields` fields, get ``odd[owner] = True`` and yield no
    further fields: the caller reads those records another way.

    Parameters
    ----------
    data
        Shape (b,), uint8.
    messages
        Where in `data` they lie.
    odd
        Shape (n,), bool, of the records; set where one cannot be taken apart.
    most_fields
        Most fields of a message.
    """
    open_ = messages.only(messages.start < messages.stop)
    for _ in range(most_fields):
        if not open_.owner.size:
            return
        tags, at, whole = read_varints(data, open_.start, open_.stop)
        first = int(tags[0])
        if whole.all() and (tags == first).all():
            groups = [(first, open_, at)]
        else:
            odd[open_.owner[~whole]] = True
            groups = [
                (int(tag), open_.only(mask), at[mask])
                for tag in np.unique(tags[whole])[:most_fields]
                for mask in [whole & (tags == tag)]
            ]
            odd[open_.owner[~np.isin(tags, [tag for tag, _, _ in groups])]] = True
        rest = []
        for tag, group, place in groups:
            if not 0 < tag >> 3 < _FIELD_NUMBERS:
                odd[group.owner] = True
                continue
            content, following = _content(data, tag & 7, group, place, odd)
            yield tag >> 3, tag & 7, content
            rest.append(following.only(following.start < following.stop))
        if not rest:
            return
        open_ = rest[0] if len(rest) == 1 else RaggedSlices(*map(np.concatenate, zip(*rest, strict=True)))
    odd[open_.owner] = True


def _content(
    data: NDArray[np.uint8], wire_type: int, group: RaggedSlices, at: NDArray[np.int64], odd: NDArray[np.bool_]
) -> tuple[RaggedSlices, RaggedSlices]:
    """Return the contents of one field each, and what of the messages follows it."""
    inside = at < group.stop
    if not inside.all():
        odd[group.owner[~inside]] = True
        group, at = group.only(inside), at[inside]
    if wire_type == DELIMITED:
        length, start, whole = read_varints(data, at, group.stop)
        stop = start + length
    elif wire_type == VARINT:
        _, stop, whole = read_varints(data, at, group.stop)
        start = at
    elif wire_type in {FIXED_32, FIXED_64}:
        start, stop = at, at + (4 if wire_type == FIXED_32 else 8)
        whole = np.ones(at.shape, np.bool_)
    else:  # groups, which protobuf gave up long ago, or nothing that protobuf knows
        start = stop = at
        whole = np.zeros(at.shape, np.bool_)
    good = whole & (stop <= group.stop)
    if not good.all():
        odd[group.owner[~good]] = True
        group, start, stop = group.only(good), start[good], stop[good]
    return RaggedSlices(group.owner, start, stop), RaggedSlices(group.owner, stop, group.stop)
