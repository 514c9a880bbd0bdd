"""What is wrong with a recordIO file is said with the record's number, and nothing is passed over in silence."""

import gzip
import io
import itertools

import numpy as np
import pytest

from eigenline.algorithms.errors import DataError
from eigenline.formats.reading import read_batches
from eigenline.formats.recordio.record_pb2 import Record

RECORDIO = "application/x-recordio-protobuf"


def failure(data, **options):
    with pytest.raises(DataError) as caught:
        list(read_batches(data, RECORDIO, name="train/part-0", **options))
    return str(caught.value)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("as_stream", [False, True])
def test_truncation_at_every_offset_is_an_error_naming_the_record(encode, sparse, as_stream):
    features = np.array([[1, 0, 2], [0, 5, 6], [7, 0, 9]], np.float32)
    data = encode(features, np.arange(3), sparse=sparse)
    starts = [i for i in range(len(data)) if data[i : i + 4] == b"\x0a\x23\xd7\xce"]
    assert len(starts) == 3
    padding = -(int.from_bytes(data[starts[2] + 4 : starts[2] + 8], "little")) % 4
    for cut in range(len(data)):
        piece = io.BytesIO(data[:cut]) if as_stream else data[:cut]
        if any(
            end - padding <= cut <= end for end in [0, *starts[1:], len(data)]
        ):  # the last padding can be missing
            batches = list(read_batches(piece, RECORDIO, name="train/part-0"))
            assert sum(map(len, batches)) == (sum(start < cut for start in starts))
        else:
            message = failure(piece)
            record = sum(start < cut for start in starts)
            assert f"train/part-0, record {record}" in message
            assert "cut off" in message


