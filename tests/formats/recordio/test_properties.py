"""Any bytes give arrays or a `DataError`, and the fast decoders say exactly what generated code says."""

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from eigenline.algorithms.batch import is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.formats.read_buffer import open_read_buffer
from eigenline.formats.recordio.columns import read_columns
from eigenline.formats.recordio.framing import find_frames
from eigenline.formats.recordio.protobuf_fields import RaggedSlices, split_fields, walk_fields
from eigenline.formats.recordio.reader import RecordIOReader
from eigenline.formats.recordio.record import parse_record, stack_rows
from eigenline.formats.recordio.varints import (
    decode_varints,
    encode_varints,
    read_varint,
    read_varints,
    varint_sizes,
)

MAGIC = b"\x0a\x23\xd7\xce"


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def delimited(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


# Nearly what an encoder writes: the right fields, now and then twice, missing, or of another type.
floats = st.lists(st.floats(width=32, allow_nan=False), max_size=4).map(
    lambda values: np.array(values, "<f4").tobytes()
)
integers = st.lists(st.integers(0, 12) | st.integers(0, 2**64 - 1), max_size=4).map(
    lambda values: b"".join(map(varint, values))
)
some_bytes = st.binary(max_size=12)
tensor = st.lists(
    st.tuples(st.integers(0, 4), floats | integers | some_bytes).map(lambda pair: delimited(*pair)), max_size=4
).map(b"".join)
usual_tensor = st.tuples(floats, integers, st.just(varint(5)) | integers, st.booleans()).map(
    lambda t: delimited(1, t[0]) + (delimited(2, t[1]) + delimited(3, t[2]) if t[3] else b"")
)
kinds = st.sampled_from([2, 2, 2, 3, 7, 9])
value = st.builds(delimited, kinds, usual_tensor | tensor)
name = st.sampled_from([b"values", b"values", b"values", b"other", b"values "])
entry = st.builds(lambda key, content: delimited(1, key) + delimited(2, content), name, value | some_bytes)
field = st.one_of(
    st.builds(delimited, st.just(1), entry),
    st.builds(delimited, st.just(1), entry),
    st.builds(delimited, st.sampled_from([1, 2, 3, 4, 5, 9]), entry | some_bytes),
    some_bytes,
)
record = st.lists(field, min_size=1, max_size=3).map(b"".join)


def frames(payloads):
    return b"".join(MAGIC + len(p).to_bytes(4, "little") + p + b"\0" * (-len(p) % 4) for p in payloads)


def dense(features):
    return features.toarray() if is_sparse(features) else features


def by_reference(payloads):
    try:
        rows = [parse_record(payload, "x") for payload in payloads]
        same_width = len({row.feature_dim for row in rows}) == 1
        return stack_rows(rows, "x") if same_width else None
    except DataError:
        return None


def by_reader(data):
    blocks = [block for block, _ in RecordIOReader("x").read(open_read_buffer(data, 1 << 20, name="x"))]
    return blocks[0] if len(blocks) == 1 else None


def assert_same(found, expected):
    assert is_sparse(found.features) == is_sparse(expected.features)
    np.testing.assert_array_equal(dense(found.features), dense(expected.features))
    assert (found.labels is None) == (expected.labels is None)
    if found.labels is not None:
        np.testing.assert_array_equal(found.labels, expected.labels)


@given(st.lists(record, min_size=1, max_size=4), st.booleans())
@settings(max_examples=600)
def test_the_fast_decoders_agree_with_generated_code(payloads, repeated):
    payloads = payloads * 3 if repeated else payloads
    expected = by_reference(payloads)
    data = frames(payloads)
    columns = read_columns(np.frombuffer(data, np.uint8), find_frames(np.frombuffer(data, np.uint8), True))
    if columns is not None:
        assert expected is not None, "the fast decoder read what generated code refuses"
        if dense(expected.features).size < 1 << 20:
            assert_same(columns, expected)
    try:
        found = by_reader(data)
    except DataError:
        assert expected is None
    else:
        if found is not None and dense(found.features).size < 1 << 20:
            assert expected is not None
            assert_same(found, expected)


@given(st.binary(max_size=200), st.sampled_from([b"", MAGIC, MAGIC + b"\x10\0\0\0", MAGIC + b"\xff\xff\xff\x1f"]))
@example(b"", MAGIC)
@settings(max_examples=500)
def test_any_bytes_give_arrays_or_a_data_error(data, start):
    try:
        for block, number in RecordIOReader("x").read(open_read_buffer(start + data, 64, name="x")):
            assert number >= 1
            assert block.features.shape[0] > 0
    except DataError:
        return


@given(st.lists(st.integers(0, 2**64 - 1), max_size=50))
def test_varints_round_trip(values):
    array = np.array(values, np.uint64)
    sizes = varint_sizes(array)
    assert sizes.tolist() == [len(varint(value)) for value in values]
    data = encode_varints(array, sizes)
    assert data.tobytes() == b"".join(map(varint, values))
    decoded = decode_varints(data)
    assert decoded is not None
    assert decoded[0].tolist() == values


@given(st.binary(max_size=40))
def test_varints_agree_with_a_plain_loop(data):
    expected, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            if shift > 70 or value >= 2**64:
                expected = None
                break
            expected.append(value)
            value = shift = 0
    whole = expected is not None and not shift
    decoded = decode_varints(np.frombuffer(data, np.uint8))
    assert (decoded is not None) == whole
    if decoded is not None:
        assert decoded[0].tolist() == expected


@given(st.binary(min_size=1, max_size=40), st.data())
def test_varints_at_many_places_agree_with_one_at_a_time(data, draw):
    places = draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1))
    stops = [draw.draw(st.integers(place + 1, len(data))) for place in places]
    found = read_varints(np.frombuffer(data, np.uint8), np.array(places), np.array(stops))
    for place, stop, value, following, whole in zip(
        places, stops, *(part.tolist() for part in found), strict=True
    ):
        try:
            expected = read_varint(data[:stop], place)
        except IndexError:
            assert not whole
            continue
        assert whole == (expected[1] - place <= 5)
        assert not whole or (value, following) == expected


@given(record)
def test_the_fields_of_one_message_and_of_many_in_lockstep_are_the_same(payload):
    one = list(walk_fields(payload, 0, len(payload)))
    odd = np.zeros(2, np.bool_)
    both = np.frombuffer(payload * 2, np.uint8)
    slices = RaggedSlices(np.arange(2), np.array([0, len(payload)]), np.array([len(payload), 2 * len(payload)]))
    many = [
        (number, wire_type, content.start[content.owner == 0].tolist(), content.stop[content.owner == 0].tolist())
        for number, wire_type, content in split_fields(both, slices, odd)
    ]
    if not odd.any():
        assert [(f.number, f.wire_type, [f.start], [f.stop]) for f in one] == many
    assert odd.all() or not odd.any()
