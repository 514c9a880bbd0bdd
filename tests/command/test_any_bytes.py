"""Whatever bytes a person names: a table or a `UserError`, nothing else."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.algorithms.errors import UserError
from eigenline.command.tables.opening import open_table
from eigenline.formats.preparation import Input, Preparation

CELLS = st.sampled_from(["1", "2.5", "", "x", "NA", "1,5", '"a,b"', '"', "-3e4", "nan", "1e400", "ä", "\r", " 7 "])
TABLES = st.lists(st.lists(CELLS, max_size=4), max_size=8)
BEGINNINGS = st.sampled_from(
    [
        b"",
        b"PAR1",
        b"PK\x03\x04",
        b"\x1f\x8b\x08",
        b"\x0a\x23\xd7\xce",
        b"{",
        b"1 1:2 ",
        b"\xef\xbb\xbf",
        b"a,b\n1,2\n",
    ]
)
SOUND = [
    write_recordio(np.eye(3, dtype=np.float32), np.ones(3, np.float32)),
    b'{"a": 1, "b": "x"}\n{"a": null, "b": "y"}\n',
    b"1 1:2 3:4\n0 2:1\n",
]


def read(path: Path) -> None:
    with contextlib.suppress(UserError):
        table = open_table([str(path)])
        for chunk in table.chunks():
            assert chunk.numbers.shape == (len(chunk), table.width)
            assert all(len(cells) == len(chunk) for cells in chunk.texts.values())
            if chunk.lines is not None:
                assert len(chunk.lines()) == len(chunk)
            if len(chunk):
                assert chunk.place(len(chunk) - 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "given"


FREELY = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FREELY
@given(beginning=BEGINNINGS, rest=st.binary(max_size=200))
def test_bytes(path: Path, beginning: bytes, rest: bytes) -> None:
    path.write_bytes(beginning + rest)
    read(path)


@FREELY
@given(rows=TABLES, separator=st.sampled_from(",;\t|"), end=st.sampled_from(["\n", "\r\n"]))
def test_tables(path: Path, rows: list[list[str]], separator: str, end: str) -> None:
    path.write_text(end.join(separator.join(row) for row in rows), encoding="utf-8", newline="")
    read(path)


@FREELY
@given(sound=st.sampled_from(SOUND), place=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_damaged_files(path: Path, sound: bytes, place: int, value: int, cut: int) -> None:
    damaged = bytearray(sound)
    damaged[place % len(damaged)] = value
    path.write_bytes(bytes(damaged[: len(damaged) - cut % 20]))
    read(path)


PREPARATION = Preparation((Input("a", 0, 1.5), Input("b", 1, None, ("x", "y"))), True, 3, "c", 2, ("no", "yes"))


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=3) | st.integers(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
)
FIELDS = st.sampled_from(["inputs", "classes", "target", "width", "version", "named", "target_position"])


@given(name=FIELDS, value=VALUES)
def test_the_side_file(name: str, value: object) -> None:
    document = json.loads(PREPARATION.to_json())
    assert Preparation.from_json(PREPARATION.to_json()) == PREPARATION
    with contextlib.suppress(UserError):
        found = Preparation.from_json(json.dumps({**document, name: value}).encode())
        assert found.feature_names


@given(content=st.binary(max_size=60))
def test_no_side_file(content: bytes) -> None:
    with pytest.raises(UserError):
        Preparation.from_json(content)