def test_every_single_byte_that_is_changed_is_read_or_refused(encode):
    # A changed byte may make another valid file; it never makes another kind of exception.
    features = np.array([[1, 0, 2], [0, 5, 6]], np.float32)
    for sparse in (False, True):
        data = bytearray(encode(features, np.arange(2), sparse=sparse))
        for place, value in itertools.product(range(len(data)), (0, 1, 0x7F, 0x80, 0xFF)):
            changed = data.copy()
            changed[place] = value
            try:
                for batch in read_batches(bytes(changed), RECORDIO, name="x"):
                    assert len(batch) == batch.features.shape[0] > 0
            except DataError:
                continue


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"1,2,3\n4,5,6\n", "looks like CSV"),
        (b'{"features": [1]}', "looks like JSON"),
        (b"\xef\xbb\xbf-1.5,2\n", "looks like CSV"),
        (b"PK\x03\x04....", "content type right"),
        (b"\0\0\0\0\0\0\0\0", "content type right"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_other_data_are_recognised(data, cause):
    message = failure(data)
    assert "record 1 (byte 0)" in message
    assert cause in message


def test_gzip_after_records_is_recognised(encode):
    message = failure(encode(np.ones((2, 3))) + gzip.compress(b"more records"))
    assert "record 3" in message
    assert "gzip" in message


def test_a_record_whose_last_part_is_missing(encode_payloads, in_frame):
    (payload,) = encode_payloads(np.ones((1, 3), np.float32))
    for parts in ([(payload[:8], 1)], [(payload[:8], 1), (payload[8:], 2)]):
        data = in_frame(payload) + b"".join(in_frame(*part) for part in parts)
        for source in (data, io.BytesIO(data)):
            assert "record 2 (byte 36): the record is split into parts, and its last part is missing" in failure(
                source
            )


def test_parts_without_end_do_not_fill_the_memory(monkeypatch, in_frame):
    part = in_frame(b"x" * 1016, 1)
    assert len(part) == 1024

    class Endless(io.RawIOBase):
        place = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            start = self.place % len(part)
            piece = (part * 2)[start : start + min(len(buffer), len(part))]
            buffer[: len(piece)] = piece
            self.place += len(piece)
            return len(piece)

    monkeypatch.setattr("eigenline.formats.recordio.reader._MOST_RECORD_BYTES", 1 << 20)
    endless = Endless()
    assert "record 1: it is longer than 1048576 bytes" in failure(endless, block_bytes=1 << 16)
    assert endless.place < 1 << 22


def test_a_length_field_allocates_nothing(encode):
    import tracemalloc

    huge = b"\x0a\x23\xd7\xce" + (2**29 - 1).to_bytes(4, "little") + b"x" * 100
    tracemalloc.start()
    message = failure(encode(np.ones((3, 3))) + huge, block_bytes=1 << 20)
    stream_message = failure(io.BytesIO(huge), block_bytes=1 << 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "record 4" in message
    assert "536870911 bytes" in message
    assert "536870911 bytes" in stream_message
    assert peak < 8 << 20


def sparse_record(keys, shape, values=None):
    record = Record()
    tensor = record.features["values"].float32_tensor
    tensor.values.extend(values if values is not None else [1.0] * len(keys))
    tensor.keys.extend(keys)
    tensor.shape.extend(shape)
    return record.SerializeToString()


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (sparse_record([2**60], [5]), "key 1152921504606846976 is outside the shape, which has 5 columns"),
        (sparse_record([5], [5]), "key 5 is outside the shape"),
        (sparse_record([1], [2**60]), "claims 1152921504606846976 columns"),
        (sparse_record([1], [0]), "claims 0 columns"),
        (sparse_record([1], [4, 5]), "is a matrix; a record is one row"),
        (sparse_record([1, 2], [5], [1.0]), "1 values but 2 keys"),
        (sparse_record([1], []), "needs its 'shape'"),
        (sparse_record([], [4, 2], [1.0, 2.0]), "do not make one row"),
        (b"", "holds no features"),
        (b"\xff\xff\xff", "not a protobuf Record"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_malformed_records_are_explained(payload, cause, in_frame):
    good = in_frame(sparse_record([1], [5]))
    for before in (0, 3, 50):
        message = failure(good * before + in_frame(payload) + good)
        assert f"train/part-0, record {before + 1}" in message
        assert cause in message


def test_other_tensors_and_names_are_explained(in_frame):
    text, named, labels = Record(), Record(), Record()
    text.features["values"].bytes.value.append(b"picture")
    named.features["pixels"].float32_tensor.values.append(1)
    labels.features["values"].float32_tensor.values.append(1)
    labels.label["values"].float32_tensor.values.extend([1, 2])
    assert "expected a tensor of numbers, got bytes" in failure(in_frame(text.SerializeToString()))
    assert "under the name 'values', found 'pixels'" in failure(in_frame(named.SerializeToString()))
    assert "expected one label, got 2" in failure(in_frame(labels.SerializeToString()))


def test_rows_of_different_width(encode):
    data = encode(np.ones((40, 3))) + encode(np.ones((2, 4)))
    message = failure(data)
    assert "record 41: it has 4 features, expected 3. One more than expected: is the label still in it?" in message
    mixed = failure(encode(np.ones((3, 3))) + encode(np.ones((2, 4))) + encode(np.ones((2, 3))))
    assert "record 4" in mixed
    assert "features" in mixed
    assert "expected 5" in failure(encode(np.ones((40, 3))), feature_dim=5)


def test_missing_labels(encode):
    some = encode(np.ones((50, 3)), np.ones(50))
    none = encode(np.ones((50, 3)))
    assert "record 1: it has no label" in failure(none, labels="required")
    assert "record 51: it has no label" in failure(some + none, labels="required")
    assert "some records have a label and some have none" in failure(some + none)
    in_turn = (some[: len(some) // 50] + encode(np.ones((1, 3)), uid=b"7")) * 3
    assert "records 1 to 6: some of these records have a label and some have none" in failure(in_turn)
    assert len(list(read_batches(some + none, RECORDIO, name="x", labels="ignored"))) == 2


def sparse_payload(keys: bytes) -> bytes:
    """A sparse record of one value, its keys' bytes as given."""
    tensor = b"\x0a\x04" + np.float32(1).tobytes() + b"\x12" + bytes([len(keys)]) + keys + b"\x1a\x02\xc8\x01"
    value = b"\x12" + bytes([len(tensor)]) + tensor
    entry = b"\x0a\x06values\x12" + bytes([len(value)]) + value
    return b"\x0a" + bytes([len(entry)]) + entry


def test_a_key_that_is_cut_off_does_not_go_on_in_the_next_record(in_frame):
    # Each record has one key that ends, so the counts are right; but together the bytes make other numbers.
    [batch] = read_batches(in_frame(sparse_payload(b"\x05")), RECORDIO, name="train/part-0")
    assert batch.features.indices.tolist() == [5]
    data = in_frame(sparse_payload(b"\x05\x81")) + in_frame(sparse_payload(b"\x01"))
    assert "record 1: its 28 bytes are not a protobuf Record" in failure(data)
