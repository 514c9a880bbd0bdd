"""Channels and answers read back into arrays in one call, without the SageMaker SDK."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import random_array

from eigenline import read_recordio, read_recordio_answer, write_recordio
from eigenline.algorithms.errors import DataError
from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import RECORDIO
from eigenline.formats.recordio.record_pb2 import Record


def frame(payload):
    return b"\x0a\x23\xd7\xce" + len(payload).to_bytes(4, "little") + payload + bytes(-len(payload) % 4)


def answer(**labels):
    record = Record()
    for name, values in labels.items():
        record.label[name].float32_tensor.values.extend(values)
    return frame(record.SerializeToString())


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("labelled", [True, False])
def test_what_was_written_is_read(rng, dtype, labelled):
    features = rng.standard_normal((300, 7)).astype(dtype)
    labels = rng.standard_normal(300).astype(np.float32) if labelled else None
    data = write_recordio(features, labels)
    for source in (data, io.BytesIO(data), memoryview(data)):
        found, found_labels = read_recordio(source)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, features)
        np.testing.assert_array_equal(found_labels, labels) if labelled else None
        assert labelled or found_labels is None


def test_sparse_stays_sparse(rng):
    features = random_array((200, 90), density=0.05, rng=rng, dtype=np.float32, format="csr")
    found, _ = read_recordio(write_recordio(features))
    assert found.nnz == features.nnz
    np.testing.assert_array_equal(found.toarray(), features.toarray())


def test_no_record_at_all():
    with pytest.raises(DataError, match="hold no record"):
        read_recordio(b"")
    assert read_recordio_answer(b"") == {}


@pytest.mark.parametrize("rows", [1, 5, 1000])
def test_answers_of_every_model(rng, rows):
    answers = {
        "regressor": ({"score": rng.random(rows, np.float32)}, "predictions"),
        "classifier": ({"score": rng.random(rows), "predicted_label": np.arange(rows) % 2}, "predictions"),
        "multiclass": ({"score": rng.random((rows, 4)), "predicted_label": np.arange(rows) % 4}, "predictions"),
        "pca": ({"projection": rng.standard_normal((rows, 3))}, "projections"),
        "pca of one component": ({"projection": rng.standard_normal((rows, 1))}, "projections"),
    }
    for columns, envelope in answers.values():
        found = read_recordio_answer(write_answer(columns, envelope=envelope, media_type=RECORDIO))
        assert found.keys() == columns.keys()
        for name, values in columns.items():
            np.testing.assert_array_equal(found[name], values.astype(np.float32))


def test_answers_that_others_encoded():
    # Map entries may come in any order, and a tensor of another kind is a number too.
    both = [answer(score=[0.25], predicted_label=[1.0]), answer(predicted_label=[0.0], score=[0.5])]
    record = Record()
    record.uid = b"a"
    record.label["score"].float64_tensor.values.append(0.75)
    record.label["predicted_label"].int32_tensor.values.append(1)
    found = read_recordio_answer(b"".join([*both, frame(record.SerializeToString())]))
    np.testing.assert_array_equal(found["score"], np.float32([0.25, 0.5, 0.75]))
    np.testing.assert_array_equal(found["predicted_label"], [1, 0, 1])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (answer(score=[1]) + answer(score=[1, 2]), "record 2: it holds 2 of 'score', but the first record 1 of"),
        (answer(score=[1]) + answer(projection=[1]), "record 2: it holds 1 of 'projection'"),
        (answer(score=[1])[:-5], "the frame's length is"),
        (answer(score=[1]) + b"xxxx", r"record 2 \(byte 28\): expected a recordIO frame"),
        (b'{"predictions": []}', "looks like JSON"),
        (write_recordio(np.ones((2, 2))), "record 1: it holds no labels"),
        (answer(score=[]), "label 'score'"),
        (frame(b"\xff\xff"), "not a protobuf Record"),
    ],
)
def test_bad_answers_are_explained(body, message):
    with pytest.raises(DataError, match=message):
        read_recordio_answer(body)


@given(st.binary(max_size=60), st.integers(0, 200), st.integers(0, 255))
@settings(max_examples=300)
def test_damaged_answers_are_read_or_refused(tail, place, byte):
    body = bytearray(answer(score=[0.5, 1.5], predicted_label=[1]) * 3)
    body[place % len(body)] = byte
    for damaged in (bytes(body), bytes(body) + tail, bytes(body[:place]), tail):
        try:
            found = read_recordio_answer(damaged)
        except DataError:
            continue
        assert len({len(values) for values in found.values()}) <= 1
