"""Every documented form of a JSON request gives the same rows; everything else is explained."""

import io
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline.algorithms.batch import is_sparse
from eigenline.algorithms.errors import DataError
from eigenline.formats.json.reader import parse_json, parse_json_lines
from eigenline.formats.reading import read_batches
from eigenline.formats.requests import read_features

ROW = [1.5, 16.0, 14.0, 23.0]
DENSE_FORMS = [
    {"features": ROW},
    {"data": {"features": {"values": ROW}}},
    {"data": {"features": ROW}},
    {"features": {"values": ROW}},
    {"features": ROW, "configuration": {"verbose": True}},
    {"data": {"features": {"values": ROW}}, "configuration": {}},
    {"data": {"features": {"keys": [0, 1, 2, 3], "shape": [4], "values": ROW}}},
]


def dense(features):
    return features.toarray() if is_sparse(features) else features


@pytest.mark.parametrize("instance", DENSE_FORMS, ids=lambda form: json.dumps(form)[:40])
@pytest.mark.parametrize("count", [1, 3])
def test_documented_forms(instance, count):
    body = json.dumps({"instances": [instance] * count}).encode()
    np.testing.assert_array_equal(dense(parse_json(body, "request")), [ROW] * count)
    with_options = json.dumps({"instances": [instance] * count, "configuration": {}}).encode()
    np.testing.assert_array_equal(dense(parse_json(with_options, "request")), [ROW] * count)
    lines = "\n".join([json.dumps(instance)] * count).encode()
    for text in (lines, lines + b"\n", lines.replace(b"\n", b"\r\n") + b"\r\n\r\n"):
        np.testing.assert_array_equal(dense(parse_json_lines(text, "request")), [ROW] * count)


def test_forms_may_be_mixed():
    body = json.dumps({"instances": DENSE_FORMS}).encode()
    np.testing.assert_array_equal(dense(parse_json(body, "request")), [ROW] * len(DENSE_FORMS))


def test_sparse_instances_stay_sparse():
    instance = {"data": {"features": {"keys": [26, 182, 232], "shape": [2000], "values": [1, 1, 4.5]}}}
    zeros = {"data": {"features": {"keys": [], "shape": [2000], "values": []}}}
    features = parse_json(json.dumps({"instances": [instance, zeros]}).encode(), "request")
    assert is_sparse(features)
    assert features.shape == (2, 2000)
    assert features.nnz == 3
    assert features[0, 232] == 4.5
    assert features.dtype == np.float32


@pytest.mark.parametrize("body", [b"[[1,2],[3,4]]", b'{"instances": [[1,2],[3,4]]}', b"\xef\xbb\xbf[[1,2],[3,4]]"])
def test_bare_rows_as_the_sdk_sends_them(body):
    np.testing.assert_array_equal(parse_json(body, "request"), [[1, 2], [3, 4]])


def test_single_instances_without_their_list():
    np.testing.assert_array_equal(parse_json(b'{"features": [1, 2]}', "request"), [[1, 2]])
    np.testing.assert_array_equal(parse_json(b"[1, 2]", "request"), [[1, 2]])


@pytest.mark.parametrize(
    ("instance", "message"),
    [
        ('{"features": [1, "2"]}', "value 2: expected a number within float32, got '\"2\"'"),
        ('{"features": [1, null]}', "value 2: expected a number within float32, got 'null'"),
        ('{"features": [true, 2]}', "value 1: expected a number within float32, got 'true'"),
        ('{"features": [1, [2]]}', "value 2: expected a number within float32, got '[2]'"),
        ('{"features": [1, 1e39]}', "value 2: expected a number within float32"),
        ('{"features": [1, 1e999]}', "value 2: expected a number within float32"),
        ('{"features": []}', "its features are empty"),
        ('{"features": 7}', 'expected {"features": [...]}'),
        ('{"feature": [1]}', 'expected {"features": [...]}'),
        ('"text"', 'expected {"features": [...]}'),
        ('{"data": {"features": {"keys": [5], "shape": [5], "values": [1]}}}', "key 5 is outside the shape"),
        ('{"data": {"features": {"keys": [-1], "shape": [5], "values": [1]}}}', "key -1 is outside the shape"),
        ('{"data": {"features": {"keys": [1, 2], "shape": [5], "values": [1]}}}', "1 values but 2 keys"),
        ('{"data": {"features": {"keys": [1.5], "shape": [5], "values": [1]}}}', "'keys' must be a list of whole"),
        ('{"data": {"features": {"keys": [1], "values": [1]}}}', "'shape' must be a list of whole numbers"),
        ('{"data": {"features": {"keys": [1], "shape": [1e18], "values": [1]}}}', "'shape' must be"),
        ('{"data": {"features": {"keys": [1], "shape": [9999999999], "values": [1]}}}', "'shape' must be"),
    ],
)
def test_bad_instances_are_explained(instance, message):
    good = '{"features": [1, 2]}'
    with pytest.raises(DataError) as caught:
        parse_json(f'{{"instances": [{good}, {instance}]}}'.encode(), "request")
    assert "instance 2" in str(caught.value)
    assert message in str(caught.value)
    with pytest.raises(DataError) as caught:
        parse_json_lines(f"{good}\n\n{instance}\n".encode(), "request")
    assert "line 3" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"1.5,2", "This looks like CSV, but the content type says JSON"),
        (b"\x0a\x23\xd7\xce\x20\0\0\0", "it is not"),
        (b'{"instances": [{"features": [1, NaN]}]}', "NaN is no finite number"),
        (b'{"instances": [{"features": [1, ]}]}', "it is not JSON"),
        (b'{"instances": [{"features": [1]}', "it is not JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": 7}', 'expected {"instances": [...]}'),
        (b'{"instances": [{"features": [1]}, {"features": [1, 2]}]}', "has 2 features, those before it have 1"),
        (b"[" + b"9" * 5000 + b"]", "request"),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_bad_documents_are_explained(body, message):
    with pytest.raises(DataError) as caught:
        parse_json(body, "request")
    assert message in str(caught.value)
    assert len(str(caught.value)) < 400


