"""Inference bodies of every content type, to float32 rows of the model's width."""

import gzip
import json
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from eigenline import write_recordio
from eigenline.algorithms.batch import is_sparse
from eigenline.algorithms.errors import DataError, UserError
from eigenline.formats.content_types import UnsupportedContentType
from eigenline.formats.requests import read_features

X = np.array([[1.5, 16, 14], [-2, 100.25, 15.5]])


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"1.5,16,14\n-2.0,100.25,15.5", "text/csv"),
        (b"1.5,16,14\n-2.0,100.25,15.5\n", "text/csv; charset=utf-8"),
        (b"7,1.5,16,14\n8,-2.0,100.25,15.5\n", "text/csv;label_size=1"),
        (b"a,b,c\n1.5,16,14\n-2.0,100.25,15.5\n", "text/csv;header=present"),
        (b'{"instances": [{"features": [1.5, 16, 14]}, {"features": [-2, 100.25, 15.5]}]}', "application/json"),
        (b'{"features": [1.5, 16, 14]}\n{"features": [-2, 100.25, 15.5]}', "application/jsonlines"),
        (write_recordio(X), "application/x-recordio-protobuf"),
        (write_recordio(X.astype(np.float32), np.ones(2)), "protobuf"),
        (write_recordio(csr_array(X)), "protobuf"),
        (write_recordio(X[:1]) + write_recordio(csr_array(X[1:])), "protobuf"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_the_same_rows_in_every_form(body, content_type):
    features = read_features(body, content_type, feature_dim=3)
    assert features.dtype == np.float32
    dense = features.toarray() if is_sparse(features) else features
    np.testing.assert_array_equal(dense, X)
    if not is_sparse(features):
        assert features.flags.c_contiguous
        assert features.flags.aligned


def test_a_payload_without_its_frame_is_understood():
    # Batch transform in the SDK's local mode takes the frames off when it splits by RecordIO.
    np.testing.assert_array_equal(read_features(write_recordio(X[:1])[8:], "protobuf"), X[:1])


@pytest.mark.parametrize(
    ("body", "content_type", "message"),
    [
        (b"", "text/csv", "body is empty"),
        (b"\n", "text/csv", "holds no records"),
        (b'{"instances": []}', "application/json", "holds no records"),
        (b"1,2,3,4", "text/csv", "has 4 features, but the model takes 3. One more than expected: is the label"),
        (b"1,2", "text/csv", "has 2 features, but the model takes 3. One less than expected"),
        (b"a,b,c\n1,2,3\n", "text/csv", "looks like column names"),
        (write_recordio(np.array([[1, np.nan, 3]])), "protobuf", "not finite"),
        (write_recordio(np.array([[1, 1e300, 3]])), "protobuf", "not finite"),
        (write_recordio(np.ones((40, 3))) + write_recordio(np.ones((1, 4))), "protobuf", "different numbers"),
        (gzip.compress(b"1,2,3", mtime=0), "text/csv", "not text"),
        (gzip.compress(b"1,2,3", mtime=0), "protobuf", "gzip data"),
        (b"1,2,3", "protobuf", "looks like CSV"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_bad_bodies_are_explained(body, content_type, message):
    with pytest.raises(DataError, match=message):
        read_features(body, content_type, feature_dim=3)


def test_unknown_types_are_another_error():
    with pytest.raises(UnsupportedContentType):
        read_features(b"1", "application/octet-stream")


@given(
    st.binary(max_size=150) | st.binary(max_size=60).map(lambda data: write_recordio(X)[:24] + data),
    st.sampled_from(["csv", "json", "jsonlines", "protobuf", "csv;label_size=1", "csv;header=present"]),
)
@settings(max_examples=800)
def test_any_body_gives_rows_or_a_user_error(body, content_type):
    try:
        features = read_features(body, content_type)
    except UserError:
        return
    assert features.shape[0] >= 1
    assert features.dtype == np.float32


def test_requests_are_read_in_many_threads_at_once():
    rows = np.random.default_rng(3).random((64, 20, 30)).astype(np.float32)
    bodies = [
        ("\n".join(",".join(map(repr, row)) for row in rows_of_one.astype(float).tolist()).encode(), "csv")
        if index % 2
        else (json.dumps([{"features": row} for row in rows_of_one.tolist()]).encode(), "json")
        for index, rows_of_one in enumerate(rows)
    ]
    with ThreadPoolExecutor(8) as threads:
        for _ in range(5):
            found = list(threads.map(lambda body: read_features(*body), bodies))
            np.testing.assert_array_equal(found, rows)
