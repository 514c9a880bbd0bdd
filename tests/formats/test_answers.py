"""Answers in the documented bytes, and the same numbers in every form."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from eigenline.formats.answers import write_answer
from eigenline.formats.content_types import CSV, JSON, JSON_LINES, RECORDIO
from eigenline.formats.recordio.record_pb2 import Record


def f32(values):
    return np.array(values, np.float32)


BINARY = {"score": f32([0.4]), "predicted_label": f32([0])}
MULTICLASS = {"score": f32([[0.1, 0.2, 0.4, 0.3]]), "predicted_label": f32([2])}
REGRESSION = {"score": f32([0.4])}
PROJECTION = {"projection": f32([[0.5, -1.25]])}


@pytest.mark.parametrize(
    ("columns", "hexadecimal"),
    [
        (
            BINARY,
            "0a23d7ce30000000121b0a0f7072656469637465645f6c6162656c120812060a0400000000"
            "12110a0573636f7265120812060a04cdcccc3e",
        ),
        (
            MULTICLASS,
            "0a23d7ce3c000000121b0a0f7072656469637465645f6c6162656c120812060a0400000040"
            "121d0a0573636f7265121412120a10cdcccc3dcdcc4c3ecdcccc3e9a99993e",
        ),
        (REGRESSION, "0a23d7ce1300000012110a0573636f7265120812060a04cdcccc3e00"),
        (PROJECTION, "0a23d7ce1c000000121a0a0a70726f6a656374696f6e120c120a0a080000003f0000a0bf"),
    ],
)
def test_recordio_bytes(columns, hexadecimal):
    assert write_answer(columns, envelope="x", media_type=RECORDIO).hex() == hexadecimal


def test_json_bytes():
    score = {"score": f32([28.711286544799805])}
    assert write_answer(score, envelope="predictions", media_type=JSON) == (
        b'{"predictions": [{"score": 28.711286544799805}]}'
    )
    both = {"score": f32([0.5, 0.25]), "predicted_label": f32([1, 0])}
    assert write_answer(both, envelope="predictions", media_type=JSON) == (
        b'{"predictions": [{"score": 0.5, "predicted_label": 1}, {"score": 0.25, "predicted_label": 0}]}'
    )
    projections = {"projection": f32([[0.5, -1.25], [1, 2]])}
    assert write_answer(projections, envelope="projections", media_type=JSON) == (
        b'{"projections": [{"projection": [0.5, -1.25]}, {"projection": [1.0, 2.0]}]}'
    )


def test_json_lines_bytes():
    columns = {"score": f32([0.989977359771728, 0.504138827323913]), "predicted_label": f32([1, 1])}
    assert write_answer(columns, envelope="predictions", media_type=JSON_LINES) == (
        b'{"predicted_label":1,"score":0.9899773597717285}\n{"predicted_label":1,"score":0.5041388273239136}\n'
    )
    assert write_answer(PROJECTION, envelope="projections", media_type=JSON_LINES) == (
        b'{"projection":[0.5,-1.25]}\n'
    )


def test_csv_bytes():
    columns = {"score": f32([[0.25, 0.75], [1, 0]]), "predicted_label": f32([1, 0])}
    assert write_answer(columns, envelope="predictions", media_type=CSV) == b"0.25,0.75,1\n1.0,0.0,0\n"


def test_labels_that_are_no_whole_numbers_stay_as_they_are():
    columns = {"predicted_label": f32([1.5, 2])}
    assert json.loads(write_answer(columns, envelope="p", media_type=JSON))["p"][0]["predicted_label"] == 1.5


def test_no_rows():
    empty = {"score": f32([]), "predicted_label": f32([])}
    assert write_answer(empty, envelope="predictions", media_type=JSON) == b'{"predictions": []}'
    for media_type in (JSON_LINES, CSV, RECORDIO):
        assert write_answer(empty, envelope="predictions", media_type=media_type) == b""


def test_other_types_are_a_bug_of_the_caller():
    with pytest.raises(ValueError, match="image/png"):
        write_answer(BINARY, envelope="predictions", media_type="image/png")


finite = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=2, max_side=5), elements=finite))
def test_every_form_says_the_same_numbers(values):
    columns = {"score": values, "predicted_label": np.arange(len(values)).astype(np.float32)}
    document = json.loads(write_answer(columns, envelope="p", media_type=JSON))["p"]
    lines = write_answer(columns, envelope="p", media_type=JSON_LINES).decode().splitlines()
    table = [row.split(",") for row in write_answer(columns, envelope="p", media_type=CSV).decode().splitlines()]
    assert document == [json.loads(line) for line in lines]
    np.testing.assert_array_equal(f32([row["score"] for row in document]), values)
    np.testing.assert_array_equal(f32([list(map(float, row)) for row in table])[:, :-1], values)
    assert [row[-1] for row in table] == [str(i) for i in range(len(values))]
    assert json.dumps({"p": document}).encode() == write_answer(columns, envelope="p", media_type=JSON)
    check_records(write_answer(columns, envelope="p", media_type=RECORDIO), values)


def check_records(data, values):
    place = 0
    for index, row in enumerate(values):
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        record = Record.FromString(data[place + 8 : place + 8 + length])
        assert list(record.label["score"].float32_tensor.values) == row.tolist()
        assert list(record.label["predicted_label"].float32_tensor.values) == [index]
        assert not record.features
        assert record.SerializeToString(deterministic=True) == data[place + 8 : place + 8 + length]
        place += 8 + (length + 3) // 4 * 4
    assert place == len(data)
