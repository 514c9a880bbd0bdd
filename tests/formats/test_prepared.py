"""Requests with names, gaps and texts: matched with the model's columns, or refused with what does not fit."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.algorithms.errors import DataError, UserError
from eigenline.formats.preparation import Input, Preparation
from eigenline.formats.requests import read_features

PLAIN = Preparation.plain(3, ("age", "height", "income"), "bought")
FILLED = Preparation((Input("age", 1, 40.0), Input("height", 2, 1.7), Input("income", 3)), True, 4, "bought", 0)
SPREAD = Preparation(
    (Input("age", 0, 40.0), Input("color", 1, None, ("blue", "red", "(missing)")), Input("size", 2)),
    named=True,
    width=4,
    target="bought",
    target_position=3,
    classes=("no", "yes"),
)
UNNAMED = Preparation(SPREAD.inputs, False, 4, None, 3, None)

SAME = {
    "in order": ("csv;header=present", b"age,height,income\n1,2,3\n4,5,6\n"),
    "another order": ("csv;header=present", b"income,age,height\n3,1,2\n6,4,5\n"),
    "a header that is not announced": ("csv", b"income,age,height\n3,1,2\n6,4,5\n"),
    "the label is still in it": ("csv", b"income,bought,age,height\n3,9,1,2\n6,9,4,5\n"),
    "label first, by size": ("csv;header=present;label_size=1", b"bought,income,age,height\n9,3,1,2\n9,6,4,5\n"),
    "a target": ("csv;target=x", b"income,x,age,height\n3,9,1,2\n6,9,4,5\n"),
    "quoted names, CRLF": ("csv", b'"income", "age" ,"height"\r\n3,1,2\r\n6,4,5\r\n'),
    "no names": ("csv", b"1,2,3\n4,5,6\n"),
    "records": ("json", b'[{"income": 3, "age": 1, "height": 2}, {"age": 4, "height": 5, "income": 6}]'),
    "instances": (
        "json",
        b'{"instances": [{"income": 3, "age": 1, "height": 2}, {"age": 4, "height": 5, "income": 6}]}',
    ),
    "records with the label": (
        "json",
        b'[{"bought": 1, "income": 3, "age": 1, "height": 2}, {"age": 4, "height": 5, "income": 6, "bought": 0}]',
    ),
    "split": (
        "json",
        b'{"columns": ["income", "age", "height"], "index": [0, 1], "data": [[3, 1, 2], [6, 4, 5]]}',
    ),
    "named lines": (
        "jsonlines",
        b'{"income": 3, "age": 1, "height": 2}\n\n{"age": 4, "height": 5, "income": 6}\n',
    ),
    "lists": ("json", b'{"instances": [{"features": [1, 2, 3]}, {"features": [4, 5, 6]}]}'),
    "recordIO": ("protobuf", write_recordio(np.array([[1, 2, 3], [4, 5, 6]], np.float32))),
}


@pytest.mark.parametrize("body", SAME)
@pytest.mark.parametrize("preparation", [PLAIN, FILLED], ids=["plain", "filled"])
def test_names_decide_where_there_are_names(preparation, body):
    kind, data = SAME[body]
    features = read_features(data, kind, 3, preparation)
    np.testing.assert_array_equal(features, [[1, 2, 3], [4, 5, 6]])
    assert features.dtype == np.float32
    assert features.flags.c_contiguous


@pytest.mark.parametrize("preparation", [PLAIN, FILLED, SPREAD], ids=["plain", "filled", "spread"])
@pytest.mark.parametrize(
    ("kind", "write"),
    [
        ("csv;header=present", lambda names: f"{','.join(names)}\n{','.join('1' * len(names))}\n"),
        ("json", lambda names: json.dumps([dict.fromkeys(names, 1)])),
        ("json", lambda names: json.dumps({"columns": names, "data": [[1] * len(names)]})),
        ("jsonlines", lambda names: json.dumps(dict.fromkeys(names, 1))),
    ],
    ids=["csv", "records", "split", "lines"],
)
def test_missing_and_unknown_names_are_listed(preparation, kind, write):
    own = [column.name for column in preparation.inputs]
    for names, words in (
        (own[1:], [f"Missing: '{own[0]}'"]),
        ([*own, "hair"], ["Unknown: 'hair'"]),
        (["agee", *own[1:]], ["Missing: 'age'", "Unknown: 'agee'", "Is 'agee' meant to be 'age'?"]),
    ):
        with pytest.raises(DataError, match="its columns are not those of the model") as caught:
            read_features(write(names).encode(), kind, None, preparation)
        for word in words:
            assert word in str(caught.value)


def test_gaps_are_filled_and_texts_spread_out_as_in_training():
    expected = [[1, 0, 1, 0, 5], [40, 1, 0, 0, 6], [3, 0, 0, 1, 7], [4, 0, 0, 0, 8]]
    rows = [(1, "red", 5), (None, "blue", 6), (3, None, 7), (4, "green", 8)]
    records = [{"size": size, "color": color, "age": age} for age, color, size in rows]
    csv = "size,color,age\n" + "".join(f"{s},{c or ''},{a or 'NA'}\n" for a, c, s in rows)
    bare = "".join(f"{a or ''},{c or ''},{s}\n" for a, c, s in rows)
    with_label = "".join(f"{a or ''},{c or ''},{s},yes\n" for a, c, s in rows)
    for preparation, kind, body in (
        (SPREAD, "csv", csv),
        (SPREAD, "csv;header=present", csv),
        (SPREAD, "csv", bare),
        (SPREAD, "csv", with_label),
        (SPREAD, "csv;header=absent", bare),
        (SPREAD, "csv;label_size=1", "".join(f"no,{line}\n" for line in bare.splitlines())),
        (UNNAMED, "csv", bare),
        (UNNAMED, "csv;header=present", f"x,y,z\n{bare}"),
        (SPREAD, "json", json.dumps(records)),
        (SPREAD, "json", json.dumps({"instances": records})),
        (SPREAD, "jsonlines", "\n".join(map(json.dumps, records))),
    ):
        np.testing.assert_array_equal(read_features(body.encode(), kind, 5, preparation), expected)


def test_numbers_are_columns_or_the_features_that_they_become():
    features = np.array([[1, 0, 1, 0, 5]], np.float32)
    coded = Preparation((Input("age", 0), Input("code", 1, None, ("1", "2"))), True, 2)
    for kind, write in (
        ("json", lambda row: json.dumps({"features": row}).encode()),
        ("protobuf", lambda row: write_recordio(np.array([row], np.float32))),
    ):
        np.testing.assert_array_equal(read_features(write(features[0].tolist()), kind, 5, SPREAD), features)
        np.testing.assert_array_equal(read_features(write([7, 2]), kind, 3, coded), [[7, 0, 1]])


@pytest.mark.parametrize(
    ("preparation", "kind", "body", "words"),
    [
        (PLAIN, "csv", b"age,height,income\n1,,3\n", "line 2"),
        (PLAIN, "json", b'[{"age": 1, "height": null, "income": 3}]', "column 'height': the cell is empty"),
        (PLAIN, "json", b'[{"age": 1, "height": "tall", "income": 3}]', "expected a number, got 'tall'"),
        (PLAIN, "json", b'[{"age": 1, "height": [2], "income": 3}]', "request"),
        (PLAIN, "json", b'[{"age": 1, "height": 2, "income": 3}, 5]', "instance 2: expected"),
        (PLAIN, "json", b'[{"age": 1, "height": 2, "income": 3}, {"age": 1}]', "not those of the first record"),
        (PLAIN, "json", b'[{"age": 1, "height": 1e400, "income": 3}]', "within float32"),
        (PLAIN, "json", b'[{"age": 1, "height": 1e39, "income": 3}]', "too large for float32"),
        (PLAIN, "json", b'{"columns": ["age"], "data": [[1, 2]]}', "expected a list of 1 values"),
        (PLAIN, "json", b'[{"age": 1, "age": 2, "height": 2, "income": 3}]', "occurs twice"),
        (PLAIN, "csv", b"age,age,height,income\n1,2,3,4\n", "There more than once: 'age'"),
        (FILLED, "csv", b"1,2,\n", "column 'income': the cell is empty"),
        (SPREAD, "csv", b"1,red,big\n", "line 1, column 'size': expected a number, got 'big'"),
        (SPREAD, "csv", b"1,red\n", "2 values, but the model takes 3 (age, color, size)"),
        (SPREAD, "csv", b"1,red,1\n1,red\n", "line 2: it has 2 values, expected 3"),
        (SPREAD, "csv", b"age,color,size\n1,red,1,1\n", "3 column names"),
        (SPREAD, "csv", b"1,\xff,1\n", "line 1: byte 0xff is not UTF-8"),
        (SPREAD, "csv", b'1,"' + b"x" * 200_000 + b'",1\n', "line 1"),
        (UNNAMED, "json", b'[{"age": 1, "color": "red", "size": 1}]', "request, instance 1"),
    ],
)
def test_what_has_no_place_is_named(preparation, kind, body, words):
    with pytest.raises(UserError) as caught:
        read_features(body, kind, len(preparation.feature_names), preparation)
    assert words in str(caught.value)


def test_names_for_a_model_that_keeps_none():
    bodies = [("json", b'[{"age": 1}]'), ("jsonlines", b'{"age": 1}')]
    for kind, body in [*bodies, ("json", b'{"columns": ["a"], "data": [[1]]}')]:
        with pytest.raises(DataError, match="the model keeps none to match them with"):
            read_features(body, kind, 1)


def test_a_small_body_cannot_become_many_features():
    wide = Preparation((Input("id", 0, None, tuple(map(str, range(100_000)))),), True, 1)
    with pytest.raises(DataError, match="Send at most 200 records"):
        read_features(b"1\n" * 10_000, "csv", 100_000, wide)
    assert read_features(b"5\n", "csv", 100_000, wide)[0, 5] == 1


TEXTS = st.text('abehgit,"\n\r 0123.-{}[]:e;', max_size=40) | st.sampled_from(
    [body.decode("latin-1") for _, body in SAME.values()]
)


@given(
    data=st.binary(max_size=60) | TEXTS.map(str.encode),
    kind=st.sampled_from(["csv", "csv;header=present", "csv;target=bought", "json", "jsonlines", "protobuf"]),
    preparation=st.sampled_from([PLAIN, FILLED, SPREAD, UNNAMED]),
)
def test_any_bytes_give_features_or_a_user_error(data, kind, preparation):
    width = len(preparation.feature_names)
    try:
        features = read_features(data, kind, width, preparation)
    except UserError:
        return
    assert features.shape[1] == width
    assert features.dtype == np.float32


NAMES = ("age", "height", "income")


@given(
    values=st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=1, max_size=5),
    order=st.permutations(range(3)),
)
def test_any_order_of_names_gives_the_same_features(values, order):
    expected = np.array(values, np.float32)
    csv = [",".join(NAMES[i] for i in order), *(",".join(repr(row[i]) for i in order) for row in values)]
    records = [{NAMES[i]: row[i] for i in order} for row in values]
    for kind, body in (("csv", "\n".join(csv)), ("json", json.dumps(records))):
        np.testing.assert_array_equal(read_features(body.encode(), kind, 3, PLAIN), expected)
