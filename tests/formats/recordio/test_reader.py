"""Every tensor kind, dense and sparse, through every decoder, cut into blocks anywhere: always the same arrays."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.batch import is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.formats.reading import read_batches

RECORDIO = "application/x-recordio-protobuf"
DTYPES = {"float32": np.float32, "float64": np.float64, "int32": np.int32}


def read_all(source, **options):
    batches = list(read_batches(source, RECORDIO, name="train/part-0", **options))
    features = [b.features.toarray() if is_sparse(b.features) else b.features for b in batches]
    labels = [b.labels for b in batches if b.labels is not None]
    return np.concatenate(features), np.concatenate(labels) if labels else None


def some_rows(rng, kind, rows=90, columns=7):
    integers = rng.integers(-500, 500, (rows, columns)) * (rng.random((rows, columns)) < 0.4)
    return integers.astype(DTYPES[kind]) if kind == "int32" else (integers / 8).astype(DTYPES[kind])


@pytest.mark.parametrize("block_bytes", [64, 1000, 1 << 20])
@pytest.mark.parametrize("label_kind", [None, "float32", "float64", "int32"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("kind", DTYPES)
def test_every_kind_of_tensor(rng, encode, kind, sparse, label_kind, block_bytes):
    features = some_rows(rng, kind)
    labels = None if label_kind is None else rng.integers(-3, 400, len(features)).astype(DTYPES[label_kind])
    data = encode(features, labels, kind=kind, label_kind=label_kind, sparse=sparse)
    for source in (data, io.BytesIO(data)):
        found, found_labels = read_all(source, block_bytes=block_bytes)
        np.testing.assert_array_equal(found, features)
        assert found.dtype == (np.float64 if kind == "float64" else np.float32)
        if labels is None:
            assert found_labels is None
        else:
            np.testing.assert_array_equal(found_labels, labels)


@pytest.mark.parametrize("sparse", [False, True])
def test_a_sparse_file_stays_sparse(rng, encode, sparse):
    (batch,) = read_batches(encode(some_rows(rng, "float32"), sparse=sparse), RECORDIO, name="x")
    assert is_sparse(batch.features) == sparse


def test_a_row_of_zeros_carries_only_its_shape():
    zeros = bytes.fromhex("0a23d7ce 11000000 0a0f0a0676616c7565731205120 31a0106 000000".replace(" ", ""))
    found, _ = read_all(zeros * 3)
    np.testing.assert_array_equal(found, np.zeros((3, 6)))


@pytest.mark.parametrize(
    ("hexadecimal", "features", "label"),
    [
        (
            "0a23d7ce200000000a1e0a0676616c7565731214121 20a100000c03f00008041000060410000b841",
            [1.5, 16, 14, 23],
            None,
        ),
        (
            "0a23d7ce2c0000000a160a0676616c756573120c120a0a080000803f00000040"
            "12120a0676616c75657312081206 0a040000803f",
            [1, 2],
            1,
        ),
        ("0a23d7ce200000000a1e0a0676616c75657312141a120a10000000000000f03f0000000000000040", [1, 2], None),
        (
            "0a23d7ce2e0000000a1b0a0676616c75657312113a0f0a0d01feffffffffffffffff01ac02"
            "120f0a0676616c75657312053a030a01070000",
            [1, -2, 300],
            7,
        ),
        (
            "0a23d7ce330000000a1d0a0676616c756573121312110a0800000040000080401202010 31a0106"
            "12120a0676616c756573120812060a040000803f00",
            [0, 2, 0, 4, 0, 0],
            1,
        ),
    ],
)
def test_documented_bytes(hexadecimal, features, label):
    found, labels = read_all(bytes.fromhex(hexadecimal.replace(" ", "")))
    np.testing.assert_array_equal(found, [features])
    assert (labels is None) == (label is None)
    assert label is None or labels.tolist() == [label]


@given(cut=st.lists(st.integers(1, 2000), min_size=1, max_size=30), sparse=st.booleans())
@settings(max_examples=40)
def test_a_fifo_may_deliver_bytes_in_any_pieces(cut, sparse):
    from eigenline import write_recordio

    rng = np.random.default_rng(len(cut))
    features = (rng.random((200, 5)) * (rng.random((200, 5)) < 0.5)).astype(np.float32)
    if sparse:
        from scipy.sparse import csr_array

        data = write_recordio(csr_array(features))
    else:
        data = write_recordio(features)

    class Trickle(io.RawIOBase):
        at = 0
        turn = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            self.turn += 1
            piece = data[self.at : self.at + min(len(buffer), cut[self.turn % len(cut)])]
            buffer[: len(piece)] = piece
            self.at += len(piece)
            return len(piece)

    found, _ = read_all(Trickle(), block_bytes=512)
    np.testing.assert_array_equal(found, features)


def test_uid_metadata_and_configuration_do_no_harm(rng, encode):
    features = some_rows(rng, "float32")
    for texts in ({"uid": b"a"}, {"uid": b"17", "metadata": b'{"a": 1}', "configuration": b"{}"}):
        np.testing.assert_array_equal(read_all(encode(features, **texts))[0], features)
    mixed = b"".join(encode(row[np.newaxis], uid=str(i).encode()) for i, row in enumerate(features))
    np.testing.assert_array_equal(read_all(mixed)[0], features)


def test_records_in_parts_are_joined(rng, encode_payloads, in_frame):
    magic = b"\x0a\x23\xd7\xce"
    features = some_rows(rng, "float32", rows=40)
    # MXNet splits where the payload holds the magic at an aligned place, and leaves it out.
    value = np.frombuffer(magic, "<f4")[0]
    features[3, 2] = features[7, 1] = features[7, 5] = value
    frames = []
    for payload in encode_payloads(features):
        parts = payload.split(magic)
        flags = [1] + [2] * (len(parts) - 2) + [3] if len(parts) > 1 else [0]
        frames += [in_frame(part, flag) for part, flag in zip(parts, flags, strict=True)]
    assert len(frames) == 43
    for block_bytes in (64, 1 << 20):
        np.testing.assert_array_equal(read_all(b"".join(frames), block_bytes=block_bytes)[0], features)


def test_the_magic_within_a_payload_is_no_frame(rng, encode):
    features = some_rows(rng, "float32")
    features[:, 3] = np.frombuffer(b"\x0a\x23\xd7\xce", "<f4")[0]
    for sparse in (False, True):
        np.testing.assert_array_equal(read_all(encode(features, sparse=sparse))[0], features)


def test_several_files_end_to_end_and_empty_ones(rng, encode):
    dense, wide = some_rows(rng, "float32"), some_rows(rng, "float64")
    sparse = some_rows(rng, "float32")
    data = (
        encode(dense) + b"" + encode(wide, kind="float64") + encode(sparse, sparse=True) + encode(dense, uid=b"1")
    )
    np.testing.assert_array_equal(read_all(data)[0], np.concatenate([dense, wide, sparse, dense]))
    assert list(read_batches(b"", RECORDIO, name="empty")) == []
    assert list(read_batches(io.BytesIO(), RECORDIO, name="empty")) == []


def test_dense_and_sparse_records_in_turn(rng, encode):
    features = some_rows(rng, "float32")
    data = b"".join(encode(row[np.newaxis], sparse=bool(i % 2)) for i, row in enumerate(features))
    np.testing.assert_array_equal(read_all(data)[0], features)


def test_dense_batches_are_views_of_what_was_read(rng, encode):
    data = encode(rng.random((64, 784)).astype(np.float32))
    (batch,) = read_batches(data, RECORDIO, name="x")
    assert np.shares_memory(batch.features, np.frombuffer(data, np.uint8))
    assert batch.features.flags.aligned
    assert batch.features.strides[1] == 4


def test_batches_stay_valid(rng, encode):
    features = some_rows(rng, "float64", rows=400)
    batches = list(read_batches(io.BytesIO(encode(features, kind="float64")), RECORDIO, name="x", block_bytes=512))
    assert len(batches) > 10
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in batches]), features)


@pytest.mark.parametrize("labels", ["required", "optional", "ignored"])
def test_labels_are_given_or_left_out_as_asked(rng, encode, labels):
    data = encode(some_rows(rng, "float32"), np.arange(90))
    (batch,) = read_batches(data, RECORDIO, name="x", labels=labels)
    assert (batch.labels is None) == (labels == "ignored")


def test_gzip_is_recognised_in_streams_and_buffers(rng, encode):
    import gzip

    features = some_rows(rng, "float32")
    packed = gzip.compress(encode(features)) + gzip.compress(encode(features))
    for source in (packed, io.BytesIO(packed)):
        np.testing.assert_array_equal(read_all(source, block_bytes=1000)[0], np.concatenate([features] * 2))
    with pytest.raises(DataError, match="begins as gzip data but cannot be unpacked"):
        read_all(io.BytesIO(packed[:-20]))
