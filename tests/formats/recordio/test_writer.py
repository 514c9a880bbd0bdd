"""What we write is what generated code writes, byte for byte, and reads back as the same arrays."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array, csc_matrix, csr_array, csr_matrix

from eigenline import write_recordio, write_recordio_to
from eigenline.algorithms.batch import is_sparse
from eigenline.formats.reading import read_batches

KINDS = {"float32": np.float32, "float64": np.float64, "int32": np.int64}


@pytest.mark.parametrize("label_kind", [None, *KINDS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("columns", [1, 3, 40, 3000])
def test_dense_bytes_are_those_of_generated_code(rng, encode, kind, label_kind, columns):
    features = rng.integers(-9, 3000, (20, columns)).astype(KINDS[kind])
    labels = None if label_kind is None else rng.integers(-2, 300, 20).astype(KINDS[label_kind])
    expected = encode(features, labels, kind=kind, label_kind=label_kind or "float32")
    assert write_recordio(features, labels) == expected
    assert write_recordio(np.asfortranarray(features), labels) == expected
    assert write_recordio(features[::-1][::-1], labels) == expected


@pytest.mark.parametrize("label_kind", [None, *KINDS])
@pytest.mark.parametrize("kind", KINDS)
def test_sparse_bytes_are_those_of_generated_code(rng, encode, kind, label_kind):
    features = (rng.integers(-9, 300, (30, 2000)) * (rng.random((30, 2000)) < 0.02)).astype(KINDS[kind])
    features[7] = 0
    labels = None if label_kind is None else rng.integers(-2, 300, 30).astype(KINDS[label_kind])
    expected = encode(features, labels, kind=kind, label_kind=label_kind or "float32", sparse=True)
    for form in (csr_array, csr_matrix, csc_matrix, coo_array):
        assert write_recordio(form(features), labels) == expected


def test_a_file_larger_than_a_block(rng):
    features = rng.random((5000, 300), np.float32)
    labels = rng.integers(0, 2, 5000)
    file = io.BytesIO()
    write_recordio_to(file, features, labels)
    found = np.concatenate([b.features for b in read_batches(file.getvalue(), "protobuf", name="x")])
    np.testing.assert_array_equal(found, features)
    halves = write_recordio(features[:2500], labels[:2500]) + write_recordio(features[2500:], labels[2500:])
    assert file.getvalue() == halves


@given(
    st.lists(st.lists(st.integers(-(2**31), 2**31 - 1), min_size=2, max_size=2), min_size=1, max_size=8),
    st.booleans(),
)
def test_integers_survive(rows, sparse):
    features = np.array(rows)
    data = write_recordio(csr_array(features) if sparse else features)
    (batch,) = read_batches(data, "protobuf", name="x")
    assert is_sparse(batch.features) == sparse
    found = batch.features.toarray() if sparse else batch.features
    np.testing.assert_array_equal(found, features.astype(np.float32))


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int32, np.uint16, bool, ">f4", ">f8"])
def test_other_number_types_are_converted(dtype):
    features = np.array([[1, 0], [1, 1]]).astype(dtype)
    (batch,) = read_batches(write_recordio(features, [0, 1]), "protobuf", name="x")
    np.testing.assert_array_equal(batch.features, [[1, 0], [1, 1]])
    np.testing.assert_array_equal(batch.labels, [0, 1])


def test_no_rows():
    assert write_recordio(np.zeros((0, 3))) == b""
    assert write_recordio(csr_array((0, 3))) == b""


@pytest.mark.parametrize(
    ("features", "labels", "message"),
    [
        (np.ones(3), None, "must be a matrix"),
        (np.ones((2, 3, 4)), None, "must be a matrix"),
        (np.ones((2, 0)), None, "at least one column"),
        (np.ones((2, 3)), np.ones(3), "one a row"),
        (np.ones((2, 3)), np.ones((2, 1)), "one a row"),
        (np.array([["a"]]), None, "holds float32, float64 and int32 numbers"),
        (np.array([[1j]]), None, "holds float32, float64 and int32 numbers"),
        (np.array([[2**31]]), None, "beyond 32 bits"),
        (np.ones((1, 1)), np.array([-(2**40)]), "beyond 32 bits"),
    ],
)
def test_what_cannot_be_written(features, labels, message):
    with pytest.raises(ValueError, match=message):
        write_recordio(features, labels)
