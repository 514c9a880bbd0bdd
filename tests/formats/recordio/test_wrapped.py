"""Objects and attributes in recordIO frames, in one part or in several, read as one stream again."""

import contextlib
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.algorithms.errors import DataError
from eigenline.formats.reading import read_batches
from eigenline.formats.recordio.joined import JoinedAttributes
from eigenline.formats.recordio.wrapped import Unwrapped, unwrap

MAGIC = struct.pack("<I", 0xCED7230A)
ROWS = np.arange(12, dtype=np.float32).reshape(4, 3)
LABELS = np.array([0, 1, 1, 0], np.float32)


def frame(content: bytes, flag: int = 0) -> bytes:
    return MAGIC + struct.pack("<I", len(content) | flag << 29) + content + b"\0" * (-len(content) % 4)


def mxnet_frames(content: bytes) -> bytes:
    """What dmlc's recordIO writer does: it splits at each aligned magic number, which it leaves out."""
    places = [place for place in range(0, len(content) - 3, 4) if content[place : place + 4] == MAGIC]
    starts, stops = [0, *(place + 4 for place in places)], [*places, len(content)]
    last = len(starts) - 1
    flags = [0] if not last else [1, *[2] * (last - 1), 3]
    return b"".join(frame(content[a:b], flag) for a, b, flag in zip(starts, stops, flags, strict=True))


def buffered(data: bytes, step: int = 1 << 16) -> io.BufferedReader:
    return io.BufferedReader(io.BytesIO(data), step)  # type: ignore[arg-type]


@pytest.mark.parametrize("write", [frame, mxnet_frames], ids=["one part", "parts"])
@pytest.mark.parametrize("labels", [None, LABELS], ids=["without labels", "with labels"])
def test_whole_recordio_objects_in_frames(write, labels) -> None:
    halves = [write_recordio(ROWS[s], None if labels is None else labels[s]) for s in (slice(2), slice(2, 4))]
    data = b"".join(map(write, halves))
    assert (data != b"".join(map(frame, halves))) == (write is mxnet_frames)
    assert unwrap(buffered(data), "pipe", text=False).read() == b"".join(halves)
    [batch] = read_batches(unwrap(buffered(data), "pipe", text=False), "protobuf", name="pipe")
    np.testing.assert_array_equal(batch.features, ROWS)
    if labels is not None:
        np.testing.assert_array_equal(batch.labels, labels)


def test_a_frame_that_holds_the_magic_number_in_its_midst_is_one_record() -> None:
    value = struct.unpack("<f", MAGIC)[0]
    rows = ROWS[:2].copy()
    rows[1, 1] = value
    whole = write_recordio(rows)
    size = len(whole) // 2
    bare = b"".join(mxnet_frames(whole[place + 8 : place + size]) for place in (0, size))
    [batch] = read_batches(unwrap(buffered(bare), "pipe", text=False), "protobuf", name="pipe")
    np.testing.assert_array_equal(batch.features, rows)


def test_an_empty_frame_in_front_is_no_recordio_object() -> None:
    data = frame(b"") + frame(b"record")
    assert unwrap(buffered(data), "pipe", text=False).read() == data


def test_attributes_in_parts_are_joined() -> None:
    values = [b"1", MAGIC + b"23", b"abcd" + MAGIC, b""]
    stream = JoinedAttributes(
        buffered(b"".join(map(mxnet_frames, values))), "pipe", 2, lambda record, where: b"|".join(record) + b";"
    )
    assert io.BufferedReader(stream).read() == b"1|" + MAGIC + b"23;" + b"abcd" + MAGIC + b"|;"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(b"ab", 1), "lacks its last part"),
        (frame(b"ab", 1) + frame(b"cd"), "frame 2 begins a record within another's parts"),
        (frame(b"ab", 1) + frame(b"cd", 1), "frame 2 begins a record within another's parts"),
        (frame(b"ab", 2), "frame 1 is a later part of a record that never began"),
        (frame(b"ab", 3), "frame 1 is a later part"),
        (frame(b"ab", 5), "frame 1 is a later part"),
        (frame(b"ab") + b"\x0a\x23\xd7", "frame 2 ends within its header"),
        (frame(b"ab") + b"12345678", "frame 2 does not begin with recordIO's magic number"),
        (frame(b"abcd")[:-1], "frame 1 ends 1 bytes early"),
    ],
)
def test_damaged_frames_are_explained(data: bytes, message: str) -> None:
    with pytest.raises(DataError, match=message):
        io.BufferedReader(Unwrapped(buffered(data), "pipe")).read()


@given(st.lists(st.lists(st.sampled_from([MAGIC, b"abcd", b"ef"]), max_size=6).map(b"".join)), st.integers(1, 7))
def test_whatever_mxnet_framed_comes_out_whole(contents: list[bytes], step: int) -> None:
    stream = io.BufferedReader(Unwrapped(buffered(b"".join(map(mxnet_frames, contents)), step), "pipe"))
    assert stream.read() == b"".join(contents)


@given(st.lists(st.binary(max_size=40)), st.integers(1, 7))
def test_whatever_was_framed_comes_out_whole(contents: list[bytes], step: int) -> None:
    framed = b"".join(map(frame, contents))
    stream = io.BufferedReader(Unwrapped(buffered(framed, step), "pipe", ending=b"\n"))
    expected = b"".join(c if c.endswith(b"\n") or not c else c + b"\n" for c in contents)
    assert stream.read() == expected


@given(st.binary(max_size=60))
def test_any_bytes_are_contents_or_a_data_error(data: bytes) -> None:
    with contextlib.suppress(DataError):
        unwrap(buffered(data), "pipe", text=True).read()


@given(
    st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(-99, 99), min_size=2, max_size=2)), min_size=2),
    st.integers(1, 50),
)
def test_any_two_attributes_are_joined_in_any_pieces(rows: list[tuple[int, list[int]]], step: int) -> None:
    framed = b"".join(frame(b"%d" % label) + frame(b"%d,%d" % tuple(values)) for label, values in rows)
    stream = unwrap(buffered(framed, step), "pipe", text=True)
    assert stream.read() == b"".join(b"%d,%d,%d\n" % (label, *values) for label, values in rows)


@given(st.binary(max_size=60))
def test_any_bytes_are_records_or_a_data_error(data: bytes) -> None:
    with contextlib.suppress(DataError):
        unwrap(buffered(data), "pipe", text=False).read()
