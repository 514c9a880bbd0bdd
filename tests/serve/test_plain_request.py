"""What goes the short way is read exactly as gunicorn's own parser reads it; everything else is left to that."""

from typing import Any

import pytest
from gunicorn.asgi.parser import CallbackRequest, ParseError, PythonProtocol
from gunicorn.http.errors import ParseException
from hypothesis import example, given
from hypothesis import strategies as st

from eigenline.serve.plain_request import LONGEST_HEAD, read_plain_request

LINE = b"POST /invocations HTTP/1.1\r\n"
HEAD = LINE + b"Host: localhost:8080\r\nContent-Type: text/csv\r\nContent-Length: 7\r\n\r\n"
LONGEST_BODY = 1000


def read(data: bytes) -> Any:
    return read_plain_request(data[:LONGEST_HEAD], len(data), LONGEST_BODY)


def gunicorns(data: bytes) -> tuple[CallbackRequest, bytes, PythonProtocol]:
    """What gunicorn's parser makes of the same bytes; raises where it refuses them."""
    body = bytearray()
    requests = []
    parser = PythonProtocol(
        on_headers_complete=lambda: requests.append(CallbackRequest.from_parser(parser)),
        on_body=body.extend,
        limit_request_line=4094,
        limit_request_fields=100,
        limit_request_field_size=16384,
    )
    parser.feed(data)
    assert requests, "gunicorn waits for more of a head that was taken for whole"
    return requests[0], bytes(body), parser


def assert_read_as_gunicorn_reads(data: bytes) -> None:
    request = read(data)
    if request is None:
        return
    theirs, body, parser = gunicorns(data)
    assert theirs.method == "POST"
    assert (theirs.path, theirs.query) == (request.path, request.query.decode("latin-1"))
    assert dict(theirs.headers_bytes) == request.headers
    assert len(theirs.headers_bytes) == len(request.headers)
    assert not theirs.chunked
    assert not theirs.should_close()
    assert theirs.content_length == request.ends - request.body_starts
    assert body == data[request.body_starts :]
    assert parser.is_complete == (len(data) == request.ends)
    assert not parser.remaining()


def test_the_plain_case_is_read() -> None:
    request = read(HEAD.replace(b"invocations", b"models/a-1/invoke?output=score&x=%20") + b"1,2")
    assert request is not None
    assert (request.path, request.query) == ("/models/a-1/invoke", b"output=score&x=%20")
    assert request.headers == {b"host": b"localhost:8080", b"content-type": b"text/csv", b"content-length": b"7"}
    assert request.ends - request.body_starts == 7


@pytest.mark.parametrize(
    "data",
    [
        HEAD[:-2],  # not whole yet
        HEAD + b"1,2,3,4x",  # the next request has begun
        HEAD.replace(b"POST", b"GET"),
        HEAD.replace(b"POST", b"post"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"invocations", b"invoc%61tions"),
        HEAD.replace(b"invocations", b"a#b"),
        HEAD.replace(b"/invocations", b"http://localhost/invocations"),
        HEAD.replace(b"POST ", b"POST  "),
        b"\r\n" + HEAD,
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b": 7", b": 7\r\nContent-Length: 7"),
        HEAD.replace(b": 7", b": 7\r\ncontent-length: 9"),
        HEAD.replace(b": 7", b": +7"),
        HEAD.replace(b": 7", b": 7, 7"),
        HEAD.replace(b": 7", b": 0x7"),
        HEAD.replace(b": 7", b": \xb2"),
        HEAD.replace(b": 7", b": "),
        HEAD.replace(b": 7", b": 1001"),  # longer than what is answered at once
        HEAD.replace(b"Content-Length: 7\r\n", b""),
        HEAD.replace(b"Host: localhost:8080\r\n", b""),
        HEAD.replace(b"localhost:8080", b"a b"),
        HEAD.replace(b"localhost:8080", b""),
        HEAD.replace(b"Host", b"Host "),
        HEAD.replace(b"Content-Type", b"Content_Type"),
        HEAD.replace(b"Content-Type: ", b"X: 1\r\n folded: "),
        HEAD.replace(b"text/csv", b"text/\x00csv"),
        HEAD.replace(b"text/csv", b"text/\rcsv"),
        HEAD.replace(b"Content-Type", b""),
        HEAD.replace(b"Host", b"Transfer-Encoding: chunked\r\nHost"),
        HEAD.replace(b"Host", b"Expect: 100-continue\r\nHost"),
        HEAD.replace(b"Host", b"Upgrade: h2c\r\nHost"),
        HEAD.replace(b"Host", b"Connection: close\r\nHost"),
        HEAD.replace(b"Host", b"Connection: keep-alive, Upgrade\r\nHost"),
        HEAD.replace(b"Host", b"Connection: keep-alive\r\nTE: trailers\r\nHost"),
        HEAD.replace(b"Host", b"X: " + b"x" * LONGEST_HEAD + b"\r\nHost"),
        HEAD.replace(b"Host", b"".join(b"X%d: 1\r\n" % number for number in range(98)) + b"Host"),
    ],
    ids=repr,
)
def test_everything_else_is_left_to_gunicorn(data: bytes) -> None:
    assert read(data) is None


names = st.sampled_from(
    [b"Content-Length", b"content-length", b"Host", b"Connection", b"Transfer-Encoding", b"X-A", b"Accept", b"X_B"]
) | st.binary(max_size=4)
values = st.sampled_from(
    [b"7", b"0", b"07", b"chunked", b"keep-alive", b"Keep-Alive", b"close", b"localhost", b"a:1", b"", b" x\t"]
) | st.binary(max_size=6)
lines = st.sampled_from([LINE, LINE.replace(b"invocations", b"a?b=%41"), LINE.replace(b"POST", b"PUT"), b""])


@given(lines, st.lists(st.tuples(names, values), max_size=5), st.binary(max_size=9))
@example(LINE, [(b"Host", b"a"), (b"Connection", b"keep-alive"), (b"Content-Length", b"1")], b"1")
def test_heads_made_of_fields_agree(line: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> None:
    head = line + b"".join(name + b": " + value + b"\r\n" for name, value in fields) + b"\r\n"
    assert_read_as_gunicorn_reads(head + body)
    whole = HEAD[:-2] + b"".join(name + b":" + value + b"\r\n" for name, value in fields) + b"\r\n"
    assert_read_as_gunicorn_reads(whole + body)


@given(st.integers(0, len(HEAD) - 1), st.integers(0, 3), st.binary(max_size=3), st.binary(max_size=9))
def test_a_head_with_damage_anywhere_agrees(place: int, lost: int, put: bytes, body: bytes) -> None:
    assert_read_as_gunicorn_reads(HEAD[:place] + put + HEAD[place + lost :] + body)


@given(st.binary(max_size=300))
def test_any_bytes_at_all_agree(data: bytes) -> None:
    assert_read_as_gunicorn_reads(data)
    with pytest.raises((ParseError, ParseException, AssertionError)):
        gunicorns(b"\n" + data)  # the oracle can fail
