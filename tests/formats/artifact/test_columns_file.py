"""``columns.json``: names written beside a model and read back."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eigenline.algorithms.errors import DataError
from eigenline.formats.artifact.columns_file import (
    COLUMNS_FILE,
    ColumnNames,
    read_column_names,
    write_column_names,
)
from eigenline.formats.artifact.model_tar import is_served_member, read_model_tar, write_model_tar

name = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.lists(name, max_size=8).map(tuple),
    st.none() | name,
    st.none() | st.lists(name, min_size=2, max_size=5, unique=True).map(tuple),
)
def test_names_come_back(features, target, classes):
    names = ColumnNames(features, target, classes)
    data = write_column_names(names)
    assert read_column_names(data, len(features)) == names
    assert json.loads(data)["features"] == list(features)


def test_the_file_is_a_served_member_of_a_models_archive():
    files = {
        "model_algo-1": b"",
        COLUMNS_FILE: write_column_names(ColumnNames(("a", "b"), "y")),
        "coefficients.csv": b"",
    }
    found = read_model_tar(write_model_tar(files), wanted=is_served_member)
    assert read_column_names(found[COLUMNS_FILE]) == ColumnNames(("a", "b"), "y")
    assert set(found) == {"model_algo-1", COLUMNS_FILE}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"features": "ab"}',
        b'{"features": [1]}',
        b'{"features": ["a"], "target": 1}',
        b'{"features": ["\\ud800"]}',
        b'{"features": ["a"], "classes": "no"}',
        b'{"features": ["a"], "classes": ["no", 1]}',
        b'{"features": ["a"], "classes": ["no"]}',
        b'{"features": ["a"], "classes": ["no", "no"]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_other_files_are_explained(data):
    with pytest.raises(DataError, match="expected"):
        read_column_names(data)


def test_another_number_of_names():
    with pytest.raises(DataError, match="it has 2 names, but the model takes 3 features"):
        read_column_names(write_column_names(ColumnNames(("a", "b"))), 3)