def test_lines_cannot_mend_each_other():
    # Joined into one document these two lines would be two good instances.
    with pytest.raises(DataError, match="line 1"):
        parse_json_lines(b'{"features": [1]}, {"features": [2\n3]}\n', "request")


@given(
    values=st.lists(
        st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=2), min_size=1
    )
)
def test_the_quick_and_the_strict_reader_agree(values):
    quick = json.dumps({"instances": [{"features": row} for row in values]}).encode()
    strict = json.dumps({"instances": [{"features": row, "note": "["} for row in values]}).encode()
    np.testing.assert_array_equal(parse_json(quick, "request"), np.array(values, np.float32))
    np.testing.assert_array_equal(parse_json(strict, "request"), np.array(values, np.float32))


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["features", "data", "values", "keys", "shape", "instances"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(st.binary(max_size=80) | json_values.map(lambda value: json.dumps(value).encode()))
@settings(max_examples=600)
def test_any_bytes_give_rows_or_a_data_error(body):
    for content_type in ("application/json", "application/jsonlines"):
        try:
            features = read_features(body, content_type)
        except DataError:
            continue
        assert features.shape[0] > 0
        assert np.isfinite(dense(features) if features.shape[1] < 1 << 16 else features.data).all()


def test_json_lines_channels_are_read_block_by_block(rng):
    values = rng.random((300, 4), np.float32)
    text = "".join(json.dumps({"features": row}) + "\n" for row in values.tolist()).encode()
    batches = list(read_batches(io.BytesIO(text), "jsonlines", name="x", block_bytes=1000))
    assert len(batches) > 5
    np.testing.assert_array_equal(np.concatenate([batch.features for batch in batches]), values)
    with pytest.raises(DataError, match="line 301"):
        list(read_batches(io.BytesIO(text + b"{}\n"), "jsonlines", name="x", block_bytes=1000))


def test_a_json_channel_is_one_document(rng):
    values = rng.random((300, 4), np.float32)
    text = json.dumps({"instances": [{"features": row} for row in values.tolist()]}, indent=1).encode()
    for source in (text, io.BytesIO(text)):
        (batch,) = read_batches(source, "json", name="x", block_bytes=64)
        np.testing.assert_array_equal(batch.features, values)
        assert batch.labels is None
    assert list(read_batches(b"", "json", name="x")) == []
    with pytest.raises(DataError, match="has no place for labels"):
        list(read_batches(text, "json", name="x", labels="required"))
    with pytest.raises(DataError, match="it has 4 features, expected 5"):
        list(read_batches(text, "json", name="x", feature_dim=5))


@pytest.mark.parametrize(
    "text",
    [
        '{"features": [8], "features": 5}',
        '{"features": 5, "features": [8]}',
        '{"features": [8], "features": [9]}',
        '{"data": {"features": [8], "features": [9]}}',
        '{"data": {"features": [8]}, "data": {"features": [9]}}',
        '{"features": {"values": [8], "values": [9]}}',
        '{"features": [8], "id": 1, "id": 2}',
    ],
)
def test_a_name_that_occurs_twice_is_refused_by_the_fast_and_the_strict_reader(text):
    for body in (text, f'{{"instances": [{text}]}}', f'{{"instances": [{text}, [1.0]]}}'):
        with pytest.raises(DataError, match="occurs twice"):
            parse_json(body.encode(), "request")
    with pytest.raises(DataError, match=r"line 1: the name '[a-z]+' occurs twice"):
        parse_json_lines(text.encode(), "request")


def test_instances_that_occur_twice_are_refused():
    with pytest.raises(DataError, match="the name 'instances' occurs twice"):
        parse_json(b'{"instances": [{"features": [8]}], "instances": [{"features": [9]}]}', "request")


def test_the_first_double_that_rounds_to_infinity():
    halfway = 3.4028235677973366e38
    for form in ('{{"features": [{}]}}', '{{"features": [{}], "id": 1}}'):
        body = form.format(repr(np.nextafter(halfway, 0).item())).encode()
        assert parse_json(body, "request")[0, 0] == np.finfo(np.float32).max
        with pytest.raises(DataError, match="value 1: expected a number within float32"):
            parse_json(form.format(halfway).encode(), "request")
