"""Whatever bytes arrive, the answer is a prediction or a refusal with a reason: never a 5xx, never unbounded."""

import gzip
import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eigenline import write_recordio
from eigenline.serve.app import create_app
from eigenline.serve.models import ServedModel
from eigenline.serve.settings import Settings

from .conftest import Client, make_linear, make_pca

TYPES = ["text/csv", "application/json", "application/jsonlines", "application/x-recordio-protobuf"]
FUZZ = settings(max_examples=300)
VALID = {
    "text/csv": b"1.5,16,14,23\n-2.0,1e2,.2,9.\n",
    "application/json": b'{"instances": [{"features": [1.5, 16.0, 14.0, 23.0]}, '
    b'{"data": {"features": {"keys": [1], "shape": [4], "values": [1]}}}]}',
    "application/jsonlines": b'{"features": [1, 2, 3, 4]}\n{"data": {"features": {"values": [1, 2, 3, 4]}}}\n',
    "application/x-recordio-protobuf": write_recordio(np.arange(8, dtype=np.float32).reshape(2, 4)),
}


@pytest.fixture(scope="module")
def linear(client_of: Callable[..., Client]) -> Client:
    return client_of(make_linear())


@pytest.fixture(scope="module")
def chain(client_of: Callable[..., Client]) -> Client:
    return client_of(make_pca(), make_linear(2))


def check(
    client: Client, body: bytes, content_type: str, query: str = "", accept: str = "application/json"
) -> int:
    answer = client.post(
        f"/invocations{query}", data=body, headers={"Content-Type": content_type, "Accept": accept}
    )
    assert answer.status_code in (200, 204, 400, 406, 413, 415), (answer.status_code, answer.data[:200])
    if answer.content_type == "application/json":
        document = json.loads(answer.data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
        assert ("error" in document) == (answer.status_code >= 400)
        if "error" in document:
            assert 0 < len(document["error"]) < 2000
    return answer.status_code


@FUZZ
@given(body=st.binary(max_size=400), content_type=st.sampled_from(TYPES), both=st.booleans())
def test_any_bytes(linear: Client, chain: Client, body: bytes, content_type: str, *, both: bool) -> None:
    check(chain if both else linear, body, content_type)


@FUZZ
@given(data=st.data(), content_type=st.sampled_from(TYPES))
def test_valid_bodies_with_some_bytes_changed(linear: Client, data: st.DataObject, content_type: str) -> None:
    body = bytearray(VALID[content_type])
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place : place + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    check(linear, bytes(body), content_type)


@pytest.mark.parametrize("content_type", TYPES)
def test_valid_bodies_cut_anywhere(linear: Client, content_type: str) -> None:
    assert check(linear, VALID[content_type], content_type) == 200
    for end in range(len(VALID[content_type])):
        check(linear, VALID[content_type][:end], content_type)


@FUZZ
@given(text=st.text("0123456789.,eE+-naifNI \t\r\n\"';xX_\x00\xa0", max_size=60))
def test_almost_csv(linear: Client, text: str) -> None:
    check(linear, text.encode(), "text/csv")


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["features", "values", "keys", "shape", "data", "instances"]), inner, max_size=3
        )
    ),
    max_leaves=12,
)


@FUZZ
@given(value=JSON_VALUES, lines=st.booleans())
def test_json_of_any_shape(linear: Client, value: object, lines: bool) -> None:
    instance = json.dumps({"features": value}).encode()
    check(linear, instance + b"\n" if lines else b'{"instances": [' + instance + b"]}", TYPES[1 + lines])
    check(linear, json.dumps(value).encode(), TYPES[1 + lines])


@FUZZ
@given(
    content_type=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    accept=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60),
    query=st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), max_size=60),
)
def test_any_headers_and_queries(
    linear: Client, chain: Client, content_type: str, accept: str, query: str
) -> None:
    check(linear, b"1,2,3,4", content_type, accept=accept)
    check(linear, b"1,2,3,4", "text/csv", f"?{query}")
    check(chain, b"1,2,3,4", "text/csv", f"?output={query}")


FRAME = b"\x0a\x23\xd7\xce"
BOMBS = {
    "nested json": ("application/json", b"[" * 3_000_000),
    "nested json lines": ("application/jsonlines", b'{"features":' * 300_000),
    "huge number": ("application/json", b'{"instances": [{"features": [' + b"9" * 2_000_000 + b",1,1,1]}]}"),
    "huge csv number": ("text/csv", b"1" * 3_000_000 + b",1,1,1"),
    "huge exponent": ("text/csv", b"1e999999999,1,1,1"),
    "many columns": ("text/csv", b"1," * 2_500_000),
    "many empty lines": ("text/csv", b"\n" * 5_000_000),
    "many quotes": ("text/csv", b'"' * 3_000_000),
    "sparse shape": (
        "application/json",
        b'{"instances": [{"data": {"features": {"keys": [1], "shape": [9000000000000000000], "values": [1]}}}]}',
    ),
    "sparse key": (
        "application/json",
        b'{"instances": [{"data": {"features": {"keys": [9000000000000000000], "shape": [4], "values": [1]}}}]}',
    ),
    "negative sparse key": (
        "application/json",
        b'{"instances": [{"data": {"features": {"keys": [-1], "shape": [4], "values": [1]}}}]}',
    ),
    "frame length": ("application/x-recordio-protobuf", FRAME + struct.pack("<I", 0xFFFFFFFF) + b"\0" * 100),
    "empty frames": ("application/x-recordio-protobuf", (FRAME + b"\0\0\0\0") * 500_000),
    "endless varint": ("application/x-recordio-protobuf", FRAME + struct.pack("<I", 1000) + b"\xff" * 1000),
    "gzip bomb": ("text/csv", gzip.compress(b"1" * 300_000_000)),
    "one long json key": ("application/json", b'{"' + b"a" * 5_000_000 + b'": 1}'),
}


def most_memory(client: Client) -> int:
    """Bytes that the worker has held at the most."""
    (worker,) = client.server.wait_for_workers(1)
    status = Path(f"/proc/{worker}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_bounded_memory(linear: Client, bomb: str) -> None:
    content_type, body = BOMBS[bomb]
    before = most_memory(linear)
    assert check(linear, body, content_type) in (400, 413)
    grown = most_memory(linear) - before
    assert grown < 40 * len(body) + 60_000_000


def test_a_page_that_shows_hostile_names_runs_nothing(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script>"
    report = {"summary": [evil], "metrics": {evil: 1.0}, "feature_names": [evil] * 4, evil: {evil: evil}}
    model = ServedModel(None, make_linear(), {"linear-learner": report})
    page = create_app(model=model, settings=Settings()).test_client().get("/")
    assert page.status_code == 200
    assert "<script>alert" not in page.text
    assert page.text.count("<script") == 2
    assert "script-src" in page.headers["Content-Security-Policy"]
